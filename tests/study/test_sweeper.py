"""Studies of an application that is none of harnest's, from its command line to Optuna's record."""

import itertools
import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from foreign_bench import files_of
from harnest.study import current_trial
from harnest.study.events import TrialInfo
from harnest.study.ranking import rank_trials


def seen(directory):
    """What the job in ``directory`` saw of its config."""
    return json.loads((directory / "seen.json").read_text())


def searched(bench, study="s"):
    return [(trial.number, trial.params) for trial in bench.trials(study)]


def test_a_grid_is_run_completely_and_one_number_means_one_trial(bench):
    answer = bench.sweep("x=1,2", "network=small,large", "n=7")
    trials = bench.trials()
    assert [trial.params for trial in trials] == [
        {"x": x, "network": network} for x in (1, 2) for network in ("small", "large")
    ]
    for number, trial in enumerate(trials):
        job = seen(bench.directory(number))
        assert trial.number == number == job["job"]
        assert trial.value == trial.params["x"] ** 2
        assert job["cfg"]["x"] == trial.params["x"]
        assert job["cfg"]["network"] == {"size": {"small": 1, "large": 2}[trial.params["network"]]}
        assert job["cfg"]["n"] == 7
        hydra = yaml.safe_load((bench.directory(number) / ".hydra/hydra.yaml").read_text())
        assert hydra["hydra"]["job"]["num"] == number
        assert hydra["hydra"]["runtime"]["output_dir"] == str(bench.directory(number))
    assert "study s is complete" in answer.out
    assert "best: trial 0, 1.0000" in answer.out


def test_a_study_may_be_called_by_a_number(bench):
    bench.sweep("x=1,2", study="2026")
    assert [trial.value for trial in bench.trials("2026")] == [1, 4]


def test_each_end_tells_the_best_trial_so_far_also_of_earlier_sessions(bench):
    first = bench.sweep("x=3,2,4,1", "hydra.sweeper.n_trials=1")
    assert "best 9.0000 (trial 0)   1/1" in first.out
    told = bench.sweep("x=3,2,4,1", "hydra.sweeper.n_trials=4").out
    assert "best 4.0000 (trial 1)   2/4" in told
    assert "best 4.0000 (trial 1)   3/4" in told
    assert "best 1.0000 (trial 3)   4/4" in told


def test_a_search_with_intervals_runs_its_budget_and_no_more(bench):
    bench.sweep("x=interval(1,2)", "hydra.sweeper.n_trials=3")
    assert bench.states() == ["COMPLETE"] * 3
    assert all(1 <= trial.params["x"] <= 2 for trial in bench.trials())
    assert {path.name for path in (bench.folder / "multirun/s").iterdir() if path.is_dir()} == {
        "0",
        "1",
        "2",
    }


def test_a_complete_study_is_left_alone_and_extended_by_its_budget(bench):
    command = ("x=interval(1,2)", "hydra/sweeper/sampler=random", "hydra.sweeper.sampler.seed=3")
    bench.sweep(*command, "hydra.sweeper.n_trials=2")
    first = files_of(bench.folder / "multirun/s/0")
    before = files_of(bench.folder)

    again = bench.sweep(*command, "hydra.sweeper.n_trials=2")
    assert "working on" not in again.out
    assert "study s is complete" in again.out
    after = files_of(bench.folder)
    assert {name: content for name, content in after.items() if "/s/study." not in name} == {
        name: content for name, content in before.items() if "/s/study." not in name
    }

    more = bench.sweep(*command, "hydra.sweeper.n_trials=4")
    assert [line for line in more.out.splitlines() if line.startswith("working on")] == [
        "working on 2",
        "working on 3",
    ]
    assert bench.states() == ["COMPLETE"] * 4
    assert files_of(bench.folder / "multirun/s/0") == first

    bench.sweep(*command, "hydra.sweeper.n_trials=4", study="at_once")
    assert searched(bench) == searched(bench, "at_once")


