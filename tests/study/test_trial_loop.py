"""The trial loop: jobs in, outcomes back, with an executor that needs no processes."""

import pytest

from harnest.study import Replicate, Replicates
from harnest.study.execution.interrupts import Interrupts
from harnest.study.trial_loop import TooManyFailuresError, TrialLoop
from studies import InlineExecutor, opened, plan_for


def run(plan, job, capacity=2):
    executor = InlineExecutor(job, capacity)
    with opened(plan) as (study, events):
        loop = TrialLoop(study, executor, Interrupts())
        loop.run()
        return executor, study.trials(), events, loop.returns


def test_every_trial_is_submitted_once_with_its_overrides_and_ended(tmp_path):
    executor, trials, events, returns = run(
        plan_for(tmp_path, "x=1,2,3", "y=5"), lambda number, _: float(number)
    )
    assert [number for number, _, _ in executor.submitted] == [0, 1, 2]
    overrides = executor.submitted[1][2]
    assert {"x=2", "y=5", "hydra.sweep.subdir='1'"} <= set(overrides)
    assert any("env_set.VARIABLE='1'" in one for one in overrides)  # of a callback
    assert [trial.values for trial in trials] == [(0.0,), (1.0,), (2.0,)]
    assert sorted(events[1:]) == sorted(
        [*(("start", n, str(n)) for n in range(3)), *(("end", n, "COMPLETE") for n in range(3))]
    )
    assert [one.return_value for one in returns] == [0.0, 1.0, 2.0]


def test_a_trial_of_replicates_has_their_mean_and_none_waits_behind_new_trials(tmp_path):
    named = Replicates(tuple(Replicate(f"r{i}", (f"fold={i}",)) for i in range(2)))

    def job(number, replicate):
        return named if not replicate else float(number + int(replicate[1:]))

    executor, trials, events, _ = run(plan_for(tmp_path, "x=1,2"), job, capacity=1)
    order = [(number, replicate) for number, replicate, _ in executor.submitted]
    assert order == [(0, ""), (0, "r0"), (0, "r1"), (1, ""), (1, "r0"), (1, "r1")]
    assert "fold=1" in executor.submitted[2][2]
    assert [trial.values for trial in trials] == [(0.5,), (1.5,)]
    assert ("end of", 0, "r1", "COMPLETE") in events


def test_a_failed_replicate_fails_its_trial_alone(tmp_path):
    named = Replicates((Replicate("a", ()), Replicate("b", ())))

    def job(number, replicate):
        if not replicate:
            return named
        return ValueError("no luck") if (number, replicate) == (0, "a") else 1.0

    _, trials, _, _ = run(plan_for(tmp_path, "x=1,2"), job, capacity=1)
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE"]
    assert trials[0].message == "ValueError: no luck"


def test_a_study_that_only_fails_is_stopped_with_its_first_failure(tmp_path):
    plan = plan_for(tmp_path, "x=range(0,9)", n_trials=9, max_failure_rate=0.5)
    with pytest.raises(TooManyFailuresError, match="trial 0: ValueError: no luck") as raised:
        run(plan, lambda *_: ValueError("no luck"), capacity=1)
    assert raised.value.first.number == 0


def test_an_interrupt_stops_what_runs_and_is_recorded_as_one(tmp_path):
    interrupts = Interrupts()

    def job(number, replicate):
        if number == 1:
            interrupts.pending = 1  # as a signal does while none is allowed
        return 1.0 if number == 0 else None

    executor = InlineExecutor(job)
    with opened(plan_for(tmp_path, "x=1,2,3")) as (study, _):
        loop = TrialLoop(study, executor, interrupts)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("harnest.study.trial_loop._GRACE", 0.05)
            with pytest.raises(KeyboardInterrupt):
                loop.run()
        states = {trial.number: (trial.state.name, trial.reason) for trial in study.trials()}
    assert states[1] == ("FAIL", "interrupted")
    assert states[2][0] == "WAITING"
    assert len(executor.signals) == 2  # SIGTERM, and SIGKILL after the grace period
