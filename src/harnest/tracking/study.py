"""A study in MLflow: a parent run, one child run for each trial, each with its right end."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from harnest.failure import Failure
from harnest.programs import program
from harnest.secrets import redact
from harnest.tracking.provenance import provenance
from harnest.tracking.run import OBJECTIVE, RUN_ID, STEPS, Run
from harnest.tracking.search import search
from harnest.tracking.store import experiment_id, open_store
from harnest.tracking.summary import best_of, show_progress, summarise

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from harnest.study.listener import StudyFacts, TrialFacts

#: Tags that tie runs to their study. The identity is the study's own: two studies of the same
#: name, in two folders, stay apart.
STUDY, IDENTITY, TRIAL = "study", "study.identity", "trial"

#: What MLflow calls the tag that nests a run in another.
PARENT = "mlflow.parentRunId"


class StudyRecord(Callback):
    """A Hydra callback that hears of a study's events and records them.

    With a sweeper that has no such events it does nothing, and each job is a run of its own.
    """

    def __init__(self, tracking_uri: str, experiment: str) -> None:
        self.address = tracking_uri
        self.experiment = experiment
        self.config = DictConfig({})

    def __getstate__(self) -> dict[str, str]:
        """A trial's process gets the callback, but neither its connection nor its runs."""
        return {"address": self.address, "experiment": self.experiment}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep what the study's config asks for and its facts do not say; called by Hydra."""
        self.config = config

    def on_study_start(self, study: "StudyFacts", trials: Sequence["TrialFacts"]) -> None:
        """Start the parent run, or go on with it; end the child runs whose trials have ended."""
        self.study = study
        self.asked = asked_of(self.config, study)
        self.trials = {trial.number: trial for trial in trials}
        self.client = open_store(self.address)
        self.experiment_id = experiment_id(self.client, self.experiment)
        with FileLock(study.directory / ".record.lock"):  # one parent for several sweepers
            self.parent = self._start_parent()
        self.parent.tag(
            {
                **self.asked,
                "directory": str(study.directory.absolute()),
                **provenance(),
            }
        )
        self.children = self._started()
        running = {run.info.run_id for run in self._search("attributes.status = 'RUNNING'")}
        for trial in trials:
            child = self.children.get(trial.number)
            if child is not None and child.run_id in running and trial.state.is_finished():
                self._end(child, trial)

    def _start_parent(self) -> Run:
        found = self._search(f"tags.`{TRIAL}` IS NULL")
        if found:
            self.client.update_run(found[0].info.run_id, status="RUNNING")
            return Run(self.client, found[0].info.run_id, owned=True)
        tags = {STUDY: self.study.name, IDENTITY: self.study.identity}
        made = self.client.create_run(self.experiment_id, tags=tags, run_name=self.study.name)
        parent = Run(self.client, made.info.run_id, owned=True)
        parent.params(
            {
                **{f"search.{key}": json.dumps(d) for key, d in self.study.space.items()},
                "directions": ", ".join(self.study.directions),
                "fixed": " ".join(redact(line) for line in self.study.fixed),
            }
        )
        return parent

    def on_trial_start(self, trial: "TrialFacts", directory: Path) -> Mapping[str, str]:
        """Start the trial's run; its process finds it by the returned environment."""
        tags = {
            PARENT: self.parent.run_id,
            STUDY: self.study.name,
            IDENTITY: self.study.identity,
            TRIAL: str(trial.number),
        }
        if trial.retry_of is not None:
            tags["retry_of"] = f"trial-{trial.retry_of}"
        name = f"trial-{trial.number}"
        made = self.client.create_run(self.experiment_id, tags=tags, run_name=name)
        self.children[trial.number] = Run(self.client, made.info.run_id, owned=True)
        return {RUN_ID: made.info.run_id}

    def on_trial_end(self, trial: "TrialFacts", directory: Path) -> None:
        """End the trial's run in the state that says how the trial ended, and how far we are."""
        self.trials[trial.number] = trial
        run = self.children.get(trial.number)
        if run is None:  # it could not be started
            return
        if trial.reason is not None:  # its own process may not have come to that
            run.files(sorted(directory.glob("*.log")))
        self._end(run, trial)
        show_progress(self.parent, self.study, list(self.trials.values()))

    def on_study_end(self, trials: Sequence["TrialFacts"], complete: bool) -> list[str]:
        """Sum the study up in its parent run; returns how to look at it.

        Where another sweeper still has trials running, that one will have the last word.
        """
        if not any(trial.state.name == "RUNNING" for trial in trials):
            run_ids = {number: run.run_id for number, run in self._started().items()}
            try:
                summarise(self.parent, self.study, trials, run_ids, self.asked)
            finally:  # also where the disk is full
                state = "FINISHED" if complete else "KILLED"
                self.client.set_terminated(self.parent.run_id, state)
        hints = [f"look:    {how_to_look(self.address)}"]
        best = best_of(trials, self.study)
        model = self.study.directory / f"{best.number if best else None}/checkpoints/best.ckpt"
        if model.is_file():  # the jobs are the trainer's
            hints.append(f"model:   {model}")
            hints.append(f"promote: {program('harnest-promote')} {self.study.directory}")
        return hints

    def _end(self, run: Run, trial: "TrialFacts") -> None:
        several = {f"{OBJECTIVE}_{i}": value for i, value in enumerate(trial.values)}
        scores = {OBJECTIVE: trial.values[0]} if len(trial.values) == 1 else several
        run.metrics(scores | {STEPS: len(trial.steps)}, step=0)
        # Choices of groups, which are no keys of the job's config; all where it logged none.
        run.missing_params(trial.params)
        if trial.reason is not None:
            run.fail(Failure(trial.reason, trial.message or "", trial.details))
        elif trial.state.name == "PRUNED":
            at = trial.pruned_at if trial.pruned_at is not None else max(trial.steps, default=None)
            run.tag({"pruned": "by the job" if at is None else f"at epoch {at}"})
            self.client.set_terminated(run.run_id, "KILLED")
        else:
            self.client.set_terminated(run.run_id, "FINISHED")

    def _started(self) -> dict[int, Run]:
        """The child runs by trial number, also those of other sweepers."""
        return {
            int(run.data.tags[TRIAL]): Run(self.client, run.info.run_id, owned=True)
            for run in self._search(f"tags.`{TRIAL}` != ''")
        }

    def _search(self, condition: str) -> list["MlflowRun"]:
        query = f"tags.`{IDENTITY}` = '{self.study.identity}' AND {condition}"
        return search(self.client, self.experiment_id, query)


