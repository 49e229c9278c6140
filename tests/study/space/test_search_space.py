import itertools
import math
import re

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

from harnest.core.errors import StudyError
from harnest.study.events import TrialInfo
from harnest.study.space.search_space import SearchSpace


def parsed(*overrides):
    """What Hydra reads from overrides, by key."""
    lines = OverridesParser.create().parse_overrides(list(overrides))
    return {line.get_key_element(): line.value() for line in lines}


def grid_of(*arguments):
    """The values that the jobs of a grid see, in order."""
    space = SearchSpace.parse(arguments)
    return [parsed(*space.overrides(params)) for params in space.grid()]


def test_choices_are_listed_in_the_order_given():
    assert grid_of("n=choice(3,1,2)") == [{"n": 3}, {"n": 1}, {"n": 2}]
    assert grid_of("n=3,1,2") == [{"n": 3}, {"n": 1}, {"n": 2}]


def test_grid_has_every_combination_and_the_last_key_changes_fastest():
    assert grid_of("a=1,2", "c=5", "b=x,y,z") == [
        {"c": 5, "a": a, "b": b} for a, b in itertools.product((1, 2), ("x", "y", "z"))
    ]


@pytest.mark.parametrize(
    ("search", "values"),
    [
        ("range(1,4)", [1, 2, 3]),
        ("range(4)", [0, 1, 2, 3]),
        ("range(0,10,4)", [0, 4, 8]),
        ("range(3,0,-1)", [3, 2, 1]),
        ("range(0,0.4,0.1)", [0, 0.1, 0.2, 0.3]),
        ("range(1,0,-0.25)", [1, 0.75, 0.5, 0.25]),
        ("range(0.1,0.35,0.1)", [0.1, 0.2, 0.3]),
        ("sort(3,1,2)", [1, 2, 3]),
    ],
)
def test_a_grid_over_a_range_is_what_hydra_makes_of_the_range(search, values):
    assert [one["n"] for one in grid_of(f"n={search}")] == values


@given(st.integers(-50, 50), st.integers(1, 40), st.integers(-7, 7).filter(bool), st.integers(0, 3))
def test_any_range_of_decimals_is_complete_and_in_order(start, count, step, digits):
    """Decimals are where floating-point steps would drift."""

    def text(whole):
        return f"{whole / 10**digits:.{digits}f}"

    stop = start + count * step
    seen = [one["x"] for one in grid_of(f"x=range({text(start)},{text(stop)},{text(step)})")]
    assert seen == [float(text(whole)) for whole in range(start, stop, step)]


@pytest.mark.parametrize(
    ("search", "is_grid"),
    [
        ("n=1,2", True),
        ("n=range(1,4)", True),
        ("x=range(0,1,0.1)", True),
        ("n=interval(1,3)", False),
        ("n=int(interval(1,3))", False),
        ("x=interval(0.0,1.0)", False),
        ("x=tag(log,interval(0.1,1.0))", False),
    ],
)
def test_only_what_lists_its_values_is_a_grid(search, is_grid):
    assert SearchSpace.parse([search]).is_grid is is_grid
    assert SearchSpace.parse([search, "other=1,2"]).is_grid is is_grid


def test_intervals_become_ranges_of_their_kind():
    space = SearchSpace.parse(
        ["n=int(interval(1,3))", "x=interval(0.5,2)", "lr=tag(log,interval(1e-4,1e-1))"]
    )
    assert {search.key: search.distribution for search in space.parameters} == {
        "n": IntDistribution(1, 3),
        "x": FloatDistribution(0.5, 2.0),
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
    }


def test_a_later_override_replaces_an_earlier_one():
    assert SearchSpace.parse(["n=1,2", "n=5,6"]).lines == ("n in (5, 6)",)
    assert SearchSpace.parse(["n=interval(1,9)", "n=5"]).fixed == ("n=5",)
    assert not SearchSpace.parse(["n=interval(1,9)", "n=5"]).parameters
    again = SearchSpace.parse(["n=5", "n=interval(1,9)"])
    assert (list(again.keys), again.fixed) == (["n"], ())
    assert SearchSpace.parse(["n=interval(1,9)", "n=1,2"]).is_grid
    assert not SearchSpace.parse(["n=1,2", "n=interval(1,9)"]).is_grid


