import zipfile

import numpy as np
import pytest

from harnest.core.errors import ConfigError, DataError
from harnest.har.data.download import fetch
from harnest.har.data.prepare import prepare
from harnest.har.data.sources import hapt
from harnest.har.data.sources.hapt import Hapt
from made import REAL_HAPT, hapt_files, unpacked, zipped

real = pytest.mark.skipif(
    not REAL_HAPT.is_file(),
    reason=f"no {REAL_HAPT.name} in the shared data, nor in $HARNEST_SHARED_DATA",
)


@pytest.fixture
def made(tmp_path):
    """Write an archive of the made-up data set, with these files changed or (None) left out."""

    def write(**changes):
        files = hapt_files() | {f"RawData/{name}.txt": text for name, text in changes.items()}
        path = tmp_path / "made.zip"
        path.write_bytes(zipped({k: text for k, text in files.items() if text is not None}))
        return path

    return write


def refused(path, words):
    with pytest.raises(DataError, match=words) as caught:
        Hapt(path).read()
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message


def test_recordings_are_those_of_the_files(made):
    data_set = Hapt(made()).read()
    files = hapt_files()
    assert [recording.subject for recording in data_set.recordings] == [1, 1, 2, 3, 4]
    assert data_set.test_subjects == (2, 4)
    for recording, name in zip(data_set.recordings, ("01_user01", "02_user01"), strict=False):
        for kind, channels in (("acc", slice(0, 3)), ("gyro", slice(3, 6))):
            text = files[f"RawData/{kind}_exp{name}.txt"].decode()
            expected = np.array([line.split() for line in text.splitlines()], np.float32)
            np.testing.assert_array_equal(recording.signal[:, channels], expected)


def test_segments_are_those_of_labels_txt(made):
    rows = [
        list(map(int, line.split()))
        for line in hapt_files()["RawData/labels.txt"].split(b"\n")[:12]
    ]
    first = Hapt(made()).read().recordings[0]
    found = [(s.activity + 1, s.start + 1, s.stop) for s in first.segments]
    assert found == [tuple(row[2:]) for row in rows]


def test_six_activities_leave_the_transitions_unlabelled(made):
    path = made()
    twelve, six = Hapt(path).read(), Hapt(path, activities=6).read()
    assert six.activities == twelve.activities[:6]
    for all_of_it, basic in zip(twelve.recordings, six.recordings, strict=True):
        np.testing.assert_array_equal(all_of_it.signal, basic.signal)
        assert basic.segments == tuple(s for s in all_of_it.segments if s.activity < 6)


def test_gravity_is_what_is_slow_and_adds_up(tmp_path):
    # A still phone that hangs askew, while somebody walks at two steps a second.
    time_ = np.arange(3000) / 50
    still = np.array([0.6, 0.0, -0.8])
    walk = 0.3 * np.sin(2 * np.pi * 2 * time_)[:, None] * np.array([1.0, 0.5, 0.0])
    files = {"RawData/labels.txt": b"1 1 1 1 3000\n"}
    for kind, rows in (("acc", still + walk), ("gyro", np.ones((3000, 3)))):
        text = "\n".join(" ".join(map(repr, row)) for row in rows.tolist())
        files[f"RawData/{kind}_exp01_user01.txt"] = text.encode()
    root = unpacked(files, tmp_path)
    data_set = Hapt(root=root, gravity=True).read()
    assert [channel.name for channel in data_set.channels] == [
        *("body_acc_x", "body_acc_y", "body_acc_z", "gravity_x", "gravity_y", "gravity_z"),
        *("gyro_x", "gyro_y", "gyro_z"),
    ]
    body, gravity, gyro = np.split(data_set.recordings[0].signal, 3, axis=1)
    inside = slice(150, -150)
    np.testing.assert_allclose(gravity[inside], np.tile(still, (2700, 1)), atol=0.01)
    np.testing.assert_allclose(body[inside], walk[inside], atol=0.01)
    np.testing.assert_allclose(body + gravity, still + walk, atol=1e-6)
    np.testing.assert_array_equal(gyro, 1)