def asked_of(config: DictConfig, study: "StudyFacts") -> dict[str, str]:
    """What a study was asked to do, by name; an application need not have a seed or a metric."""
    settings = {
        part: OmegaConf.select(config, f"hydra.sweeper.{part}") for part in ("sampler", "pruner")
    }
    sampler = study.sampler + ("" if study.is_grid else _settings(settings["sampler"]))
    metric, seed = (OmegaConf.select(config, key) for key in ("objective.metric", "seed"))
    facts = {
        "objective": metric,
        "direction": ", ".join(study.directions),
        "sampler": sampler,
        "pruner": study.pruner + _settings(settings["pruner"]),
        "budget": study.budget,
        "seed": seed,
        "command": redact(study.command),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}


def _settings(config: DictConfig | None) -> str:
    """The arguments of a sampler or pruner that are set."""
    every = {str(key): value for key, value in (config or {}).items()}
    given = {k: v for k, v in sorted(every.items()) if v is not None and k != "_target_"}
    return f"({', '.join(f'{key}={value}' for key, value in given.items())})"


def how_to_look(address: str) -> str:
    """The command or address that shows a store in a browser."""
    if address.startswith(("http://", "https://")):
        return redact(address)
    return f"{program('harnest-ui')} --tracking-uri {redact(address)}"