@pytest.mark.filterwarnings("ignore:extend_list")
def test_an_extended_list_keeps_what_stands_before_it():
    lines = ("a=[1]", "a=extend_list(2)", "a=extend_list(3)")
    assert SearchSpace.parse([*lines, "n=1,2"]).overrides({"n": 1}) == [*lines, "n=1"]
    assert SearchSpace.parse([*lines, "a=[4]"]).fixed == ("a=[4]",)
    with pytest.raises(StudyError, match="a is searched; extend its lists"):
        SearchSpace.parse(["a=[1],[2]", "a=extend_list(3)"])


def test_an_addition_replaces_and_is_replaced():
    assert SearchSpace.parse(["+new=1,2", "++new=3,4"]).overrides({"new": 3}) == ["++new=3"]
    assert SearchSpace.parse(["n=1,2", "++n=4"]).fixed == ("++n=4",)


def test_added_keys_are_added_but_called_by_their_names():
    space = SearchSpace.parse(["+new=1,2", "++forced=interval(1,2)"])
    assert space.keys == ("new", "forced")
    assert space.overrides({"new": 2, "forced": 1}) == ["+new=2", "++forced=1"]
    assert space.name.startswith("new+forced-")


def test_fixed_overrides_and_removals_are_passed_on_untouched():
    fixed = ["a='x y'", "~b", "+c=[1,2]", "net@encoder=large"]
    space = SearchSpace.parse([fixed[0], "n=1,2", *fixed[1:]])
    assert space.overrides({"n": 2}) == [*fixed, "n=2"]


def test_a_removal_does_not_undo_what_is_added_after_it():
    assert SearchSpace.parse(["~old", "+old=1,2"]).overrides({"old": 1}) == ["~old", "+old=1"]


def test_choices_of_groups_are_searched_like_values():
    assert grid_of("net=small,large", "opt@second=adam,sgd")[-1] == {
        "net": "large",
        "opt@second": "sgd",
    }