def test_gravity_of_a_recording_of_a_few_steps(tmp_path):
    files = {"RawData/labels.txt": b"1 1 1 1 3\n"}
    for kind in ("acc", "gyro"):
        files[f"RawData/{kind}_exp01_user01.txt"] = b"0 0 1\n" * 3
    [recording] = Hapt(root=unpacked(files, tmp_path), gravity=True).read().recordings
    np.testing.assert_allclose(recording.signal[:, 5], 1, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"archive": "a", "root": "b"}, r"data\.archive and data\.root are both given"),
        ({"activities": 7}, r"data\.activities=7: choose 12, or 6"),
        ({"gravity": "yes"}, r"data\.gravity=yes: choose true or false"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        Hapt(**options)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"acc_exp03_user02": None}, r"RawData/acc_exp03_user02\.txt is missing"),
        ({"gyro_exp03_user02": None}, r"RawData/gyro_exp03_user02\.txt is missing"),
        ({"gyro_exp03_user02": b"1 2 3\n"}, "has .* lines and .*gyro_exp03_user02.txt has 1"),
        ({"acc_exp03_user02": b"1 2\n"}, r"acc_exp03_user02\.txt is not a table of 3 columns"),
        ({"acc_exp03_user02": b""}, r"acc_exp03_user02\.txt is not a table"),
        ({"labels": b"1 1 13 1 50\n"}, "label 13: labels are 1 to 12"),
        ({"labels": b"1 1 1 1.5 50\n"}, r"labels\.txt is not a table of 5 columns"),
        ({"labels": b"1 1 1 1 50\n"}, r"has no label for RawData/acc_exp02_user01\.txt"),
        ({"labels": None}, r"no RawData/labels\.txt in it"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(made, changes, words):
    refused(made(**changes), words)


def test_a_segment_beyond_its_recording_is_refused(made):
    labels = hapt_files()["RawData/labels.txt"].replace(b"1 1 5 41 ", b"1 1 5 99999 ")
    with pytest.raises(DataError, match=r"recording exp01-subject01: segment .* lies outside"):
        prepare(Hapt(made(labels=labels)), window=2.56, step=1.28)


def test_without_archive_or_root_it_is_downloaded_once_and_checked(made, monkeypatch):
    asked = []

    def local(url, name, check):
        asked.append((url, name))
        path = made()
        check(path)
        return path

    monkeypatch.setattr("harnest.har.data.archive_source.fetch", local)
    with pytest.raises(DataError, match=r"are \(5, 4, 60, \d+\), not \(61, 30, 1214, 1122772\)"):
        Hapt().digest()
    steps = sum(len(recording.signal) for recording in Hapt(made()).read().recordings)
    monkeypatch.setattr(hapt, "_OFFICIAL", (5, 4, 60, steps))
    assert len(Hapt().read().recordings) == 5
    assert asked[0][0].startswith("https://archive.ics.uci.edu/static/public/341/")
    assert asked[0][1] == "hapt.zip"
    assert fetch is not local


@real
@pytest.mark.parametrize(
    ("activities", "gravity", "counts"),
    [(12, False, (7767, 3162)), (6, False, (7415, 2996)), (6, True, (7415, 2996))],
)
def test_windows_are_the_authors_own_in_their_order(activities, gravity, counts):
    windows = prepare(Hapt(REAL_HAPT, None, activities, gravity), window=2.56, step=1.28)
    assert windows.test_subjects == (2, 4, 9, 10, 12, 13, 18, 20, 24)
    testing = np.isin(windows.subjects, windows.test_subjects)
    with zipfile.ZipFile(REAL_HAPT) as archive:
        for part, chosen, count in zip(("train", "test"), (~testing, testing), counts, strict=True):
            folder = part.title()
            labels = np.array(archive.read(f"{folder}/y_{part}.txt").split(), int)
            subjects = np.array(archive.read(f"{folder}/subject_id_{part}.txt").split(), int)
            kept = labels <= activities
            np.testing.assert_array_equal(windows.labels[chosen] + 1, labels[kept])
            np.testing.assert_array_equal(windows.subjects[chosen], subjects[kept])
            assert chosen.sum() == count


@real
def test_the_real_archive_passes_for_a_download():
    source = hapt.ArchiveSource(REAL_HAPT, None, "", "", hapt._LABELS, (), hapt._check_official)
    source._check(REAL_HAPT)


@real
def test_gravity_points_one_way_while_somebody_stands():
    data_set = Hapt(REAL_HAPT, gravity=True).read()
    standing = [
        recording.signal[segment.start : segment.stop]
        for recording in data_set.recordings
        for segment in recording.segments
        if data_set.activities[segment.activity] == "standing"
    ]
    gravity = np.concatenate(standing)[:, 3:6]
    body = np.concatenate(standing)[:, :3]
    assert np.median(np.linalg.norm(gravity, axis=1)) == pytest.approx(1, abs=0.05)
    assert np.median(np.linalg.norm(body, axis=1)) < 0.1
