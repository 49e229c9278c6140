"""The study manager: what is claimed, in which order, and how trials are finished."""

import optuna
import pytest
from optuna.trial import TrialState

from harnest.core.errors import StudyError
from harnest.core.failure import INTERRUPTED, Failure
from harnest.study.events import RETRY_OF
from harnest.study.outcome import Outcome, failed_outcome
from studies import opened, plan_for


def complete(*values):
    return Outcome(TrialState.COMPLETE, values)


INTERRUPT = Outcome(TrialState.FAIL, failure=Failure(INTERRUPTED, "stopped"))


def test_a_grid_is_claimed_once_each_and_then_no_more(tmp_path):
    with opened(plan_for(tmp_path, "x=1,2", "y=a,b")) as (study, events):
        claimed = [study.claim_next() for _ in range(4)]
        assert study.claim_next() is None
        points = {(trial.params["x"], trial.params["y"]) for trial in claimed}
        assert points == {(x, y) for x in (1, 2) for y in "ab"}
        assert [trial.number for trial in claimed] == [0, 1, 2, 3]
        assert study.snapshot()[1] is False  # they still run
        for trial in claimed:
            study.finish(trial.number, complete(float(trial.number)))
        trials, is_complete = study.snapshot()
    assert is_complete
    assert [trial.is_best for trial in trials] == [True, False, False, False]
    assert events == [("study", 4), *(("end", number, "COMPLETE") for number in range(4))]


def test_a_study_resumes_with_what_is_left(tmp_path):
    plan = plan_for(tmp_path, "x=1,2,3")
    with opened(plan) as (study, _):
        study.finish(study.claim_next().number, complete(1.0))
    with opened(plan) as (study, _):
        numbers = [study.claim_next().number, study.claim_next().number]
        assert (numbers, study.claim_next()) == ([1, 2], None)
        for number in numbers:
            study.finish(number, complete(0.0))


def test_the_first_end_counts(tmp_path):
    with opened(plan_for(tmp_path, "x=1,2")) as (study, _):
        number = study.claim_next().number
        study.finish(number, complete(1.0))
        study.finish(number, failed_outcome(ValueError("later")))
        assert study.trial(number).values == (1.0,)
        study.finish(study.claim_next().number, complete(2.0))


def test_an_interrupted_trial_is_run_again_before_others_and_a_failed_one_as_planned(tmp_path):
    plan = plan_for(tmp_path, "x=1,2,3", retry={"error": 1})
    with opened(plan) as (study, _):
        first, second = study.claim_next(), study.claim_next()
        study.finish(first.number, INTERRUPT)
        study.finish(second.number, failed_outcome(ValueError("no luck")))
        again = [study.claim_next() for _ in range(2)]
        assert [trial.retry_of for trial in again] == [first.number, second.number]
        assert [trial.params for trial in again] == [first.params, second.params]
        study.finish(again[0].number, complete(0.0))
        study.finish(again[1].number, failed_outcome(ValueError("no luck")))
        third = study.claim_next()
        assert (third.retry_of, third.params) == (None, {"x": 3})
        study.finish(third.number, complete(1.0))
        assert study.claim_next() is None  # the second failure was the last try


def test_a_trial_that_a_killed_sweeper_claimed_is_requeued(tmp_path):
    plan = plan_for(tmp_path, "x=1,2")
    with opened(plan) as (study, _):
        lost = study._ask(study._trials())  # claimed, and killed before its lease was written
    with opened(plan) as (study, _):
        numbers = [study.claim_next().number for _ in range(2)]
        assert lost.number in numbers
        for number in numbers:
            study.finish(number, complete(0.0))


def test_too_many_failures_are_told_after_five(tmp_path):
    with opened(plan_for(tmp_path, "x=range(0,9)", max_failure_rate=0.5, n_trials=9)) as (study, _):
        for count in range(1, 6):
            study.finish(study.claim_next().number, failed_outcome(ValueError("no luck")))
            assert (study.first_failure() is None) == (count < 5)
        assert study.first_failure().number == 0


def test_replicates_are_reported_and_pruned_by_their_scores(tmp_path):
    plan = plan_for(
        tmp_path, "x=1,2,3", pruner={"_target_": "optuna.pruners.ThresholdPruner", "upper": 1.0}
    )
    with opened(plan) as (study, events):
        number = study.claim_next().number
        study.start_replicates(number, 3)
        study.report(number, 0, (0.5,))
        assert not study.should_prune(number, 0)
        study.report(number, 1, (2.0,))
        assert study.should_prune(number, 1)
        study.finish(number, Outcome(TrialState.PRUNED))
        trial = study.trial(number)
        assert (trial.replicates, trial.pruned_at, trial.steps) == (3, 1, {0: 0.5, 1: 2.0})
    assert ("replicates", number, 3) in events


def test_another_search_under_the_same_name_is_refused_and_leaves_nothing_new(tmp_path):
    with opened(plan_for(tmp_path, "x=1,2")) as (study, _):
        study.finish(study.claim_next().number, complete(0.0))
    with (
        pytest.raises(StudyError, match="searched something else"),
        opened(plan_for(tmp_path, "x=1,3")),
    ):
        pass
    loaded = optuna.load_study(
        study_name="s",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "s" / "study.journal"))
        ),
    )
    assert len(loaded.trials) == 2
    assert not [trial for trial in loaded.trials if RETRY_OF in trial.user_attrs]
