"""What is tried first, what is tried again, and when a study stops before its budget is spent."""

import json

import optuna
import pytest

from harnest.study.storage.optuna_storage import journal_address, open_storage


def test_known_good_configurations_are_tried_first(bench):
    bench.sweep(
        "x=interval(0,9)",
        "n=1,2",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.enqueue=[{x:3.5,n:2}]",
    )
    first, *others = bench.trials()
    assert first.params == {"x": 3.5, "n": 2}
    assert len(others) == 2


def test_null_lists_and_quoted_texts_are_tried_first(bench):
    search = ("text=null,'null','a, b','it'", "items=[1,2],['x y']")
    wanted = [(None, ["x y"]), ("null", [1, 2]), ("a, b", ["x y"]), ("it", [1, 2])]
    lines = ["{text: null, items: ['x y']}", "{text: 'null', items: [1, 2]}"]
    lines += ["{text: 'a, b', items: ['x y']}", "{text: it, items: [1, 2]}"]
    bench.sweep(*search, f"hydra.sweeper.enqueue=[{','.join(lines)}]", "hydra.sweeper.n_trials=4")
    assert [tried(bench, "s", number) for number in range(4)] == wanted
    # The same values, as another study writes them.
    other = ("text=null,it", "items=['x y',3],[x\\ y]", "hydra.sweeper.enqueue=[multirun/s]")
    bench.sweep(*other, "hydra.sweeper.n_trials=1", study="t")
    assert tried(bench, "t", 0) == (None, ["x y"])


def tried(bench, study, number):
    cfg = json.loads((bench.directory(number, study) / "seen.json").read_text())["cfg"]
    return cfg["text"], cfg["items"]


def test_the_best_of_another_study_is_tried_first(bench):
    bench.sweep("x=3,1,2", study="before")
    bench.sweep("x=1,2,3,4", "n=1,2", "hydra.sweeper.enqueue=[multirun/before]", study="after")
    order = [(trial.params["x"], trial.params["n"]) for trial in bench.trials("after")]
    assert order[:2] == [(1, 1), (1, 2)]
    assert sorted(order) == [(x, n) for x in (1, 2, 3, 4) for n in (1, 2)]


def test_what_another_study_searched_beyond_this_one_is_left_out(bench):
    bench.sweep("x=3,9", study="before")
    known = ("hydra.sweeper.enqueue=[multirun/before]", "hydra.sweeper.n_trials=2")
    bench.sweep("x=interval(5,8)", *known, study="after")
    assert [trial.state.name for trial in bench.trials("after")] == ["COMPLETE"] * 2
    assert all(5 <= trial.params["x"] <= 8 for trial in bench.trials("after"))


def test_a_grid_has_each_of_its_points_however_near_they_are(bench):
    bench.sweep("n=20240101,20240102,20240103")
    assert [trial.params["n"] for trial in bench.trials()] == [20240101, 20240102, 20240103]


def test_a_study_whose_making_was_cut_short_is_made(bench):
    folder = bench.folder / "multirun/s"
    folder.mkdir(parents=True)
    optuna.create_study(study_name="s", storage=open_storage(journal_address(folder)))
    bench.sweep("x=1,2")
    assert bench.states() == ["COMPLETE"] * 2


def test_a_grid_does_not_repeat_what_was_tried_first(bench):
    bench.sweep("x=1,2,3", "hydra.sweeper.enqueue=[{x:2}]")
    assert [trial.params["x"] for trial in bench.trials()] == [2, 1, 3]


@pytest.mark.parametrize("search", ["x=1,2,3,4", "x=range(0,0.5,0.1)", "+sweep=branches"])
def test_a_grid_is_completed_also_where_a_sampler_has_tried_some_of_it(bench, search):
    random = ("hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=0")
    bench.sweep(search, *random, "hydra.sweeper.n_trials=4")
    drawn = set(map(point, bench.trials()))
    assert len(drawn) < 4  # or this test would say nothing
    answer = bench.sweep(search)
    bench.sweep(search, study="grid")
    points = set(map(point, bench.trials("grid")))
    trials = bench.trials()
    assert set(map(point, trials)) == points
    assert len(trials) == len(points) + 4 - len(drawn)
    assert f"{len(trials)}/{len(trials)}" in answer.out
    assert "working on" not in bench.sweep(search).out