def test_a_study_that_searches_nothing_has_one_trial(bench):
    bench.sweep("x=3", study="")
    (folder,) = (bench.folder / "multirun").iterdir()
    assert folder.name.startswith("one-")
    assert seen(folder / "0")["cfg"]["x"] == 3
    assert "working on" not in bench.sweep("x=3", study="").out


def test_a_seeded_sampler_draws_another_point_each_time(bench):
    bench.sweep(
        "x=interval(1,2)",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=3",
        "hydra.sweeper.n_trials=4",
    )
    assert len({trial.params["x"] for trial in bench.trials()}) == 4


def test_a_seeded_sampler_draws_another_point_also_beside_what_is_tried_first(bench):
    command = (
        "x=interval(1,2)",
        "n=1,2",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=0",
        "hydra.sweeper.enqueue=[{n:1},{n:2}]",
    )
    bench.sweep(*command, "hydra.sweeper.n_trials=5")
    assert len({trial.params["x"] for trial in bench.trials()}) == 5
    bench.sweep(*command, "hydra.sweeper.n_trials=1", study="in_steps")
    bench.sweep(*command, "hydra.sweeper.n_trials=5", study="in_steps")
    assert searched(bench) == searched(bench, "in_steps")


def test_part_of_a_grid_can_be_run_first(bench):
    bench.sweep("x=1,2,3", "hydra.sweeper.n_trials=2")
    assert bench.states() == ["COMPLETE", "COMPLETE", "WAITING"]
    bench.sweep("x=1,2,3")
    assert [trial.params["x"] for trial in bench.trials()] == [1, 2, 3]
    assert bench.states() == ["COMPLETE"] * 3
    bench.sweep("x=1,2,3", "hydra.sweeper.n_trials=9")
    assert len(bench.trials()) == 3


def test_an_interrupted_trial_is_run_again_under_a_new_number(bench):
    answer = bench.sweep("x=1,2,3", "do=interrupt@1", code=130)
    assert "interrupted" in answer.err
    assert bench.states() == ["COMPLETE", "FAIL", "WAITING"]
    assert bench.trials()[1].user_attrs["reason"] == "interrupted"
    finished = files_of(bench.directory(0)) | files_of(bench.directory(1))

    bench.sweep("x=1,2,3", "do=interrupt@1")
    trials = bench.trials()
    assert bench.states() == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert [trial.params["x"] for trial in trials] == [1, 2, 3, 2]
    assert trials[3].user_attrs["retry_of"] == 1
    assert seen(bench.directory(3))["cfg"]["x"] == 2
    assert files_of(bench.directory(0)) | files_of(bench.directory(1)) == finished


@pytest.mark.slow
def test_a_retry_that_is_interrupted_is_retried(bench):
    bench.sweep("x=5,6", "do=interrupt@0", code=130)
    bench.sweep("x=5,6", "do=interrupt@0", "hydra.sweeper.n_trials=1")
    assert bench.states() == ["FAIL", "WAITING", "COMPLETE"]
    bench.sweep("x=5,6", "do=interrupt@0")
    assert bench.states() == ["FAIL", "COMPLETE", "COMPLETE"]
    bench.sweep("x=1,2", "do=interrupt", study="t", code=130)
    bench.sweep("x=1,2", "do=interrupt", study="t", code=130)
    bench.sweep("x=1,2", "do=interrupt", study="t", code=130)
    retries = [trial.user_attrs.get("retry_of") for trial in bench.trials("t")]
    assert sorted(trial.number for trial in bench.trials("t")) == list(range(len(retries)))
    assert all(number is not None for number in retries[2:])


