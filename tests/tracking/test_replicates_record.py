"""Replicates of trials in MLflow: grandchildren of the study, each with its right end."""

import signal

import pytest

from foreign_bench import wait_until

RECORDED = ("callbacks@hydra.callbacks=mlflow", "hydra/launcher=slots", "do=divide")


def runs_of(client):
    experiment = client.get_experiment_by_name("foreign")
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_replicates_are_nested_in_their_trial(bench, store, client):
    bench.sweep("x=1,2", *RECORDED)
    runs = runs_of(client)
    assert len(runs) == 1 + 2 + 8
    for number in range(2):
        trial = runs[f"trial-{number}"]
        assert trial.data.metrics["objective"] == (number + 1) ** 2 + 1.5
        assert trial.data.metrics["objective_deviation"] == pytest.approx(1.29099, abs=1e-4)
        for n in range(4):
            replicate = runs[f"trial-{number}-part-{n}"]
            assert replicate.info.status == "FINISHED"
            assert replicate.data.tags["mlflow.parentRunId"] == trial.info.run_id
            assert replicate.data.tags["study"] == "s"
            assert replicate.data.metrics["objective"] == (number + 1) ** 2 + n
    bench.sweep("x=1,2", *RECORDED)
    assert len(runs_of(client)) == len(runs)


def test_a_replicate_that_fails_says_so_and_so_does_its_trial(bench, store, client):
    # One slot: else the failure may end the other replicate before that has ended by itself.
    bench.sweep("x=1,2", *RECORDED, "hydra.launcher.cpu_slots=1", "text=fail@1", code=2)
    runs = runs_of(client)
    assert runs["trial-0"].info.status == runs["trial-0-part-1"].info.status == "FAILED"
    assert "no luck" in runs["trial-0-part-1"].data.tags["message"]
    assert runs["trial-0-part-0"].info.status == "FINISHED"
    assert not [run for run in runs.values() if run.info.status == "RUNNING"]


@pytest.mark.slow
def test_what_a_killed_sweeper_leaves_is_ended(bench, store, client):
    sweeper = bench.start("x=1", *RECORDED, "text=hang@1")
    replicate = bench.directory(0) / "part-1/seen.json"
    try:
        wait_until(replicate.exists, "the second replicate")
    finally:
        sweeper.send_signal(signal.SIGKILL)
        sweeper.communicate()
    (bench.folder / "release").touch()
    bench.sweep("x=1", *RECORDED, "text=hang@1")
    runs = runs_of(client)
    assert runs["trial-0"].info.status == runs["trial-0-part-1"].info.status == "KILLED"
    assert runs["trial-0-part-1"].data.tags["reason"] == "interrupted"
    assert runs["trial-1"].info.status == runs["trial-1-part-1"].info.status == "FINISHED"
    assert not [run for run in runs.values() if run.info.status == "RUNNING"]