def quoted(value):
    """How a user writes a value in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, list):
        return f"[{','.join(map(quoted, value))}]"
    return repr(value)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    # A dollar begins an interpolation, which is not for a search to resolve.
    st.text(st.characters(codec="utf-8", exclude_characters="$", exclude_categories=["C"])),
)
values = st.one_of(scalars, st.lists(scalars, max_size=3))


@given(st.lists(values, min_size=2, max_size=5, unique_by=quoted))
def test_the_value_that_a_job_sees_is_the_value_searched(choices):
    line = "key=" + ",".join(map(quoted, choices))
    if len(set(map(comparable, choices))) < len(choices):  # 1, 1.0 and true are one to Optuna
        with pytest.raises(StudyError, match="twice"):
            SearchSpace.parse([line])
        return
    space = SearchSpace.parse([line])
    seen = [parsed(*space.overrides(params))["key"] for params in space.grid()]
    assert seen == choices
    assert [type(one) for one in seen] == [type(one) for one in choices]


def comparable(value):
    return value if isinstance(value, bool | int | float) else quoted(value)


@pytest.mark.parametrize(
    "text", [r"a\,b", r"a\ b", r"x\=1", r"\[a\]", "'null'", "'1'", r"'it\'s'", '"two words"', "a:b"]
)
def test_words_with_special_characters_keep_them(text):
    assert [one["key"] for one in grid_of(f"key={text},other")] == [
        parsed(f"key={text}")["key"],
        "other",
    ]


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_drawn_numbers_reach_the_job_to_the_last_digit(x, n):
    space = SearchSpace.parse(["x=interval(0.0,1.0)", "n=interval(1,9)"])
    assert parsed(*space.overrides({"x": x, "n": n})) == {"x": x, "n": n}


def test_lists_can_be_searched():
    assert grid_of("sizes=[1,2],[3,[4,a]],[]") == [
        {"sizes": [1, 2]},
        {"sizes": [3, [4, "a"]]},
        {"sizes": []},
    ]


def test_samples_name_every_choice_and_both_ends_of_every_range():
    space = SearchSpace.parse(["net=a,b,c", "x=interval(0.25,2)", "n=range(2,9,3)"])
    samples = list(space.samples())
    assert {one["net"] for one in samples} == {"a", "b", "c"}
    assert {0.25, 2.0} <= {one["x"] for one in samples}
    assert {2, 8} <= {one["n"] for one in samples}


def name_of(*arguments):
    return SearchSpace.parse(arguments).name


def test_names_are_stable_and_differ_where_the_search_does():
    name = name_of("model.size=1,2", "lr=interval(0,1)", "seed=3")
    assert name.startswith("size+lr-")
    assert name == name_of("seed=3", "model.size=1,2", "lr=interval(0.0,1.0)")
    others = [
        ("model.size=1,3", "lr=interval(0,1)", "seed=3"),
        ("model.size=1,2", "lr=interval(0,2)", "seed=3"),
        ("model.size=1,2", "lr=int(interval(0,1))", "seed=3"),
        ("model.size=1,2", "lr=tag(log,interval(0.1,1))", "seed=3"),
        ("model.size=1,2", "lr=interval(0,1)", "seed=4"),
        ("model.size=1,2", "lr=interval(0,1)"),
        ("model.size=1,'2'", "lr=interval(0,1)", "seed=3"),
    ]
    assert len({name, *(name_of(*other) for other in others)}) == len(others) + 1


keys = st.from_regex(r"[a-z]{1,30}(/[a-z]{1,9}|@[a-z]{1,9}|\[[0-9]\])?", fullmatch=True)


@given(st.lists(keys, min_size=1, unique=True))
def test_a_name_is_fit_for_a_directory(keys):
    name = name_of(*(f"{key}=1,2" for key in keys))
    assert re.fullmatch(r"[a-z0-9+-]{1,60}", name)


@pytest.mark.parametrize(
    "search",
    ["n=interval(3,1)", "n=range(3,1)", "n=range(1,4,0)", "lr=tag(log,interval(0,1))", "n=1,1"],
)
def test_a_search_that_holds_nothing_is_refused_with_its_line(search):
    with pytest.raises(StudyError) as refused:
        SearchSpace.parse(["a=1,2", search])
    assert search in str(refused.value)
    assert str(refused.value).partition("cannot be searched: ")[2].strip()


def test_values_that_optuna_takes_for_one_are_refused():
    for search in ("flag=1,true", "x=1,1.0", "flag=false,0"):
        with pytest.raises(StudyError, match="twice"):
            SearchSpace.parse([search])


def test_infinite_and_large_numbers_survive():
    assert [one["x"] for one in grid_of("x=inf,-inf,1e300,123456789012345678901")] == [
        math.inf,
        -math.inf,
        1e300,
        123456789012345678901,
    ]


CONDITIONS = {
    "net=lstm": {"size": "choice(32,64)", "layers": "range(1,3)"},
    "net=cnn,fcn": {"size": "interval(8,16)"},
    "layers=2": {"residual": "true,false"},
}


def conditional(*arguments, conditions=CONDITIONS, net="choice(lstm,cnn,fcn)"):
    return SearchSpace.parse(arguments, params=[f"net={net}", "x=1,2"], conditions=conditions)


def test_a_grid_has_only_what_its_conditions_allow():
    conditions = {
        "net=cnn": {"size": "1,2"},
        "size=2": {"extra": "true,false"},
        "net=fcn": {"fixed": "7"},
    }
    space = conditional("x=5", conditions=conditions)
    assert list(space.grid()) == [
        {"net": "lstm"},
        {"net": "cnn", "size": 1},
        {"net": "cnn", "size": 2, "extra": True},
        {"net": "cnn", "size": 2, "extra": False},
        {"net": "fcn", "fixed": 7},
    ]
    assert space.overrides({"net": "cnn", "size": 2, "extra": True}) == [
        "x=5",
        "net=cnn",
        "size=2",
        "extra=true",
    ]


def test_what_is_drawn_depends_on_what_was_drawn():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    space = conditional()
    for _ in range(40):
        trial = study.ask()
        space.draw(trial)
        study.tell(trial, 0.0)
    keys = {frozenset(TrialInfo.of(trial).params) for trial in study.trials}
    shared = {"net", "x", "size"}
    assert keys == {
        frozenset(shared),
        frozenset(shared | {"layers"}),
        frozenset(shared | {"layers", "residual"}),
    }
    sizes = {"lstm": set(), "cnn": set(), "fcn": set()}
    for trial in map(TrialInfo.of, study.trials):
        sizes[trial.params["net"]].add(trial.params["size"])
    assert sizes["lstm"] == {32, 64}
    assert all(8 <= size <= 16 for size in sizes["cnn"] | sizes["fcn"])


def test_a_key_with_two_ranges_has_two_names_in_optuna_and_one_elsewhere():
    space = conditional()
    named = space.named({"net": "lstm", "size": 32, "residual": True})
    assert named == {"net": "lstm", "size[net=lstm]": 32}
    assert space.keys == ("net", "x", "size", "layers", "residual")
    assert set(space.described()["size"]) == {"net=lstm", "net=cnn,fcn"}
    alike = conditional(conditions={"net=lstm": {"size": "1,2"}, "net=cnn": {"size": "1,2"}})
    assert alike.named({"net": "cnn", "size": 2}) == {"net": "cnn", "size": 2}


def test_keys_with_brackets_are_called_by_their_names_everywhere():
    conditions = {"items[0]=1": {"sizes[1]": "1,2"}, "items[0]=2": {"sizes[1]": "3,'[a=b]'"}}
    space = SearchSpace.parse(["items[0]=1,2"], conditions=conditions)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for params in space.grid():
        study.enqueue_trial(space.named(params))
        space.draw(study.ask())
    drawn = [TrialInfo.of(trial).params for trial in study.trials]
    assert drawn == list(space.grid())
    assert space.overrides(drawn[3]) == ["items[0]=2", "sizes[1]='[a=b]'"]


@pytest.mark.parametrize("net", ["'lstm','fcn'", "lstm,fcn", '"lstm",fcn'])
@pytest.mark.parametrize("condition", ["net='lstm'", "net=lstm", "net='lstm',rnn"])
def test_quotes_make_no_other_text_of_a_condition(net, condition):
    if "rnn" in condition:
        net += ",rnn"
    space = SearchSpace.parse([f"net={net}"], conditions={condition: {"size": "1,2"}})
    with_size = [parsed(*space.overrides(one))["net"] for one in space.grid() if "size" in one]
    assert set(with_size) == ({"lstm", "rnn"} if "rnn" in condition else {"lstm"})
    twice = {condition: {"size": "1,2"}, 'net="lstm"': {"size": "3"}}
    with pytest.raises(StudyError, match="under another condition"):
        SearchSpace.parse([f"net={net}"], conditions=twice)


def test_samples_name_every_choice_and_end_of_each_branch():
    samples = list(conditional().samples())
    seen = {(s["net"], key, s[key]) for s in samples for key in s}
    wanted = {("lstm", "size", 32), ("lstm", "size", 64), ("lstm", "layers", 1)}
    wanted |= {("lstm", "layers", 2), ("lstm", "residual", True), ("lstm", "residual", False)}
    wanted |= {(net, "size", end) for net in ("cnn", "fcn") for end in (8.0, 16.0)}
    assert wanted <= seen
    assert len(samples) == len({tuple(sample.items()) for sample in samples})


def test_the_command_line_settles_conditions():
    fixed = conditional("net=lstm", "layers=2")
    assert fixed.keys == ("x", "size", "residual")
    assert fixed.named({"size": 32}) == {"size": 32}
    assert conditional("net=cnn").keys == ("x", "size")
    assert conditional("size=5").keys == ("net", "x", "layers", "residual")
    assert conditional("size=5,6").overrides({"net": "cnn", "size": 6}) == ["net=cnn", "size=6"]
    assert conditional().lines != conditional(conditions={"net=lstm": {"size": "3,4"}}).lines


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ({"net=rnn": {"size": "1,2"}}, "net never is rnn: it is lstm, cnn, fcn"),
        ({"other=1": {"size": "1,2"}}, "other is neither searched nor given"),
        ({"net=lstm": {"x": "1,2"}}, "x is searched under another condition as well"),
        ({"net=lstm": {"a": "1,2"}, "x=1": {"a": "1,2"}}, "a is searched under another condition"),
        ({"net=lstm,cnn": {"a": "1,2"}, "net=cnn": {"a": "3"}}, "a is searched under another"),
        ({"a=1": {"b": "1,2"}, "b=1": {"a": "1,2"}}, "these conditions ask for each other"),
        ({"net=lstm": {"size": "range(2,2)"}}, "cannot be searched"),
    ],
)
def test_a_condition_that_cannot_be_used_is_told_of(conditions, told):
    with pytest.raises(StudyError, match=re.escape(told)):
        conditional(conditions=conditions)