def test_a_study_of_another_format_is_refused(bench, grid_of_three):
    bench.open().set_user_attr("harnest.format", 1)
    refused = bench.sweep("x=1,2,3", code=2)
    (line,) = refused.err.strip().splitlines()
    assert "study s was made by another version of harnest (its record has format 1" in line
    assert "hydra.sweeper.study=" in line


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (["x=1,2,4"], ["(1, 2, 3)", "(1, 2, 4)"]),
        (["x=1,2,3", "n=5"], ["n=5"]),
        (["x=1,2,3", "hydra.sweeper.direction=maximize"], ["minimize", "maximize"]),
        (["x=1,2,3", "flag=true,false"], ["flag in (true, false)"]),
        (["n=1,2,3"], ["x in (1, 2, 3)", "n in (1, 2, 3)"]),
    ],
)
def test_another_search_under_the_same_name_is_refused_with_the_difference(
    bench, changed, told, grid_of_three
):
    before = files_of(bench.folder / "multirun")
    refused = bench.sweep(*changed, code=2)
    (line,) = refused.err.strip().splitlines()
    assert "study s searched something else" in line
    assert "hydra.sweeper.study=" in line
    for part in told:
        assert part in line
    assert searched(bench) == grid_of_three
    assert set(files_of(bench.folder / "multirun")) == set(before)


@pytest.fixture
def grid_of_three(bench):
    bench.sweep("x=1,2,3", "hydra.sweeper.n_trials=1")
    return searched(bench)


def test_a_directory_that_holds_trials_of_an_unknown_study_is_refused(bench):
    kept = bench.directory(0) / "precious.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("months of work")
    refused = bench.sweep("x=1,2", code=2)
    assert "multirun/s holds trials (0" in refused.err
    assert kept.read_text() == "months of work"
    assert not bench.directory(1).exists()
    assert list(bench.directory(0).iterdir()) == [kept]


@pytest.mark.parametrize(
    ("do", "reason", "message"),
    [
        ("fail", "error", "ValueError: no luck with x=2"),
        ("diverge", "nan", "FloatingPointError: the loss is not a number"),
        ("memory", "oom", "MemoryError"),
        ("gpu_memory", "oom", "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB"),
        ("nan", "nan", "the objective is not a number"),
        ("text", "error", "the job returned 'none of your numbers', which is not a number"),
        (
            "none",
            "error",
            "the job returned no score; hydra/sweeper=basic runs jobs without one",
        ),
        ("pair", "error", "the job returned 2 numbers for 1 objectives"),
    ],
)
def test_a_broken_trial_fails_alone_and_says_why(bench, do, reason, message):
    answer = bench.sweep("x=1,2,3", f"do={do}@1")
    assert bench.states() == ["COMPLETE", "FAIL", "COMPLETE"]
    broken = bench.trials()[1]
    assert (broken.user_attrs["reason"], broken.user_attrs["message"]) == (reason, message)
    assert f"trial 1 failed ({reason})" in answer.out
    assert message in answer.out
    if do in ("fail", "diverge", "memory"):
        assert "Traceback" in broken.user_attrs["details"]
        assert "in _end" in broken.user_attrs["details"]
    again = bench.sweep("x=1,2,3", f"do={do}@1")
    assert "working on" not in again.out  # a failure is a result: it is not tried again


def test_a_study_without_any_score_exits_with_the_first_message(bench):
    answer = bench.sweep("x=3,4", "do=fail", code=2)
    (line,) = answer.err.strip().splitlines()
    assert "none of its 2 trials finished" in line
    assert "no luck with x=3" in line
    assert bench.states() == ["FAIL", "FAIL"]


