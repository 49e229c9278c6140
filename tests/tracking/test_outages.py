"""A server that is killed, hangs, or comes back, while runs and studies write to it."""

import signal
import threading
import time

import mlflow
import pytest

from harnest.core.errors import TrackingError
from harnest.core.failure import Failure
from harnest.tracking.outbox.operations import end, files, values
from harnest.tracking.outbox.runlog import RunLog, StoreUnavailableError
from harnest.tracking.outbox.sync import sync
from harnest.tracking.run_writer import RunWriter
from harnest.tracking.store import connect, experiment_id
from harnest.tracking.study_record import TRIAL
from limits import HANG_TIMEOUT
from servers import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("server")]

STEPS = 40


def wait_until(condition, what):
    """Longer than elsewhere: a server starts beside what is waited for."""
    deadline = time.monotonic() + HANG_TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(0.02)


@pytest.fixture
def client(server):
    return mlflow.MlflowClient(server.address)


def start(server, folder, flush_timeout=30.0):
    folder.mkdir(exist_ok=True)
    return RunWriter.start(
        server.address, "outages", folder.name, {"kind": "test"}, folder, flush_timeout
    )


def history(client, run):
    return [(m.step, m.value) for m in client.get_metric_history(run.run_id, "loss")]


def stamps(client, run):
    return [m.timestamp for m in client.get_metric_history(run.run_id, "loss")]


def artifacts(client, run):
    return {one.path for one in client.list_artifacts(run.run_id)}


def write(run, steps=range(STEPS)):
    for step in steps:
        run.metrics({"loss": float(step)}, step)


EVERYTHING = [(step, float(step)) for step in range(STEPS)]


def test_a_server_that_is_away_for_half_a_minute_misses_nothing(server, client, tmp_path):
    run = start(server, tmp_path / "run")
    write(run, range(10))
    run.queue.uploader.wait(HANG_TIMEOUT)
    server.kill()
    write(run, range(10, 30))  # nobody waits for a server that is away
    run.text("hello", "note.txt")
    time.sleep(30)
    server.start()
    write(run, range(30, STEPS))
    run.end()
    assert history(client, run) == EVERYTHING
    assert stamps(client, run) == sorted(stamps(client, run))
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert artifacts(client, run) == {"note.txt"}


def test_a_server_that_hangs_holds_nobody_up(server, client, tmp_path):
    run = start(server, tmp_path / "run", flush_timeout=1.0)
    run.queue.uploader.wait(HANG_TIMEOUT)
    server.signal(signal.SIGSTOP)
    try:
        write(run)
        run.end()
    finally:
        server.signal(signal.SIGCONT)
    sync(tmp_path / "run", None)
    assert history(client, run) == EVERYTHING


def test_what_never_arrived_is_kept_and_sent_once(server, client, tmp_path, caplog, capsys):
    run = start(server, tmp_path / "run", flush_timeout=0.5)
    (tmp_path / "elsewhere.txt").write_text("not in the run's directory")
    run.queue.uploader.wait(HANG_TIMEOUT)
    server.kill()
    write(run)
    run.files([tmp_path / "elsewhere.txt"], "notes")
    wait_until(lambda: run.queue.uploader.trouble is not None, "the first try")
    run.end(Failure("oom", "no memory", "Traceback: all of it"))
    (told,) = [record.getMessage() for record in caplog.records]
    assert "did not take the whole record (it does not answer)" in told
    assert f"harnest-sync {tmp_path / 'run'}" in told
    (tmp_path / "elsewhere.txt").unlink()
    with pytest.raises(TrackingError, match="does not answer"):
        sync(tmp_path, None)
    server.start()
    capsys.readouterr()
    sync(tmp_path, None)
    assert "writes sent" in capsys.readouterr().out
    first = client.get_run(run.run_id).to_dictionary(), history(client, run)
    assert first[1] == EVERYTHING
    assert first[0]["info"]["status"] == "FAILED"
    assert first[0]["data"]["tags"]["reason"] == "oom"
    assert artifacts(client, run) == {"notes", "traceback.txt"}
    sync(tmp_path, None)
    assert capsys.readouterr().out == "1 run logs, 0 of them had unsent writes\n"
    assert (client.get_run(run.run_id).to_dictionary(), history(client, run)) == first


