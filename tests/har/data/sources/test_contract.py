"""What every source must keep, whatever it reads."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harnest.core.errors import DataError
from harnest.har.data.prepare import prepare
from harnest.har.data.recording import check
from harnest.har.data.source import Source
from harnest.har.data.sources.hapt import Hapt
from harnest.har.data.sources.uci_har import UciHar
from harnest.har.data.sources.watch import Watch
from harnest.har.data.splits import split
from made import REAL_HAPT, hapt_files, uci_har_files, unpacked, zipped


@dataclass
class Case:
    """A source, the same one made anew, and others that must not pass for it."""

    source: Source
    again: Callable[[], Source]
    others: list[Source]
    folder: Path | None = None
    """What the source reads, where a test may remove it."""


def _watch(tmp_path):
    return Case(Watch(), Watch, [])


def _hapt_archive(tmp_path):
    path, moved, other = tmp_path / "a.zip", tmp_path / "moved.zip", tmp_path / "other.zip"
    path.write_bytes(zipped(hapt_files()))
    moved.write_bytes(path.read_bytes())
    other.write_bytes(zipped(hapt_files(seed=1)))
    others = [Hapt(path, activities=6), Hapt(path, gravity=True), Hapt(other)]
    return Case(Hapt(path), lambda: Hapt(str(moved)), others, path)


def _hapt_gravity(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(zipped(hapt_files(), "HAPT Data Set/"))
    others = [Hapt(path), Hapt(path, gravity=True)]
    source = Hapt(path, activities=6, gravity=True)
    return Case(source, lambda: Hapt(path, activities=6, gravity=True), others, path)


def _hapt_folder(tmp_path):
    files = hapt_files()
    root = unpacked(files, tmp_path / "HAPT")
    moved = unpacked(files | {"notes.txt": b"not read"}, tmp_path / "moved" / "HAPT")
    changed = dict(files)
    changed["RawData/acc_exp01_user01.txt"] = files["RawData/acc_exp02_user01.txt"]
    other = unpacked(changed, tmp_path / "other")
    others = [Hapt(root=root, activities=6), Hapt(root=other)]
    return Case(Hapt(root=root), lambda: Hapt(root=str(moved.parent)), others, root)


def _hapt_real(tmp_path):
    if not REAL_HAPT.is_file():
        pytest.skip(f"no {REAL_HAPT.name} in the shared data, nor in $HARNEST_SHARED_DATA")
    return Case(Hapt(REAL_HAPT), lambda: Hapt(REAL_HAPT), [Hapt(REAL_HAPT, activities=6)])


def _uci_har_archive(tmp_path):
    path, moved, other = tmp_path / "a.zip", tmp_path / "moved.zip", tmp_path / "other.zip"
    for place, seed in ((path, 0), (moved, 0), (other, 1)):
        inner = zipped(uci_har_files(seed), "UCI HAR Dataset/")
        place.write_bytes(zipped({"UCI HAR Dataset.zip": inner, "UCI HAR Dataset.names": b""}))
    return Case(UciHar(path), lambda: UciHar(str(moved)), [UciHar(other)], path)


def _uci_har_folder(tmp_path):
    root = unpacked(uci_har_files(), tmp_path / "UCI HAR Dataset")
    moved = unpacked(uci_har_files() | {"train/X_train.txt": b"other"}, tmp_path / "moved")
    other = unpacked(uci_har_files(1), tmp_path / "other")
    return Case(UciHar(root=root), lambda: UciHar(root=moved), [UciHar(root=other)], root)


CASES = {
    "watch": _watch,
    "hapt archive": _hapt_archive,
    "hapt with gravity": _hapt_gravity,
    "hapt folder": _hapt_folder,
    "hapt, the real one": _hapt_real,
    "uci_har archive": _uci_har_archive,
    "uci_har folder": _uci_har_folder,
}

NOT_OURS = ("watch", "hapt, the real one")
"""Those whose files are not the test's to remove."""


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request, tmp_path):
    return request.param(tmp_path)


def test_it_reads_a_sound_data_set_under_its_name(case):
    assert isinstance(case.source, Source)
    data_set = check(case.source.read())
    assert data_set.name == case.source.name
    assert data_set.rate == 50.0
    assert {channel.unit for channel in data_set.channels} == {"g", "rad/s"}


def test_subjects_are_numbers_and_every_activity_is_shown(case):
    data_set = case.source.read()
    assert {type(recording.subject) for recording in data_set.recordings} == {int}
    assert len(data_set.subjects) >= 4
    shown = {segment.activity for r in data_set.recordings for segment in r.segments}
    assert shown == set(range(len(data_set.activities)))
    assert all(name == name.lower() and name.isidentifier() for name in data_set.activities)


def test_segments_of_a_recording_follow_one_another(case):
    for recording in case.source.read().recordings:
        ends = [segment.stop for segment in recording.segments]
        starts = [segment.start for segment in recording.segments]
        assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


def test_read_twice_it_is_the_same(case):
    one, other = case.source.read(), case.again().read()
    assert one.channels == other.channels
    assert one.activities == other.activities
    assert one.test_subjects == other.test_subjects
    assert len(one.recordings) == len(other.recordings)
    for mine, yours in zip(one.recordings, other.recordings, strict=True):
        assert (mine.name, mine.subject) == (yours.name, yours.subject)
        assert mine.segments == yours.segments
        np.testing.assert_array_equal(mine.signal, yours.signal)


def test_the_digest_is_that_of_content_and_options(case):
    digest = case.source.digest()
    assert len(digest) == 64
    assert int(digest, 16)
    assert case.source.digest() == digest
    assert case.again().digest() == digest
    digests = [digest, *(other.digest() for other in case.others)]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("name", [name for name in CASES if name not in NOT_OURS])
def test_a_source_that_has_lost_its_files_says_so(name, tmp_path):
    case = CASES[name](tmp_path)
    if case.folder.is_dir():
        shutil.rmtree(case.folder)
    else:
        case.folder.unlink()
    for ask in (case.source.digest, case.source.read):
        with pytest.raises(DataError, match=r"does not exist|cannot be read") as caught:
            ask()
        assert "\n" not in str(caught.value)
        assert str(case.folder) in str(caught.value)


def test_prepared_and_split_it_has_all_activities_in_all_parts(case):
    # Of half the usual length: not every subject's transitions have room for a longer window.
    windows = prepare(case.source, window=1.28, step=0.64)
    parts = split(
        windows.subjects,
        windows.labels,
        validation=0.3,
        test="official" if windows.test_subjects else 0.3,
        seed=0,
        official=windows.test_subjects,
        activities=windows.activities,
    )
    for part in (parts.train, parts.validation, parts.test):
        assert set(windows.labels[part]) == set(range(len(windows.activities)))