def test_a_study_without_a_finished_trial_says_what_failed_and_not_what_was_interrupted(
    bench, monkeypatch
):
    def interrupt(file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("foreign_app._wait_for", interrupt)
        bench.sweep("x=3", "do=fall", code=130)
    (bench.folder / "fall").touch()
    answer = bench.sweep("x=3", "do=fall", code=2)
    assert "none of its 2 trials finished; ValueError: no luck with x=3" in answer.err


def test_a_job_that_raises_trial_pruned_is_pruned(bench):
    answer = bench.sweep("x=1,2", "do=prune@0")
    assert bench.states() == ["PRUNED", "COMPLETE"]
    assert "trial 0 pruned" in answer.out


PRUNER = (
    "hydra/sweeper/pruner=threshold",
    "hydra.sweeper.pruner.upper=2",
)


def test_a_job_that_is_told_to_stop_is_pruned_whatever_it_returns(bench):
    answer = bench.sweep("x=1,3,2", "steps=4", *PRUNER)
    trials = bench.trials()
    assert bench.states() == ["COMPLETE", "PRUNED", "PRUNED"]
    assert trials[0].intermediate_values == {0: 1.0, 1: 0.5, 2: 1 / 3, 3: 0.25}
    assert trials[1].intermediate_values == {0: 9.0}
    assert trials[1].user_attrs["pruned_at"] == 0
    assert re.search(r"trial 1 pruned .* after 1 epoch ", answer.out)


def test_the_pruner_compares_with_earlier_trials_of_earlier_sessions(bench):
    command = ("x=1,2,3,4", "steps=3", "hydra/sweeper/pruner=median")
    patience = "hydra.sweeper.pruner.n_startup_trials=2"
    bench.sweep(*command, patience, "hydra.sweeper.n_trials=2")
    assert bench.states()[:2] == ["COMPLETE"] * 2
    bench.sweep(*command, patience)
    assert bench.states() == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]


def test_without_a_pruner_nothing_is_pruned(bench):
    bench.sweep("x=1,100", "steps=5")
    assert bench.states() == ["COMPLETE"] * 2


def test_outside_of_a_study_there_is_no_trial(bench):
    bench.run("x=3", "steps=2")
    assert current_trial() is None
    bench.run("-m", "x=3,4", "hydra/sweeper=basic", "steps=2", "hydra.sweep.dir=basic")
    assert seen(bench.folder / "basic/1")["cfg"]["x"] == 4


def test_several_objectives(bench):
    bench.sweep("x=1,2,3", "do=pair", "hydra.sweeper.direction=[minimize,maximize]")
    assert [trial.values for trial in bench.trials()] == [[1, -1], [4, -2], [9, -3]]
    refused = bench.sweep("x=1,2,3", "do=pair", "hydra.sweeper.direction=[minimize]", code=2)
    assert "maximize" in refused.err


@pytest.mark.parametrize(("steps", "told"), [(3, ["3"] * 2), (0, [])])
def test_epochs_are_told_of_jobs_that_report_them(bench, steps, told):
    answer = bench.sweep("x=1,2", f"steps={steps}")
    assert re.findall(r"(\d+) epochs", answer.out) == told


def test_a_study_that_is_complete_says_so_when_it_is_run_again(bench):
    bench.sweep("x=interval(1, 2)", "hydra.sweeper.n_trials=2")
    answer = bench.sweep("x=interval(1, 2)", "hydra.sweeper.n_trials=2")
    assert "complete: all 2 trials are done" in answer.out
    assert "hydra.sweeper.n_trials=4" in answer.out
    more = bench.sweep("x=interval(1, 2)", "hydra.sweeper.n_trials=4")
    assert "resuming: 2 of 4 trials done" in more.out


def test_objectives_that_have_names_are_named(bench):
    named = "hydra.sweeper.metric_names=[loss]"
    answer = bench.sweep("x=1,2", named)
    assert "2 trials, minimize loss, " in answer.out
    assert "best: trial 0, loss 1.0000, x=1" in answer.out


def test_direction_decides_what_is_best(bench):
    answer = bench.sweep("x=1,3,2", "hydra.sweeper.direction=maximize")
    assert "best: trial 1, 9.0000" in answer.out
    table = answer.out[answer.out.index("trial  state") :].splitlines()[1:4]
    assert [line.split()[0] for line in table] == ["1", "2", "0"]


