"""Trials whose score is the mean of several jobs'."""

import json
import math
import signal
import statistics
from functools import partial

import pytest
from optuna.trial import TrialState

from foreign_bench import is_written, wait_until
from harnest.core.errors import StudyError
from harnest.core.failure import TrialInterruptedError
from harnest.study import Replicate, Replicates, Trial
from harnest.study.events import TrialInfo
from harnest.study.storage.optuna_storage import journal_address, open_storage
from limits import HANG_TIMEOUT

DIVIDED = ("do=divide", "steps=2")


def seen(bench, number, replicate, study="s"):
    return json.loads((bench.directory(number, study) / replicate / "seen.json").read_text())


@pytest.mark.parametrize("launcher", ["basic", "slots"])
def test_the_score_is_the_mean_of_the_replicates(bench, launcher):
    answer = bench.sweep("x=1,2", *DIVIDED, f"hydra/launcher={launcher}")
    trials = bench.trials()
    assert [trial.value for trial in trials] == [1 + 1.5, 4 + 1.5]
    assert [dict(trial.intermediate_values) for trial in trials] == [
        {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0},
        {0: 4.0, 1: 5.0, 2: 6.0, 3: 7.0},
    ]
    deviation = statistics.stdev(range(4))
    assert [TrialInfo.of(trial).deviation for trial in trials] == [pytest.approx(deviation)] * 2
    assert "best: trial 0, 2.5000 ± 1.2910, x=1" in answer.out
    for number in range(2):
        for n in range(4):
            job = seen(bench, number, f"part-{n}")
            assert (job["job"], job["cfg"]["n"], job["cfg"]["x"]) == (number, n, number + 1)


def test_replicates_take_the_slots_that_are_free(bench):
    command = ("x=1", "do=divide", "text=hang@0", "hydra/launcher=slots")
    sweeper = bench.start(*command, "hydra.launcher.cpu_slots=2")
    try:
        others = [bench.directory(0) / f"part-{n}" / "seen.json" for n in range(1, 4)]
        wait_until(lambda: all(file.exists() for file in others), "the others beside the first")
        (bench.folder / "release").touch()
        assert sweeper.wait(HANG_TIMEOUT) == 0
    finally:
        sweeper.kill()
        sweeper.communicate()
    assert bench.trials()[0].value == (1 + 2 + 3 + 4 + 1 - 1) / 4  # the first squares x alone


def test_a_trial_that_is_behind_is_given_up_after_some_replicates(bench):
    bench.sweep(
        "x=1,10",
        *DIVIDED,
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=1",
        "hydra.sweeper.pruner.n_warmup_steps=1",
    )
    assert bench.states() == ["COMPLETE", "PRUNED"]
    assert bench.trials()[1].intermediate_values == {0: 100.0, 1: 101.0}
    assert not (bench.directory(1) / "part-2").exists()


@pytest.mark.parametrize("launcher", ["basic", "slots"])
def test_a_replicate_that_fails_fails_its_trial_alone(bench, launcher):
    bench.sweep("x=1,2", "do=divide", "text=fail@1,word", f"hydra/launcher={launcher}")
    assert bench.states() == ["FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert "no luck with x=1" in bench.trials()[0].user_attrs["message"]


@pytest.mark.parametrize(
    ("scores", "state", "value"),
    [("inf@1,word", "COMPLETE", math.inf), ("inf@1+-inf@2,word", "FAIL", None)],
    ids=["one has a mean", "two opposite ones have none"],
)
def test_infinite_scores_do_not_end_the_study(bench, scores, state, value):
    bench.sweep("x=1", "do=divide", f"text={scores}")
    ended, other = bench.trials()
    assert (ended.state.name, ended.value, other.state.name) == (state, value, "COMPLETE")


RAY = ("ray.init.num_cpus=3", "ray.init.include_dashboard=false")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "is_remote"),
    [
        pytest.param(("slots", "hydra.launcher.cpu_slots=3"), False, id="slots"),
        pytest.param(("joblib", "hydra.launcher.n_jobs=3"), False, id="joblib"),
        pytest.param(("submitit_local", "hydra.sweeper.batch=3"), False, id="submitit"),
        pytest.param(("ray", *(f"+hydra.launcher.{one}" for one in RAY)), True, id="ray"),
    ],
)
def test_a_trial_that_has_failed_ends_its_other_replicates_and_nobody_else(
    bench, options, is_remote
):
    told = ("do=divide", "text=hang@0+fall@1,hang@0", "hydra.sweeper.max_failure_rate=1")
    sweeper = bench.start("x=1", *told, f"hydra/launcher={options[0]}", *options[1:])
    try:
        places = [bench.directory(0) / "part-0", bench.directory(0) / "part-1"]
        for place in (*places, bench.directory(1) / "part-0"):
            wait_until(partial(is_written, place / ".pid"), f"{place} to begin")
        if is_remote:  # as if it were on another host
            (places[0] / ".pid").write_text("1 elsewhere")
        (bench.folder / "fall").touch()
        wait_until(lambda: not (places[0] / ".pid").exists(), "the end of the other replicate")
        (bench.folder / "release").touch()
        out, err = sweeper.communicate(timeout=HANG_TIMEOUT)
        assert sweeper.returncode == 0, err.decode()
    finally:
        sweeper.kill()
        sweeper.communicate()
    assert bench.states() == ["FAIL", "COMPLETE"]  # and none that was to be run again
    assert "no luck with x=1" in bench.trials()[0].user_attrs["message"]
    said = [line for line in out.decode().splitlines() if line.startswith("trial 0 part-0 ")]
    assert "Interrupt" in said[-1]  # after the one for its start