def test_a_server_that_is_away_at_the_start_is_told_at_once(server, tmp_path):
    server.kill()
    with pytest.raises(TrackingError, match="does not answer"):
        start(server, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_directory_with_an_unsent_record_is_not_written_over(server, client, tmp_path):
    run = start(server, tmp_path / "run", flush_timeout=0.1)
    run.queue.uploader.wait(HANG_TIMEOUT)
    server.kill()
    write(run)
    run.end()
    server.start()
    with pytest.raises(TrackingError, match="harnest-sync"):
        start(server, tmp_path / "run")
    group = client.get_run(run.run_id).info.experiment_id
    latest = client.search_runs([group], order_by=["start_time DESC"])[0]
    assert latest.info.run_id != run.run_id
    assert latest.info.status == "FAILED"  # nobody else knows of it


@pytest.fixture
def proxied(server, client, tmp_path):
    """A run's journal, and a proxy before its server; the run holds files and a long parameter."""
    run_log = RunLog.begin(tmp_path / "run", server.address)
    for name, size in {"a.txt": 10, "large.bin": 100_000, "b.txt": 10}.items():
        (tmp_path / "run" / name).write_bytes(b"x" * size)
    run_log.create(experiment_id(client, "outages"), "proxied", {})
    run_log.add(files(["a.txt", "large.bin", "b.txt"], None))
    run_log.add(values(metrics={"loss": 1.0}, params={"short": "s"}))
    run_log.add(values(metrics={"loss": 2.0}, params={"long": "x" * 5000}, step=1))
    run_log.add(end("FINISHED"))
    with Proxy(server, 4000, 413) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield run_log, proxy
        proxy.shutdown()


@pytest.mark.parametrize("status", [400, 413, 414, 415, 422])
def test_what_a_proxy_refuses_is_left_out_and_told(proxied, client, status, caplog):
    run_log, proxy = proxied
    proxy.status = status
    run_log.send(connect(proxy.address))
    assert run_log.unsent() == 0
    run = client.get_run(run_log.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"short": "s"}
    assert {file.path for file in client.list_artifacts(run_log.run_id)} == {"a.txt", "b.txt"}
    told = [record.getMessage() for record in caplog.records if record.name.startswith("harnest")]
    assert [line.partition(":")[0] for line in told] == [
        "MLflow rejects some files",
        "MLflow rejects some values",
    ]
    assert all(str(status) in line for line in told)
    assert "large.bin" in told[0]


def test_a_refusal_over_which_mlflow_stumbles_is_one(proxied, client, monkeypatch, caplog):
    """It asks whether it may upload in parts, and looks for JSON in the proxy's answer."""
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1000")
    run_log, proxy = proxied
    proxy.limit = 10**6
    run_log.send(connect(proxy.address))
    run_log.add(files(["a.txt", "large.bin"], "again"))
    proxy.limit = 20
    assert run_log.send(connect(proxy.address)) == 1
    listed = {file.path for file in client.list_artifacts(run_log.run_id, "again")}
    assert listed == {"again/a.txt"}
    (told,) = [one.getMessage() for one in caplog.records if one.name.startswith("harnest")]
    assert "413 Client Error" in told


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503])
def test_what_a_proxy_may_take_later_is_kept(proxied, client, status):
    run_log, proxy = proxied
    proxy.status = status
    with pytest.raises(StoreUnavailableError):
        run_log.send(connect(proxy.address))
    assert run_log.unsent() == 4
    proxy.limit = 10**6
    run_log.send(connect(proxy.address))
    assert set(client.get_run(run_log.run_id).data.params) == {"short", "long"}
    listed = {file.path for file in client.list_artifacts(run_log.run_id)}
    assert listed == {"a.txt", "b.txt", "large.bin"}