def test_keys_that_are_added_and_lists_of_words_are_searched(bench):
    answer = bench.sweep("+new=1,2", "items=[a,b],[/c,'d e']")
    jobs = [seen(bench.directory(number))["cfg"] for number in range(4)]
    assert [(job["new"], job["items"]) for job in jobs] == [
        (new, items) for new in (1, 2) for items in (["a", "b"], ["/c", "d e"])
    ]
    assert "[a,b]" in answer.out  # brackets are no styles
    assert "[/c,'d e']" in answer.out


@pytest.mark.parametrize("study", ["s", ""])
def test_items_of_lists_and_groups_elsewhere_are_searched(bench, study):
    bench.sweep("items[0]=7,8", "+network@second=small,large", study=study)
    (folder,) = (bench.folder / "multirun").iterdir()
    jobs = [seen(folder / str(number))["cfg"] for number in range(4)]
    assert [(job["items"], job["second"]["size"]) for job in jobs] == [
        (items, size) for items in ([7, 2], [8, 2]) for size in (1, 2)
    ]


def test_a_file_among_the_configs_that_is_none_of_hydras_is_no_matter(bench):
    own = bench.folder / "own"
    own.mkdir()
    (own / "environment.yml").write_text("dependencies: [pip]\n")
    bench.sweep("x=1,2", f"--config-dir={own}")
    assert bench.states() == ["COMPLETE"] * 2


def test_words_reach_the_job_as_they_were_written(bench):
    bench.sweep(r"text='a, b',c\,d,null,'null','x=1'")
    words = [seen(bench.directory(number))["cfg"]["text"] for number in range(5)]
    assert words == ["a, b", "c,d", None, "null", "x=1"]