def test_a_replicate_that_begins_after_its_trials_end_does_not_go_on(bench):
    bench.sweep("x=1", *DIVIDED)
    storage = f"journal://{bench.folder}/multirun/s/study.journal"
    with pytest.raises(TrialInterruptedError, match="trial 0 has ended already"):
        Trial("s", 0, storage)


@pytest.mark.slow
def test_an_interrupted_trial_is_divided_again(bench):
    command = ("x=1", "do=divide", "text=hang@2", "hydra/launcher=slots")
    sweeper = bench.start(*command, "hydra.launcher.cpu_slots=1")
    wait_until(lambda: (bench.directory(0) / "part-2/seen.json").exists(), "the third replicate")
    sweeper.send_signal(signal.SIGINT)
    out, _ = sweeper.communicate(timeout=HANG_TIMEOUT)
    assert "trial 0 interrupted" in out.decode()
    assert bench.states() == ["FAIL"]
    assert bench.trials()[0].user_attrs["reason"] == "interrupted"
    (bench.folder / "release").touch()
    bench.sweep(*command, "hydra.launcher.cpu_slots=1")
    assert bench.states() == ["FAIL", "COMPLETE"]
    assert bench.trials()[1].user_attrs["retry_of"] == 0


def test_a_trial_of_replicates_that_was_taken_from_its_sweeper_is_run_again(bench):
    """As from a host that was cut off, and is back."""
    sweeper = bench.start("x=1", "do=divide", "text=hang@1")
    wait_until((bench.directory(0) / "part-1/seen.json").exists, "the second replicate")
    storage = open_storage(journal_address(bench.folder / "multirun/s"))
    trial = bench.trials()[0]
    storage.set_trial_user_attr(trial._trial_id, "reason", "interrupted")
    storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    (bench.folder / "release").touch()
    _, err = sweeper.communicate(timeout=HANG_TIMEOUT)
    assert sweeper.returncode == 0, err.decode()
    assert bench.states() == ["FAIL", "COMPLETE"]
    assert bench.trials()[1].user_attrs["retry_of"] == 0


@pytest.mark.parametrize("launcher", ["basic", "slots"])
def test_a_limit_is_for_the_mean_of_what_the_replicates_measure(bench, launcher):
    limits = "hydra.sweeper.constraints={n: '<= 1.25', twice: '>= 4'}"
    answer = bench.sweep("x=1,2", *DIVIDED, limits, f"hydra/launcher={launcher}")
    assert [trial.constraints for trial in bench.trials()] == [
        {"n": 0.25, "twice": 2.0},  # of 0, 1, 2 and 3 as n
        {"n": 0.25, "twice": 0.0},
    ]
    assert "finished, breaks n, twice" in answer.out


def test_a_limit_is_for_the_replicates_that_a_trial_had_when_it_was_given_up(bench):
    pruner = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.upper=1.5")
    bench.sweep("x=1", *DIVIDED, *pruner, "hydra.sweeper.constraints={n: '<= 0'}", code=2)
    assert bench.states() == ["PRUNED"]
    assert bench.trials()[0].constraints == {"n": 0.5}  # of 0 and 1


def test_a_replicate_that_measures_nothing_fails_its_trial(bench):
    told = ("text=hide@2,word", "hydra.sweeper.constraints={n: '<= 2'}")
    bench.sweep("x=1", *DIVIDED, *told)
    assert bench.states() == ["FAIL", "COMPLETE"]
    assert "did not measure n" in bench.trials()[0].user_attrs["message"]


def test_what_replicates_measure_without_a_mean_fails_their_trial(bench):
    told = ("text=up@1+down@2,word", "hydra.sweeper.constraints={endless: '<= 2'}")
    bench.sweep("x=1", *DIVIDED, *told)
    assert bench.states() == ["FAIL", "COMPLETE"]
    assert "measured no mean of endless" in bench.trials()[0].user_attrs["message"]


def test_what_a_replicate_reports_is_not_the_trials(bench):
    bench.sweep("x=3", *DIVIDED)
    assert list(bench.trials()[0].intermediate_values) == [0, 1, 2, 3]


@pytest.mark.parametrize("launcher", ["basic", "slots"])
def test_replicates_may_have_any_names(bench, launcher):
    bench.sweep("x=1", "flag=true", "do=divide", f"hydra/launcher={launcher}")
    assert bench.trials()[0].value == 1 + 1.5
    assert seen(bench, 0, "n=3, größte (x)")["cfg"]["n"] == 3


def test_a_trial_whose_replicate_cannot_be_composed_ends_once(bench):
    wrong = ("text=mistake@1", "do=divide", "hydra/launcher=slots")
    answer = bench.sweep("x=1,2", *wrong, "hydra.launcher.cpu_slots=1", code=2)
    assert "nothing" in answer.err
    assert answer.out.count("trial 0 failed") == 1


def test_two_replicates_of_one_name_are_refused():
    one = Replicate("part", ("x=1",))
    with pytest.raises(StudyError, match="two replicates of a trial have one name: part, part"):
        Replicates((one, one))
