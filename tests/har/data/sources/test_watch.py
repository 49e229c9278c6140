import importlib.util

import numpy as np
import pytest

from harnest.core.errors import DataError
from harnest.har.data.sources import watch
from harnest.har.data.sources.watch import Watch


def test_it_has_what_its_authors_say():
    data_set = Watch().read()
    assert len(data_set.recordings) == 140
    assert data_set.subjects == tuple(range(1, 11))
    assert len(data_set.activities) == 7
    assert [channel.name for channel in data_set.channels] == [
        *("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    ]
    assert data_set.test_subjects == ()
    for recording in data_set.recordings:
        [segment] = recording.segments
        assert (segment.start, segment.stop) == (0, len(recording.signal))
        assert f"-{data_set.activities[segment.activity]}-" in recording.name
        assert recording.name.startswith(f"subject{recording.subject:02d}-")


def test_the_units_are_right():
    signal = np.concatenate([recording.signal for recording in Watch().read().recordings])
    acceleration, rotation = signal[:, :3], signal[:, 3:]
    # In m/s² the first would be near 10; in degrees per second the second would be near 100.
    assert 0.9 < np.median(np.linalg.norm(acceleration, axis=1)) < 1.2
    assert 0.5 < np.median(np.linalg.norm(rotation, axis=1)) < 5


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package like seglearn, whose file a test may change."""
    content = watch._file().read_bytes()
    (tmp_path / "data").mkdir()
    (tmp_path / "__init__.py").touch()
    file = tmp_path / "data" / "watch_dataset.npy"
    file.write_bytes(content)
    spec = importlib.util.spec_from_file_location("seglearn", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    return file


def test_it_is_found_wherever_the_package_is(package):
    assert len(Watch().read().recordings) == 140


def test_another_file_is_never_unpickled(package, monkeypatch):
    same = Watch().digest()
    content = bytearray(package.read_bytes())
    content[len(content) // 2] ^= 1
    package.write_bytes(bytes(content))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(DataError, match=r"not the file of seglearn 1\.2\.5 .*pip install"):
        Watch().read()
    assert Watch().digest() != same


def test_a_missing_file_is_named(package):
    package.unlink()
    for ask in (Watch().digest, Watch().read):
        with pytest.raises(DataError, match=r"watch_dataset\.npy cannot be read .*pip install"):
            ask()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"not installed: pip install seglearn==1\.2\.5"):
        Watch().digest()