def point(trial):
    """What a trial tried; a decimal that is drawn differs from a listed one in its last digit."""
    return tuple(round(x, 9) if isinstance(x, float) else x for x in trial.params.values())


@pytest.mark.parametrize("do", ["interrupt@0", "fail@0"])
def test_what_is_run_again_comes_before_what_the_budget_is_not_for(bench, do):
    first = ("x=1,2", f"do={do}", "hydra.sweeper.n_trials=1")
    bench.sweep(*first, code=130 if "interrupt" in do else 2)
    bench.sweep(*first, "hydra.sweeper.retry.error=1")
    assert bench.states() == ["FAIL", "WAITING", "COMPLETE"]
    assert bench.trials()[2].params == {"x": 1}


@pytest.mark.parametrize(
    ("enqueue", "told"),
    [
        ("[{y:2}]", "y is not searched"),
        ("[{x:3}]", "x=3 is not what is searched: x in (1, 2)"),
        ("[{x:null}]", "x=null is not what is searched: x in (1, 2)"),
        ("[multirun/none]", "not a study folder"),
    ],
)
def test_what_cannot_be_tried_first_is_told(bench, enqueue, told):
    answer = bench.sweep("x=1,2", f"hydra.sweeper.enqueue={enqueue}", code=2)
    assert told in answer.err


def test_a_failed_trial_is_run_again_as_often_as_planned_and_counts_once(bench):
    bench.sweep("x=1,2", "do=fail@0", "hydra.sweeper.retry={error:2}")
    assert bench.states() == ["FAIL", "COMPLETE", "COMPLETE"]
    again = bench.trials()[-1]
    assert again.params == {"x": 1}
    assert again.user_attrs["retry_of"] == 0


def test_retries_come_to_an_end(bench):
    bench.sweep("x=1,2", "do=fail", "hydra.sweeper.retry={error:1,oom:7}", code=2)
    assert sorted(t.params["x"] for t in bench.trials()) == [1, 1, 2, 2]


def test_a_broken_study_is_stopped_and_shows_its_first_error(bench):
    answer = bench.sweep("x=range(1,30)", "do=fail", code=2)
    assert bench.states().count("FAIL") == 5
    assert "is broken" in answer.err
    assert "trial 0: ValueError: no luck with x=1" in answer.err
    assert "Traceback" in answer.out


@pytest.mark.slow
def test_one_that_breaks_after_some_good_trials_shows_its_first_error_too(bench):
    some = ("do=square,fail", "hydra.sweeper.max_failure_rate=0.4")
    answer = bench.sweep(*some, "x=range(1,30)", code=2)
    assert "COMPLETE" in bench.states()
    assert "is broken" in answer.err
    assert "Traceback" in answer.out


def test_a_study_may_be_told_to_bear_failures(bench):
    bench.sweep("x=range(1,8)", "do=fail", "hydra.sweeper.max_failure_rate=1", code=2)
    assert bench.states().count("FAIL") == 7


def test_a_session_ends_after_its_timeout_and_the_next_one_goes_on(bench):
    answer = bench.sweep("x=range(1,5)", "hydra.sweeper.timeout=0")
    assert "not complete" in answer.out
    bench.sweep("x=range(1,5)")
    assert bench.states() == ["COMPLETE"] * 4


def test_a_further_try_of_what_diverged_begins_afresh(bench):
    sweep = ("x=1", "do=diverge", "+hydra.sweeper.resume_from.text=seen.json")
    bench.sweep(*sweep, "hydra.sweeper.retry.nan=1", code=2)
    assert (bench.directory(0) / "seen.json").is_file()
    assert tried(bench, "s", 1)[0] == "word"


def test_a_further_try_goes_on_from_the_latest_one_that_got_anywhere(bench):
    sweep = ("x=1", "do=fail", "+hydra.sweeper.resume_from.text=seen.json")
    bench.sweep(*sweep, "hydra.sweeper.retry.error=1", code=2)
    (bench.directory(1) / "seen.json").unlink()
    bench.sweep(*sweep, "hydra.sweeper.retry.error=2", code=2)
    seen = json.loads((bench.directory(2) / "seen.json").read_text())
    assert seen["cfg"]["text"] == str(bench.directory(0) / "seen.json")
