import numpy as np
import pytest

from harnest.core.errors import ConfigError, DataError
from harnest.har.data.prepare import prepare
from harnest.har.data.sources import uci_har
from harnest.har.data.sources.uci_har import UciHar
from made import uci_har_files, uci_har_values, zipped


@pytest.fixture
def made(tmp_path):
    """Write an archive of the made-up data set, with these files changed or (None) left out."""

    def write(changes=None, nested=True):
        files = uci_har_files() | (changes or {})
        content = zipped({k: text for k, text in files.items() if text is not None}, "UCI HAR/")
        path = tmp_path / "made.zip"
        path.write_bytes(zipped({"UCI HAR Dataset.zip": content}) if nested else content)
        return path

    return write


@pytest.mark.parametrize("nested", [True, False])
def test_windows_are_those_of_the_files_in_their_order(made, nested):
    windows = prepare(UciHar(made(nested=nested)), window=2.56, step=2.56)
    (a, b, c), (d, e, f) = uci_har_values().values()
    np.testing.assert_allclose(windows.signals, np.concatenate([a, d]), rtol=1e-6)
    assert windows.labels.tolist() == (np.concatenate([b, e]) - 1).tolist()
    assert windows.subjects.tolist() == np.concatenate([c, f]).tolist()
    assert windows.test_subjects == (2, 4)
    assert windows.activities[0] == "walking"
    assert [channel.name for channel in windows.channels[::3]] == [
        *("total_acc_x", "body_acc_x", "body_gyro_x")
    ]


def test_shorter_windows_are_cut_from_each_and_longer_ones_refused(made):
    path = made()
    assert len(prepare(UciHar(path), window=1.28, step=1.28).labels) == 2 * 60
    with pytest.raises(DataError, match=r"longest has 2\.56 s \(128 steps\)"):
        prepare(UciHar(path), window=3, step=1)


def test_two_origins_are_refused():
    with pytest.raises(ConfigError, match="both given"):
        UciHar(archive="a", root="b")


def without_last_line(name):
    return {name: b"\n".join(uci_har_files()[name].split(b"\n")[:-2]) + b"\n"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train/y_train.txt": None}, r"no train/y_train\.txt in it"),
        ({"test/y_test.txt": None}, r"test/y_test\.txt is missing"),
        ({"test/subject_test.txt": None}, r"test/subject_test\.txt is missing"),
        (
            {"test/Inertial Signals/body_gyro_z_test.txt": None},
            r"body_gyro_z_test\.txt is missing",
        ),
        (
            without_last_line("test/Inertial Signals/body_gyro_z_test.txt"),
            r"body_gyro_z_test\.txt has 23 lines and .*total_acc_x_test\.txt has 24",
        ),
        (without_last_line("train/y_train.txt"), "train has 36 windows, 35 labels and 36 subjects"),
        (without_last_line("test/subject_test.txt"), "24 windows, 24 labels and 23 subjects"),
        ({"train/y_train.txt": b"7\n" * 36}, "labels other than 1 to 6"),
        ({"train/y_train.txt": b"0\n" * 36}, "labels other than 1 to 6"),
        ({"test/subject_test.txt": b"3\n" * 24}, r"subjects \[3\] are in both train and test"),
        (
            {"train/Inertial Signals/body_acc_x_train.txt": b" 1.0e-001" * 127 + b"\n"},
            r"body_acc_x_train\.txt is not a table of 128 columns",
        ),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(made, changes, words):
    path = made(changes)
    with pytest.raises(DataError, match=words) as caught:
        UciHar(path).read()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_value_that_is_not_finite_is_refused(made):
    name = "train/Inertial Signals/body_acc_x_train.txt"
    text = uci_har_files()[name]
    with pytest.raises(DataError, match="recording train-00001: the signal holds NaN"):
        prepare(UciHar(made({name: b"nan".rjust(16) + text[16:]})), window=2.56, step=2.56)


def test_without_archive_or_root_it_is_downloaded_and_its_windows_counted(made, monkeypatch):
    asked = []

    def local(url, name, check):
        asked.append((url, name))
        path = made()
        check(path)
        return path

    monkeypatch.setattr("harnest.har.data.archive_source.fetch", local)
    with pytest.raises(DataError, match="36 windows for train, not 7352"):
        UciHar().digest()
    monkeypatch.setattr(uci_har, "_OFFICIAL", {"train": 36, "test": 24})
    assert len(UciHar().read().recordings) == 60
    assert asked[0][0].startswith("https://archive.ics.uci.edu/static/public/240/")
    assert asked[0][1] == "uci_har.zip"
