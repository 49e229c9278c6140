import io
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harnest.core.errors import DataError
from harnest.har.data import download
from harnest.har.data.download import fetch
from limits import HANG_TIMEOUT

BODY = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server():
    """A web server whose answer depends on the path; ``requests`` lists what was asked for.

    What is ``late`` is answered once it ``may_answer``.
    """
    requests = []
    may_answer = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            kind = self.path.split("/")[1]
            if kind == "404":
                if "late" in self.path:
                    may_answer.wait(HANG_TIMEOUT)
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            if kind == "ok":
                self.wfile.write(BODY)
            elif kind == "truncated":
                self.wfile.write(BODY[: len(BODY) // 2])
            elif kind == "wrong":
                self.wfile.write(b"x" * len(BODY))
            elif kind in ("slow", "stalled"):
                for start in range(0, len(BODY) // 2, 50_000):
                    self.wfile.write(BODY[start : start + 50_000])
                    self.wfile.flush()
                    time.sleep(0.2 if kind == "slow" else 0)
                time.sleep(0 if kind == "slow" else 30)
                self.wfile.write(BODY[500_000 if kind == "slow" else len(BODY) :])

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.handle_error = lambda *_: None  # a client that hangs up is what some tests are about
    threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True).start()
    httpd.url = f"http://127.0.0.1:{httpd.server_port}"
    httpd.requests = requests
    httpd.may_answer = may_answer
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def check(path):
    if path.read_bytes() != BODY:
        raise DataError(f"{path} is not right")


def refused(url, words, name="a.zip"):
    with pytest.raises(DataError, match=words) as caught:
        fetch(url, name, check)
    message = str(caught.value)
    assert "\n" not in message
    assert url in message
    assert "fetch data+set.zip by hand" in message
    assert "data.archive=PATH" in message
    return message


def parts(cache):
    return list((cache / "downloads").glob(".*.part"))


def test_a_download_is_checked_and_kept(server, own_cache):
    path = fetch(f"{server.url}/ok/data+set.zip", "a.zip", check)
    assert path == own_cache / "downloads" / "a.zip"
    assert path.read_bytes() == BODY
    assert fetch("http://127.0.0.1:1/never", "a.zip", check) == path
    assert len(server.requests) == 1
    assert parts(own_cache) == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("404", "the server says 404 Not Found"),
        ("truncated", "cannot be downloaded|the response is not the data set"),
        ("wrong", r"the response is not the data set \(the file is not right\)"),
    ],
)
def test_a_wrong_answer_leaves_nothing(server, own_cache, kind, words):
    refused(f"{server.url}/{kind}/data+set.zip", words)
    assert parts(own_cache) == []
    assert not (own_cache / "downloads" / "a.zip").exists()
    assert fetch(f"{server.url}/ok/data+set.zip", "a.zip", check).read_bytes() == BODY


def test_a_body_cut_short_is_refused_even_if_it_passes_for_whole(server, own_cache):
    with pytest.raises(DataError, match="cannot be downloaded"):
        fetch(f"{server.url}/truncated/data+set.zip", "a.zip", lambda path: None)
    assert parts(own_cache) == []


def test_a_refused_connection_is_named(own_cache):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/data+set.zip"
        refused(url, "Connection refused")
    assert parts(own_cache) == []


def test_a_name_that_does_not_resolve_is_named(own_cache):
    message = refused("http://no-such-host.invalid/data+set.zip", "cannot be downloaded")
    assert "HTTPConnectionPool" not in message


def test_a_server_that_never_answers_is_given_up(own_cache, monkeypatch):
    monkeypatch.setattr(download, "_ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        refused(f"http://127.0.0.1:{silent.getsockname()[1]}/data+set.zip", "no answer")
    assert parts(own_cache) == []


def test_a_name_server_that_never_answers_is_given_up(own_cache, monkeypatch):
    hung = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hung.wait(HANG_TIMEOUT) and [])
    monkeypatch.setattr(download, "_PATIENCE", 0.5)
    refused("http://example.invalid/data+set.zip", "no answer")
    hung.set()
    assert parts(own_cache) == []


@pytest.mark.parametrize(("patience", "answer"), [(0.5, 60), (60, 0.5)])
def test_a_body_that_stalls_is_given_up(server, own_cache, monkeypatch, patience, answer):
    monkeypatch.setattr(download, "_PATIENCE", patience)
    monkeypatch.setattr(download, "_ANSWER", answer)
    refused(f"{server.url}/stalled/data+set.zip", "no answer")
    assert parts(own_cache) == []


def test_a_body_that_is_slow_but_comes_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE", 2.0)
    start = time.monotonic()
    assert fetch(f"{server.url}/slow/data+set.zip", "a.zip", lambda path: None).exists()
    assert time.monotonic() - start > 2.1


def test_a_folder_that_cannot_be_written_is_named(server, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HARNEST_CACHE", str(tmp_path / "file"))
    refused(f"{server.url}/ok/data+set.zip", "HARNEST_CACHE")


FETCHER = """
import sys
from harnest.har.data import download
from harnest.core.errors import DataError

look = download._changed

def looked(path):
    answer = look(path)
    print("looked", file=sys.stderr, flush=True)
    return answer

download._changed = looked  # at what failed before it asked
try:
    print(download.fetch(sys.argv[1], "a.zip", lambda path: None).stat().st_size)
except DataError as error:
    print(error)
"""


def start(url):
    return subprocess.Popen(
        [sys.executable, "-c", FETCHER, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_several_processes_one_downloads(server):
    fetchers = [start(f"{server.url}/slow/data+set.zip") for _ in range(3)]
    sizes = {fetcher.communicate()[0] for fetcher in fetchers}
    assert len(sizes) == 1
    assert int(sizes.pop()) == len(BODY)
    assert len(server.requests) == 1


def test_of_several_processes_one_fails_and_all_say_so(server):
    fetchers = [start(f"{server.url}/404/late/data+set.zip") for _ in range(3)]
    for fetcher in fetchers:
        assert fetcher.stderr.readline() == "looked\n"
    server.may_answer.set()
    [message] = {fetcher.communicate()[0] for fetcher in fetchers}
    assert "404 Not Found" in message
    assert len(server.requests) == 1
    refused(f"{server.url}/404/data+set.zip", "404 Not Found")  # later ones try again
    assert len(server.requests) == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_leaves_nothing_for_long(server, own_cache, how):
    fetcher = start(f"{server.url}/stalled/data+set.zip")
    while not any(part.stat().st_size > 0 for part in parts(own_cache)):
        assert fetcher.poll() is None
        time.sleep(0.02)
    fetcher.send_signal(how)
    fetcher.communicate()
    assert len(parts(own_cache)) == (1 if how == signal.SIGKILL else 0)
    fetch(f"{server.url}/ok/data+set.zip", "a.zip", check)
    assert parts(own_cache) == []


def test_a_check_that_breaks_leaves_nothing(server, own_cache):
    def broken(path):
        zipfile.ZipFile(io.BytesIO(b""))

    with pytest.raises(zipfile.BadZipFile):
        fetch(f"{server.url}/ok/data+set.zip", "a.zip", broken)
    assert parts(own_cache) == []