def test_a_study_without_a_name_is_named_by_its_search(bench):
    bench.sweep("x=1,2", study="")
    bench.sweep("x=1,3", study="")
    again = bench.sweep("x=1,2", study="")
    assert "working on" not in again.out
    assert len(list((bench.folder / "multirun").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nothing=1,2"], "nothing"),
        (["n=1,abc"], "n=abc cannot be used: it must be a whole number"),
        (["++n=1,abc"], "n=abc cannot be used: it must be a whole number"),
        (["n=interval(1,3)"], "must be a whole number"),
        (["flag=true,perhaps"], "flag=perhaps cannot be used: it must be true or false"),
        (["x=1,2", "nothing=3"], "nothing"),
        (["network=small,medium"], "network=medium"),
        (["x=interval(2,1)"], "x=interval(2,1) cannot be searched"),
        (["x=1,2", "hydra.sweeper.direction=up"], "choose minimize or maximize"),
        (["x=1,2", "hydra.sweeper.n_trials=0"], "n_trials=0"),
        (["x=1,2", "hydra.sweeper.n_trials=many"], "n_trials=many"),
        (["x=1,2", "hydra.sweeper.timeout=1h"], "timeout=1h"),
        (["x=1,2", "hydra.sweeper.max_failure_rate=high"], "max_failure_rate=high"),
        (["x=1,2", "hydra.sweeper.retry.killed=x"], "retry.killed=x"),
        (["x=1,2", "hydra.sweeper.retry.nan=-1"], "retry.nan=-1"),
        (["x=1,2", "hydra/sweeper/sampler=none_such"], "hydra/sweeper/sampler=none_such"),
        (["x=interval(0,1)", "hydra/sweeper/sampler=grid"], "an interval has no end"),
        (["x=1,2", "hydra/sweeper/pruner=threshold"], "lower or upper"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(bench, arguments, told):
    answer = bench.sweep(*arguments, code=2)
    (line,) = answer.err.strip().splitlines()
    assert told in line
    assert "working on" not in answer.out
    assert files_of(bench.folder) == {}


@pytest.mark.parametrize("name", ["a b", "../up", "a/b", "x=1"])
def test_a_name_that_is_no_directory_is_refused(bench, name):
    answer = bench.sweep("x=1,2", study=f"'{name}'", code=2)
    assert "use letters, digits" in answer.err
    assert files_of(bench.folder) == {}


def test_globs_stand_for_the_choices_of_a_group(bench):
    bench.sweep("network=glob(*)")
    assert sorted(trial.params["network"] for trial in bench.trials()) == ["large", "small"]


facts = st.builds(
    TrialInfo,
    number=st.integers(0, 99),
    params=st.just({}),
    state=st.sampled_from(list(TrialState)),
    values=st.tuples(st.floats(allow_nan=False)),
    steps=st.just({}),
)


@given(st.lists(facts, unique_by=lambda trial: trial.number), st.booleans())
def test_trials_are_ranked_by_state_then_score_then_number(trials, maximize):
    done = rank_trials(trials, ["maximize" if maximize else "minimize"])
    assert sorted(trial.number for trial in done) == sorted(trial.number for trial in trials)
    states = [trial.state for trial in done]
    finished = [trial for trial in done if trial.state is TrialState.COMPLETE]
    assert done[: len(finished)] == finished
    pruned = states.count(TrialState.PRUNED)
    assert set(states[len(finished) : len(finished) + pruned]) <= {TrialState.PRUNED}
    scores = [trial.values[0] for trial in finished]
    assert scores == sorted(scores, reverse=maximize)
    for one, other in itertools.pairwise(finished):
        assert one.values != other.values or one.number < other.number


def test_optuna_itself_reads_the_study(bench):
    bench.sweep("x=3,1,2")
    study = bench.open()
    assert study.best_params == {"x": 1}
    assert study.direction.name == "MINIMIZE"


def test_keys_that_are_searched_only_where_another_has_a_value(bench):
    answer = bench.sweep("+sweep=branches")
    assert [trial.params for trial in map(TrialInfo.of, bench.trials())] == [
        {"network": "small", "x": 1},
        {"network": "small", "x": 2},
        {"network": "large", "x": 7, "flag": True},
        {"network": "large", "x": 7, "flag": False},
        {"network": "large", "x": 8, "flag": True},
        {"network": "large", "x": 8, "flag": False},
    ]
    cfg = seen(bench.directory(5))["cfg"]
    assert (cfg["network"]["size"], cfg["x"], cfg["flag"]) == (2, 8, False)
    assert "best: trial 0, 1.0000" in answer.out
    assert "working on" not in bench.sweep("+sweep=branches").out


@pytest.mark.slow
def test_a_sampled_study_of_branches_goes_on_and_takes_known_ones_first(bench):
    sampled = ("+sweep=branches", "hydra/sweeper/sampler=tpe", "hydra.sweeper.sampler.seed=1")
    known = "hydra.sweeper.enqueue=[{network: large, x: 8, flag: true}]"
    bench.sweep(*sampled, known, "hydra.sweeper.n_trials=3")
    bench.sweep(*sampled, known, "hydra.sweeper.n_trials=14")
    trials = [TrialInfo.of(trial).params for trial in bench.trials()]
    assert len(trials) == 14
    assert trials[0] == {"network": "large", "x": 8, "flag": True}
    for params in trials:
        assert ("flag" in params) == (params["network"] == "large")
        assert params["x"] in ((1, 2) if params["network"] == "small" else (7, 8))
    bench.sweep("+sweep=branches", "hydra.sweeper.enqueue=[multirun/s]", study="t")
    assert TrialInfo.of(bench.trials("t")[0]).params["x"] == 1  # the best of s


def test_what_is_enqueued_has_to_be_searched(bench):
    idle = "hydra.sweeper.enqueue=[{network: small, flag: true}]"
    told = bench.sweep("+sweep=branches", idle, code=2).err
    assert "flag is not searched where network=small, flag=true" in told
    assert not (bench.folder / "multirun/s").exists()


def test_the_best_trial_keeps_to_the_constraints(bench):
    limits = ("hydra.sweeper.constraints={n: '<= 2', twice: '>= 4'}",)
    answer = bench.sweep("x=1,2,3", "n=2,3", *limits)
    assert "best: trial 2, 4.0000, x=2 n=2" in answer.out
    assert "finished, breaks n, twice" in answer.out
    assert bench.open().best_trial.number == 2
    assert [t.constraints for t in bench.trials()[:2]] == [
        {"n": 0.0, "twice": 2.0},
        {"n": 1.0, "twice": 2.0},
    ]
    bench.sweep("x=1,2,3", "n=2,3", code=2)  # another study


def test_a_trial_that_measures_nothing_fails(bench):
    bench.sweep("x=1,2", "do=hide", "hydra.sweeper.constraints={n: '<= 2'}", code=2)
    assert bench.states() == ["FAIL", "FAIL"]
    assert "did not measure n" in bench.trials()[0].user_attrs["message"]


def test_a_trial_that_measures_no_number_fails(bench):
    bench.sweep("n=1,2", "x=nan", "hydra.sweeper.constraints={twice: '<= 2'}", code=2)
    message = bench.trials()[0].user_attrs["message"]
    assert message == "ValueError: twice, which the study limits, is not a number"


def test_a_constraint_that_says_nothing_is_told_of(bench):
    told = bench.sweep("x=1,2", "hydra.sweeper.constraints={n: 2}", code=2).err
    assert told == "hydra.sweeper.constraints: n: 2: give a limit such as '<= 50000'\n"


def test_several_objectives_have_a_front(bench):
    both = "hydra.sweeper.direction=[minimize,minimize]"
    answer = bench.sweep("x=choice(-1,1,2)", "n=1,2", "do=pair", both)
    # x² and -x: 1 beats -1 in the second, and is beaten by 2 there only.
    assert [trial.number for trial in bench.open().best_trials] == [2, 3, 4, 5]
    front = [line for line in answer.out.splitlines() if line.startswith("best (")]
    assert len(front) == 4
    assert "trial 2, 1.0000, -1.0000, x=1 n=1" in front[0]


def results(bench, study):
    return [(trial.number, trial.params, trial.values) for trial in bench.trials(study)]


def test_a_seeded_study_on_one_slot_repeats_itself(bench):
    command = (
        "+sweep=branches",
        "x=tag(log,interval(0.1,10))",
        "steps=3",
        "hydra/sweeper/sampler=tpe",
        "hydra.sweeper.sampler.seed=5",
        "hydra.sweeper.sampler.n_startup_trials=3",
        "hydra/sweeper/pruner=median",
        "hydra.sweeper.pruner.n_startup_trials=2",
        "hydra.sweeper.n_trials=9",
    )
    bench.sweep(*command)
    bench.sweep(*command, study="again")
    assert results(bench, "s") == results(bench, "again")
    assert bench.states() == bench.states("again")
    assert "PRUNED" in bench.states()


def test_several_slots_give_what_one_gives_where_the_sampler_does_not_learn(bench):
    command = (
        "x=interval(1,2)",
        "hydra/launcher=slots",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.sampler.seed=5",
        "hydra.sweeper.n_trials=6",
    )
    bench.sweep(*command, "hydra.launcher.cpu_slots=1")
    bench.sweep(*command, "hydra.launcher.cpu_slots=3", study="three")
    assert results(bench, "s") == results(bench, "three")


def test_a_trial_that_reports_no_number_has_failed_and_was_not_pruned(bench):
    pruner = ("hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.upper=1000")
    bench.sweep("x=1,2,3", "steps=2", "do=nan@2", *pruner)
    assert bench.states() == ["COMPLETE", "COMPLETE", "FAIL"]
    assert bench.trials()[2].user_attrs["reason"] == "nan"


@pytest.mark.parametrize("launcher", ["basic", "slots"])
@pytest.mark.parametrize(
    "subdir", ["hydra.sweep.subdir=same", "hydra.sweep.subdir='${hydra.job.num}-${x}'"]
)
def test_a_trials_folder_is_its_number_whatever_hydra_is_told(bench, launcher, subdir):
    answer = bench.sweep("x=1,2,3", f"hydra/launcher={launcher}", subdir)
    assert bench.states() == ["COMPLETE"] * 3
    assert all((bench.directory(number) / "seen.json").is_file() for number in range(3))
    (line,) = re.findall(r"hydra\.sweep\.subdir=.* is not used: .*", answer.out + answer.err)
    assert line.startswith(f"{subdir} is not used".replace("'", ""))
    assert "is not used" not in bench.sweep("x=1,2,3").out


def test_a_folder_that_an_applications_configs_name_is_told_of_as_well(bench):
    own = bench.folder / "own" / "hydra"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package hydra\nsweep:\n  subdir: ${hydra.job.id}\n")
    answer = bench.sweep("x=1,2", "--config-dir=own", "+hydra=mine")
    assert "hydra.sweep.subdir=${hydra.job.id} is not used" in answer.out + answer.err
    assert (bench.directory(1) / "seen.json").is_file()


def test_a_study_whose_folder_holds_the_time_says_how_to_resume(bench):
    (bench.folder / "own/paths").mkdir(parents=True)
    (bench.folder / "own/paths/dated.yaml").write_text("logs: logs/${now:%Y-%m-%d}/${now:%f}\n")
    dated = ("x=1,2", "--config-dir=own", "+paths=dated", "hydra.sweep.dir='${paths.logs}'")
    for number in (1, 2):
        answer = bench.sweep(*dated)
        assert len(list(bench.folder.glob("logs/*/*"))) == number
    (line,) = re.findall(r"hydra\.sweep\.dir=.*holds the time.*", answer.out + answer.err)
    remedy = re.search(r"hydra\.sweep\.dir='(.*)'$", line)
    assert remedy is not None
    for _ in range(2):
        answer = bench.sweep(*dated[:-1], f"hydra.sweep.dir='{remedy[1]}'")
        assert "holds the time" not in answer.out + answer.err
    assert "working on" not in answer.out
    assert bench.states() == ["COMPLETE"] * 2


def test_the_sweeps_own_config_is_kept_as_hydras_sweeper_does(bench):
    bench.sweep("x=1,2", "n=3", "hydra.sweeper.n_trials=1")
    kept = yaml.safe_load((bench.folder / "multirun/s/multirun.yaml").read_text())
    assert kept["n"] == 3
    assert kept["hydra"]["overrides"]["task"] == ["x=1,2", "n=3"]
    bench.sweep("x=1,2", "n=3", "hydra.sweeper.n_trials=2")
    kept = yaml.safe_load((bench.folder / "multirun/s/multirun.yaml").read_text())
    assert kept["hydra"]["sweeper"]["n_trials"] == 2


def test_a_trial_that_starts_the_command_again_is_no_second_sweeper(bench, monkeypatch):
    """Lightning does, for each device but the first, with what it adds for Hydra."""
    bench.sweep("x=1,2,3", "hydra.sweeper.n_trials=1")
    monkeypatch.setenv("HARNEST_STUDY", "s")
    monkeypatch.setenv("HARNEST_TRIAL", "0")
    added = ("hydra.run.dir='outputs/x'", "hydra.job.name=train_ddp_process_1")
    answer = bench.sweep("x=1,2,3", *added, "hydra.output_subdir=null", code=2)
    (line,) = answer.err.strip().splitlines()
    assert line.startswith("trial 0 of study s has started the sweep again")
    assert bench.states() == ["COMPLETE", "WAITING", "WAITING"]
