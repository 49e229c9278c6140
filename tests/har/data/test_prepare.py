import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import made
from harnest.core.errors import ConfigError, DataError
from harnest.har.data.prepare import prepare
from harnest.har.data.recording import DataSet
from made import data_set

# 10 Hz; windows of 0.4 s have 4 steps.
DATA = replace(data_set({1: [7, 4], 2: [4, 9]}), test_subjects=(2,))


@dataclass
class Source:
    data: DataSet = DATA
    content: str = "a"
    name: ClassVar[str] = "made up/*"
    reads: int = 0

    def digest(self):
        return self.content

    def read(self):
        self.reads += 1
        return self.data


def assert_same(one, other):
    for part in ("signals", "labels", "subjects"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    for part in ("rate", "channels", "activities", "test_subjects", "name", "digest"):
        assert getattr(one, part) == getattr(other, part)


def test_windows_carry_all_that_the_data_set_says():
    windows = prepare(Source(), window=0.4, step=0.2)
    assert windows.signals.shape == (7, 4, 2)
    assert windows.signals.dtype == np.float32
    assert windows.labels.tolist() == [0, 0, 1, 0, 1, 1, 1]
    assert windows.subjects.tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert windows.labels.dtype == windows.subjects.dtype == np.int64
    assert windows.rate == 10.0
    assert windows.channels == DATA.channels
    assert windows.activities == DATA.activities
    assert windows.test_subjects == (2,)
    assert windows.name == "made"


def test_a_data_set_may_be_made_of_numbers_of_numpy():
    numbers = replace(DATA, rate=np.float32(10), test_subjects=tuple(np.array([2])))
    windows = prepare(Source(numbers, "of numpy"), window=0.4, step=0.2)
    assert_same(windows, replace(prepare(Source(), window=0.4, step=0.2), digest=windows.digest))


def test_the_source_is_read_once_and_then_the_cache():
    source = Source()
    first = prepare(source, window=0.4, step=0.2)
    assert_same(first, prepare(source, window=0.4, step=0.2))
    assert_same(first, prepare(source, window=0.4, step=0.2, cache=None))
    assert source.reads == 1


class Loud(Source):
    def read(self):
        return replace(super().read(), name="loud")


class Shy(Loud):
    def digest(self):
        return f"shy {super().digest()}"


def test_a_source_made_from_another_needs_a_digest_of_its_own():
    prepare(Source(), window=0.4, step=0.2)
    with pytest.raises(ConfigError, match=r"Loud overrides read\(\) .* digest\(\) from Source"):
        prepare(Loud(), window=0.4, step=0.2)
    assert prepare(Shy(), window=0.4, step=0.2).name == "loud"


def test_sources_may_share_a_digest_that_reads_nothing():
    class Digested:
        def digest(self):
            return self.content

    class Reading(Digested):
        name, content = "reading", "r"

        def read(self):
            return DATA

    class Renamed(Source):
        name = "renamed"

    assert prepare(Reading(), window=0.4, step=0.2).name == "made"
    assert prepare(Renamed(), window=0.4, step=0.2).name == "made"


MODULE = """
from dataclasses import replace
from made import data_set

class Edited:
    name = "edited"

    def digest(self):
        return "ed"

    def read(self):
        return replace(data_set({1: [7, 4], 2: [4, 9]}), test_subjects=(NUMBER,))
"""
CHILD = "from edited_base import Edited\n\nclass Child(Edited):\n    name = 'child'\n"
ASK = (
    "import sys; sys.path[:0] = sys.argv[2:]\n"
    "from harnest.har.data.prepare import prepare\n"
    "import edited_base, edited_child\n"
    "kind = getattr(edited_child, 'Child') if sys.argv[1] == 'Child' else edited_base.Edited\n"
    "print(prepare(kind(), window=0.4, step=0.2).test_subjects)"
)


@pytest.mark.parametrize("kind", ["Edited", "Child"])
def test_an_edited_module_of_a_source_or_its_base_makes_new_windows(tmp_path, kind):
    (tmp_path / "edited_child.py").write_text(CHILD)
    answers = []
    for number in ("1", "2"):
        (tmp_path / "edited_base.py").write_text(MODULE.replace("NUMBER", number))
        command = [
            sys.executable,
            "-B",
            "-c",
            ASK,
            kind,
            str(tmp_path),
            str(Path(made.__file__).parent),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        answers.append(done.stdout.strip())
    assert answers == ["(1,)", "(2,)"]


def test_a_source_typed_into_a_notebook_counts_with_its_methods():
    answers = []
    for number in ("1", "2", "1"):
        names = {"__name__": "a_notebook"}
        exec(MODULE.replace("NUMBER", number), names)
        windows = prepare(names["Edited"](), window=0.4, step=0.2)
        answers.append((windows.test_subjects, windows.digest))
    assert [subjects for subjects, _ in answers] == [(1,), (2,), (1,)]
    assert answers[0] == answers[2]


def test_other_content_or_lengths_are_other_windows():
    kinds = [
        prepare(Source(content=content), window=window, step=step)
        for content, window, step in (("a", 0.4, 0.2), ("b", 0.4, 0.2), ("a", 0.3, 0.2))
    ]
    kinds.append(prepare(Source(), window=0.4, step=0.4))
    assert len({windows.digest for windows in kinds}) == 4
    assert [len(windows.labels) for windows in kinds] == [7, 7, 9, 5]


def test_the_cache_may_be_elsewhere(tmp_path, own_cache):
    windows = prepare(Source(), window=0.4, step=0.2, cache=tmp_path / "mine")
    [folder] = [path for path in (tmp_path / "mine/prepared").iterdir() if path.is_dir()]
    assert folder.name == f"made_up__-{windows.digest[:16]}"
    assert not (own_cache / "prepared").exists()


def test_an_entry_damaged_is_made_again(tmp_path):
    source = Source()
    first = prepare(source, window=0.4, step=0.2, cache=tmp_path)
    first = replace(first, signals=first.signals.copy())  # not mapped to what is to be damaged
    [array] = tmp_path.glob("prepared/*/signals.npy")
    with array.open("rb+") as file:
        file.truncate(200)
    assert_same(first, prepare(source, window=0.4, step=0.2, cache=tmp_path))
    assert source.reads == 2


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("key", ["window", "step"])
def test_impossible_times_are_refused(key, seconds):
    times = {"window": 0.4, "step": 0.2} | {key: seconds}
    with pytest.raises(ConfigError, match=rf"data\.{key}={seconds}: give a time in seconds"):
        prepare(Source(), **times)


def test_a_time_shorter_than_a_step_is_refused():
    with pytest.raises(ConfigError, match=r"data\.step=0\.01: shorter than one step.*least 0\.1"):
        prepare(Source(), window=0.4, step=0.01)


def test_a_window_too_long_is_refused_and_leaves_nothing(own_cache):
    with pytest.raises(DataError, match=r"longest has 0\.9 s"):
        prepare(Source(), window=4, step=1)
    assert [path for path in (own_cache / "prepared").iterdir() if path.is_dir()] == []


def test_a_source_that_breaks_a_promise_is_refused():
    with pytest.raises(DataError, match="sampling rate"):
        prepare(Source(data=replace(DATA, rate=0)), window=0.4, step=0.2)


def test_what_changes_while_it_is_read_is_not_kept_as_what_it_was():
    class Changing(Source):
        def digest(self):
            return self.content

        def read(self):
            self.content = "b"
            return replace(DATA, test_subjects=(1,))

    with pytest.raises(DataError, match="changed while they were read"):
        prepare(Changing(), window=0.4, step=0.2)
    assert prepare(Source(), window=0.4, step=0.2).test_subjects == (2,)


def test_a_cache_that_cannot_be_written_is_refused_by_option(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"data\.cache=PATH"):
        prepare(Source(), window=0.4, step=0.2, cache=tmp_path / "file")


def test_importing_brings_in_nothing_heavy():
    code = (
        "import sys, harnest.har.data.prepare, harnest.har.data.splits, "
        "harnest.har.data.sources.watch, "
        "harnest.har.data.sources.hapt, harnest.har.data.sources.uci_har\n"
        "heavy = {'pyarrow', 'pooch', 'requests', 'torch', 'scipy', 'pandas', 'seglearn', 'hydra',"
        " 'omegaconf', 'mlflow', 'optuna', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
