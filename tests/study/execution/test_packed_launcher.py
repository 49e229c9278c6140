"""Jobs that share a process: which of them do, where they meet, and what ends one or all."""

import json
import shutil
import signal

import pytest

from mortal_bench import Folder, gone


@pytest.fixture
def packed(tmp_path, empty_store):
    """Gives a folder whose launcher packs so many jobs, which may differ in these keys."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")

    def made(pack, *varying_keys, slots=1):
        return Folder(
            tmp_path,
            "packed",
            f"hydra.launcher.pack={pack}",
            f"hydra.launcher.varying_keys=[{','.join(varying_keys)}]",
            f"hydra.launcher.cpu_slots={slots}",
            "hydra.launcher.batch_timeout=1.5",
        )

    return made


@pytest.mark.slow
def test_jobs_that_differ_in_nothing_else_share_a_process_and_stay_themselves(packed):
    folder = packed(3, "seconds", slots=2)
    folder.sweep("seconds=0,0.01,0.02", "do=finish,finish-b", "meetings=2")
    groups = {}
    for trial in folder.trials():
        assert trial.state.name == "COMPLETE"
        assert trial.value == trial.params["seconds"]
        facts = folder.facts(trial.number)
        groups.setdefault(trial.params["do"], set()).add(facts["pid"])
        assert facts["met"] == [[3, str(trial.number), str(trial.number)]] * 2
        directory = folder.path / f"multirun/s/{trial.number}"
        said = (directory / "output.log").read_text().splitlines()
        met = [line for line in said if line.endswith(f"{trial.params['seconds']} met")]
        assert len(met) == 4  # printed, and logged to the console
        assert (directory / "mortal_app.log").read_text().count("met") == 2
        assert (directory / ".hydra" / "config.yaml").is_file()
        assert not (directory / ".pid").exists()
    first, second = groups.values()
    assert len(first) == len(second) == 1
    assert first != second


@pytest.mark.slow
def test_those_left_over_start_after_a_while_and_a_place_is_taken_again(packed):
    folder = packed(2, "seconds")
    folder.sweep("seconds=0,0.01,0.02,0.03,0.04", "meetings=1")
    met = [folder.facts(number)["met"] for number in range(5)]
    assert [came for (came, *_), *_ in met[:4]] == [2, 2, 2, 2]
    assert met[4] == []  # alone: as if there were no packs
    assert {trial.state.name for trial in folder.trials()} == {"COMPLETE"}


@pytest.mark.slow
def test_what_kills_the_process_fails_all_in_it_and_no_others(packed):
    folder = packed(2, "seconds")
    folder.sweep("do=kill,hang,finish", "seconds=0,0.01", "meetings=1", "hydra.launcher.timeout=20")
    ends = [(t.params["do"], t.state.name, t.user_attrs.get("reason")) for t in folder.trials()]
    assert sorted(ends) == [
        *[("finish", "COMPLETE", None)] * 2,
        *[("hang", "FAIL", "timeout")] * 2,
        *[("kill", "FAIL", "killed")] * 2,
    ]
    assert "RUNNING" not in folder.states().values()


@pytest.mark.slow
def test_packs_that_wait_are_run_where_the_processes_that_wait_for_them_are_killed(packed):
    folder = packed(4, "seconds")
    others = [f"finish-{number}" for number in range(3)]
    folder.sweep(f"do=cull,{','.join(others)}", "meetings=1")
    assert folder.endings() == {"cull": ("FAIL", "killed")} | dict.fromkeys(
        others, ("COMPLETE", None)
    )


@pytest.mark.slow
def test_who_ends_early_leaves_the_others_to_meet(packed):
    folder = packed(3, "do", "meetings")
    folder.sweep("do=error,finish,leave-not", "meetings=1,3", "hydra.sweeper.max_failure_rate=1")
    for trial in folder.trials():
        directory = folder.path / f"multirun/s/{trial.number}/facts.json"
        facts = json.loads(directory.read_text())
        is_broken = trial.params["do"] == "error"
        assert trial.state.name == ("FAIL" if is_broken else "COMPLETE")
        assert ("end" in facts) == (not is_broken)
        if not is_broken:
            counts = [came for came, *_ in facts["met"]]
            assert counts == sorted(counts, reverse=True)


@pytest.mark.slow
def test_what_goes_wrong_together_goes_wrong_for_each(packed):
    folder = packed(2, "seconds")
    folder.sweep("seconds=0,0.013", "meetings=1", "hydra.sweeper.max_failure_rate=1", code=2)
    assert [trial.user_attrs["message"] for trial in folder.trials()] == [
        "ValueError: nothing comes of it"
    ] * 2
    for trial in folder.trials():
        details = trial.user_attrs["details"]
        assert details.count('raise ValueError("nothing comes of it")') == 1  # where it went wrong
        assert details.count("in met_by") == 1  # its own job's frame, and no other's


@pytest.mark.slow
def test_an_interrupt_stops_all_and_the_same_command_runs_them_again(packed):
    folder = packed(2, "seconds")
    command = ("seconds=0,0.01,0.02", "meetings=100000")
    sweeper = folder.start(*command)
    folder.await_facts(0, 1)
    folder.stop(sweeper)
    assert gone(folder.facts(0)["pid"])
    assert [t.user_attrs.get("reason") for t in folder.trials()[:2]] == ["interrupted"] * 2
    assert folder.states() == {"s": "KILLED", "trial-0": "KILLED", "trial-1": "KILLED"}
    sweeper = folder.start(*command)
    folder.await_facts(3, 4)  # before the one that waits
    assert [t.user_attrs.get("retry_of") for t in folder.trials()[3:5]] == [0, 1]
    assert folder.facts(3)["pid"] == folder.facts(4)["pid"]
    folder.stop(sweeper, signal.SIGTERM)
    assert "RUNNING" not in folder.states().values()


@pytest.mark.slow
def test_replicates_that_have_not_begun_end_with_their_trial(packed):
    folder = packed(3, "seconds")  # they differ in something else: three processes, one by one
    folder.sweep("do=divide", "seconds=0.5", code=2)
    (trial,) = folder.trials()
    assert trial.user_attrs["message"] == "ValueError: no luck"
    assert not (folder.path / "multirun/s/0/finish/output.log").exists()
    facts = folder.path / "multirun/s/0/linger/facts.json"  # as far as it came
    assert not facts.exists() or "end" not in json.loads(facts.read_text())
    states = folder.states()
    assert [states[f"trial-0-{name}"] for name in ("error", "linger", "finish")] == [
        *("FAILED", "KILLED", "KILLED")
    ]


@pytest.mark.slow
def test_hydra_s_own_sweeper_runs_packs(packed):
    folder = packed(2, "seconds")
    folder.sweep("hydra/sweeper=basic", "seconds=0,0.01,0.02", "meetings=0")
    jobs = sorted(folder.path.glob("multirun/*/*/*/facts.json"))
    assert len({json.loads(job.read_text())["pid"] for job in jobs}) == 2


def test_an_application_whose_jobs_do_not_meet_is_told_so(bench):
    answer = bench.sweep("x=1,2", "hydra/launcher=packed", code=2)
    assert answer.err.splitlines()[-1] == (
        "hydra/launcher=packed: this application's jobs cannot be computed together; "
        "choose hydra/launcher=slots"
    )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("pack=0", "hydra.launcher.pack=0: it must be a whole number from 1 up"),
        ("batch_timeout=-1", "hydra.launcher.batch_timeout=-1: it must be at least 0"),
    ],
)
def test_a_launcher_that_cannot_be_is_refused(packed, option, told):
    folder = packed(2)
    folder.sweep("seconds=0,1", f"hydra.launcher.{option}", code=2)
    assert folder.said().strip() == told