RECORDED = "callbacks@hydra.callbacks=mlflow"
IMPATIENT = (RECORDED, "+hydra.callbacks.mlflow.flush_timeout=1.0")
PATIENT = (RECORDED, "+hydra.callbacks.mlflow.flush_timeout=120")


def children(client):
    experiment = client.get_experiment_by_name("foreign").experiment_id
    runs = client.search_runs([experiment])
    found = {int(run.data.tags[TRIAL]): run for run in runs if TRIAL in run.data.tags}
    (parent,) = [run for run in runs if TRIAL not in run.data.tags]
    return parent, [found[number] for number in sorted(found)]


@pytest.fixture
def own(server, client):
    """No experiment of an earlier test."""
    found = client.get_experiment_by_name("foreign")
    if found is not None:
        client.rename_experiment(found.experiment_id, f"foreign-{time.time()}")


def test_a_study_outlives_its_server_and_is_sent_afterwards(server, client, own, bench):
    """Away from the middle of trial 1 on, and until after the end."""
    sweeper = bench.start("x=1,2,3", "do=hang@1", *IMPATIENT)
    wait_until(lambda: (bench.directory(1) / "seen.json").exists(), "the second trial")
    wait_until(lambda: children(client)[1][0].info.status == "FINISHED", "the first one's record")
    server.kill()
    (bench.folder / "release").touch()
    out, err = sweeper.communicate(timeout=HANG_TIMEOUT)
    assert sweeper.returncode == 0, err.decode()
    assert bench.states() == ["COMPLETE"] * 3
    assert "harnest-sync multirun/s" in (out + err).decode()
    server.start()
    parent, kept = children(client)
    assert [run.info.status for run in (parent, *kept)] == ["RUNNING", "FINISHED", "RUNNING"]
    sync(bench.folder / "multirun", None)
    parent, kept = children(client)
    assert [run.info.status for run in (parent, *kept)] == ["FINISHED"] * 4
    assert [run.data.metrics["objective"] for run in kept] == [1, 4, 9]
    assert [run.info.run_name for run in kept] == ["trial-0", "trial-1", "trial-2"]
    assert {run.data.tags["mlflow.parentRunId"] for run in kept} == {parent.info.run_id}
    assert parent.data.tags["best.trial"] == "trial-0"


def test_a_study_whose_server_comes_back_needs_no_help(server, client, own, bench):
    """Away while one trial ends and another one starts and fails."""
    sweeper = bench.start("x=1,2,3", "do=fail@2", "steps=0", *PATIENT)
    wait_until(lambda: (bench.directory(0) / "seen.json").exists(), "the first trial")
    server.kill()
    wait_until(lambda: (bench.directory(2) / "seen.json").exists(), "the last trial")
    server.start()
    out, err = sweeper.communicate(timeout=HANG_TIMEOUT)
    assert sweeper.returncode == 0, err.decode()
    assert b"harnest-sync" not in out + err
    parent, kept = children(client)
    states = [run.info.status for run in (parent, *kept)]
    assert states == ["FINISHED", "FINISHED", "FINISHED", "FAILED"]
    assert kept[2].data.tags["reason"] == "error"


def test_the_next_sweeper_sends_what_a_killed_one_left(server, client, own, bench):
    sweeper = bench.start("x=1,2,3", "do=hang@1", *IMPATIENT)
    wait_until(lambda: (bench.directory(1) / "seen.json").exists(), "the second trial")
    server.kill()
    sweeper.kill()
    sweeper.communicate()
    server.start()
    (bench.folder / "release").touch()
    bench.sweep("x=1,2,3", "do=hang@1", *PATIENT)
    parent, kept = children(client)
    states = [run.info.status for run in (parent, *kept)]
    assert states == ["FINISHED", "FINISHED", "KILLED", "FINISHED", "FINISHED"]
