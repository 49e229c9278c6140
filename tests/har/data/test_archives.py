import struct
import zipfile
import zlib

import pytest

from harnest.core.errors import DataError
from harnest.har.data import archives
from harnest.har.data.archives import FolderFiles, open_zip
from made import hapt_files, uci_har_files, unpacked, zipped

FILES = {"RawData/labels.txt": b"1 2 3\n" * 50, "RawData/a.txt": b"x" * 5000, "other.txt": b"y"}
MARKER = "RawData/labels.txt"


@pytest.fixture
def archive(tmp_path):
    def write(content):
        path = tmp_path / "data.zip"
        path.write_bytes(content)
        return path

    return write


def read_all(path, inner=None, marker=MARKER):
    with open_zip(path, marker, inner) as files:
        return {name: files.read(name) for name in files.names}


def refused(path, words, inner=None, marker=MARKER):
    with pytest.raises(DataError, match=words) as caught:
        read_all(path, inner, marker)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("top", ["", "HAPT Data Set/", "a/b/"])
def test_members_are_named_from_the_folder_that_holds_the_marker(archive, top):
    content = zipped(FILES, top)
    assert read_all(archive(content)) == FILES


def test_members_beside_the_top_folder_are_left_alone(archive):
    content = zipped({"top/" + name: text for name, text in FILES.items()} | {"../evil": b"e"})
    assert read_all(archive(content)) == FILES


def test_the_archive_inside_an_archive_is_read_in_its_place(archive):
    path = archive(zipped({"inner.zip": zipped(FILES, "top/"), "notes": b""}))
    assert read_all(path, "inner.zip") == FILES
    path = archive(zipped({"top/inner.zip": zipped(FILES, "top/")}))
    assert read_all(path, "inner.zip") == FILES
    assert read_all(archive(zipped(FILES)), "inner.zip") == FILES


def test_missing_and_folder_paths_say_which_option_takes_what(tmp_path):
    refused(tmp_path / "none.zip", r"does not exist; data\.archive takes the data set's zip")
    refused(tmp_path, r"is a folder: give it as data\.root")


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, -1])
def test_a_truncated_archive_is_refused(archive, keep):
    content = zipped(FILES)
    length = int(keep * len(content)) if isinstance(keep, float) else keep
    refused(archive(content[:length]), "is not a complete zip file .*fetch it again")


@pytest.mark.parametrize("content", [b"<html>Not found</html>", b"\x00" * 1000])
def test_what_is_no_zip_is_refused(archive, content):
    refused(archive(content), "is not a complete zip file")


def test_a_damaged_member_is_named(archive):
    content = bytearray(zipped(FILES))
    at = content.index(b"RawData/a.txt") + len("RawData/a.txt") + 3
    content[at] ^= 0xFF
    refused(archive(bytes(content)), r"RawData/a\.txt cannot be unpacked .*damaged")


def test_a_truncated_inner_archive_is_named(archive):
    path = archive(zipped({"inner.zip": zipped(FILES)[:-30]}))
    refused(path, r"inner\.zip is not a complete zip file", "inner.zip")


def test_a_member_encrypted_or_packed_in_an_unknown_way_is_refused(archive):
    for offset, value, words in ((8, 1, "encrypted"), (10, 99, "compression")):
        content = bytearray(zipped(FILES))
        entry = content.index(b"PK\x01\x02")
        content[entry + offset] |= value  # in the directory,
        content[offset - 2] |= value  # and in the first member's own header
        refused(archive(bytes(content)), f"cannot be unpacked .*{words}")


def test_another_data_set_is_recognised(archive):
    hapt, har = hapt_files(), uci_har_files()
    words = r"looks like the UCI HAR archive \(data set 240\): use data=uci_har"
    refused(archive(zipped(har, "UCI HAR Dataset/")), words)
    refused(archive(zipped({"UCI HAR Dataset.zip": zipped(har)})), words)
    words = r"looks like the HAPT archive \(data set 341\): use data=hapt"
    refused(archive(zipped(hapt)), words, "UCI HAR Dataset.zip", "train/y_train.txt")
    refused(archive(zipped({"a.csv": b"1,2"})), "is it another data set")


def test_two_data_sets_in_one_archive_are_refused(archive):
    content = zipped({f"{top}/{name}": text for top in "ab" for name, text in FILES.items()})
    refused(archive(content), r"labels\.txt lies in 2 folders")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with zipfile.ZipFile(path, "w") as made:
        for _ in range(2):
            made.writestr(MARKER, b"1")
    refused(path, "two files of the same name")


def test_a_bomb_is_refused_by_what_it_declares(archive):
    refused(archive(zipped(FILES | {"RawData/b.txt": bytes(40 * 2**20)})), "unpack to 40 MiB")


def test_a_bomb_that_declares_too_little_is_not_unpacked(archive, monkeypatch):
    bomb = bytes(64 * 2**20)
    content = bytearray(zipped({MARKER: b"1", "RawData/b.txt": bomb}))
    size = struct.pack("<I", len(bomb))
    assert content.count(size) == 2
    path = archive(bytes(content.replace(size, struct.pack("<I", 1000))))
    largest = 0
    decompress = zlib.decompressobj

    class Watched:
        def __init__(self, *arguments):
            self.inner = decompress(*arguments)

        def decompress(self, *arguments):
            nonlocal largest
            piece = self.inner.decompress(*arguments)
            largest = max(largest, len(piece))
            return piece

        def __getattr__(self, name):
            return getattr(self.inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    refused(path, r"RawData/b\.txt cannot be unpacked")
    assert 0 < largest < 2**20


def test_a_member_above_the_limit_is_refused(archive, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST", 4000)
    refused(archive(zipped(FILES)), r"RawData/a\.txt would unpack")


def test_a_missing_member_is_named(archive):
    with (
        open_zip(archive(zipped(FILES)), MARKER) as files,
        pytest.raises(DataError, match=r"RawData/none\.txt is missing"),
    ):
        files.read("RawData/none.txt")


@pytest.mark.parametrize("top", ["", "HAPT Data Set"])
def test_a_folder_is_read_like_an_archive(tmp_path, top):
    unpacked(FILES, tmp_path / top)
    files = FolderFiles(tmp_path, MARKER)
    assert {name: files.read(name) for name in files.names} == FILES
    with pytest.raises(DataError, match=r"RawData/none\.txt is missing"):
        files.read("RawData/none.txt")


def test_a_wrong_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"does not exist: give data\.root the folder"):
        FolderFiles(tmp_path / "none", MARKER)
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        FolderFiles(tmp_path / "file", MARKER)
    with pytest.raises(DataError, match=r"no RawData/labels\.txt in it"):
        FolderFiles(tmp_path, MARKER)
    unpacked(uci_har_files(), tmp_path / "x")
    with pytest.raises(DataError, match="use data=uci_har"):
        FolderFiles(tmp_path, MARKER)


def test_a_file_that_vanishes_from_a_folder_is_named(tmp_path):
    files = FolderFiles(unpacked(FILES, tmp_path), MARKER)
    (tmp_path / "RawData/a.txt").unlink()
    with pytest.raises(DataError, match=r"RawData/a\.txt cannot be read: No such file"):
        files.read("RawData/a.txt")
