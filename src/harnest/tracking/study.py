"""A study in MLflow: a parent run, one child run for each trial, each with its right end."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from hydra.experimental.callback import Callback

from harnest.failure import Failure
from harnest.programs import program
from harnest.secrets import redact
from harnest.tracking.courier import Courier, Outbox
from harnest.tracking.journal import Journal, journals_below
from harnest.tracking.provenance import provenance
from harnest.tracking.run import OBJECTIVE, RECORDED_IN, RUN_ID, STEPS, Run, still_here
from harnest.tracking.store import experiment_id, open_store

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from harnest.study.listener import StudyFacts, TrialFacts

#: Tags that tie runs to their study. The identity is the study's own: two studies of the same
#: name, in two folders, stay apart.
STUDY, IDENTITY, TRIAL = "study", "study.identity", "trial"

_PARENT = "mlflow.parentRunId"
_SOON = 2.0  # seconds in which a store that is there has made a run


class StudyRecord(Callback):
    """A Hydra callback that hears of a study's events and records them.

    Its writes go through journals in the directories of the study and its trials, so that a
    store that is away holds nobody up: what a trial could not send by itself is sent from here.
    ``patience`` is how long the study's end may wait for the store, in seconds. With a sweeper
    that has no such events it does nothing, and each job is a run of its own.
    """

    def __init__(self, tracking_uri: str, experiment: str, patience: float = 30.0) -> None:
        self.address = tracking_uri
        self.experiment = experiment
        self.patience = patience

    def __getstate__(self) -> dict[str, Any]:
        """A trial's process gets the callback, but neither its connection nor its runs."""
        return {
            "address": self.address,
            "experiment": self.experiment,
            "patience": self.patience,
        }

    def on_study_start(self, study: "StudyFacts", trials: Sequence["TrialFacts"]) -> None:
        """Start the parent run, or go on with it; end the child runs whose trials have ended."""
        self.study = study
        self.directory = study.directory.absolute()
        self.client = open_store(self.address)
        self.experiment_id = experiment_id(self.client, self.experiment)
        self.courier = Courier(self.address, self.patience)
        with FileLock(study.directory / ".record.lock"):  # one parent for several sweepers
            self.parent = self._start_parent()
        self.parent.tag(
            {
                "budget": str(study.budget),
                "sampler": study.sampler,
                "pruner": study.pruner,
                "command": redact(study.command),
                "directory": str(self.directory),
                **provenance(),
            }
        )
        self.children = self._started()
        running = {run.info.run_id for run in self._search("attributes.status = 'RUNNING'")}
        for trial in trials:
            child = self.children.get(trial.number)
            if child is None or not trial.state.is_finished():
                continue
            if not child.has_ended() if child.outbox is not None else child.run_id in running:
                self._end(child, trial)
            elif child.outbox is not None and child.outbox.journal.unsent():
                self.courier.hand(child.outbox.journal)

    def _start_parent(self) -> Run:
        found = self._search(f"tags.`{TRIAL}` IS NULL")
        if found:
            run_id = found[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
            return self._held(Journal.begin(self.directory, self.address, run_id))
        tags = {STUDY: self.study.name, IDENTITY: self.study.identity}
        made = self.client.create_run(self.experiment_id, tags=tags, run_name=self.study.name)
        parent = self._held(Journal.begin(self.directory, self.address, made.info.run_id))
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
            _PARENT: self.parent.run_id,
            STUDY: self.study.name,
            IDENTITY: self.study.identity,
            TRIAL: str(trial.number),
        }
        if trial.retry_of is not None:
            tags["retry_of"] = f"trial-{trial.retry_of}"
        journal = Journal.begin(directory, self.address)
        journal.create(self.experiment_id, f"trial-{trial.number}", tags)
        child = self._held(journal)
        self.children[trial.number] = child
        self.courier.hand(journal)
        # An application that logs by MLflow's own functions needs the run's identity now.
        self.courier.wait(_SOON, unless_away=True)
        known = {RUN_ID: child.run_id} if child.run_id else {}
        return {RECORDED_IN: str(journal.directory), **known}

    def on_trial_end(self, trial: "TrialFacts", directory: Path) -> None:
        """End the trial's run in the state that says how the trial ended."""
        run = self.children.get(trial.number)
        if run is None:  # it could not be started
            return
        if trial.reason is not None:  # its own process may not have come to that
            run.files(sorted(directory.glob("*.log")))
        self._end(run, trial)

    def on_study_end(self, trials: Sequence["TrialFacts"], complete: bool) -> list[str]:
        """Sum the study up in its parent run; returns how to look at it.

        Where another sweeper still has trials running, that one will have the last word.
        """
        from harnest.tracking.summary import summarise

        is_here = self.courier.wait(self.patience, unless_away=True)
        if not any(trial.state.name == "RUNNING" for trial in trials):
            try:
                started = self._started() if is_here else self.children
                run_ids = {number: run.run_id for number, run in started.items()}
                summarise(self.parent, self.study, trials, run_ids)
            except Exception as error:  # a study that has its trials does not fail for this
                log.warning("the study's parent run is not complete: %s", error)
            finally:
                self.parent.terminate("FINISHED" if complete else "KILLED")
        lines = [f"look:    {how_to_look(self.address)}"]
        if not self.courier.finish():
            lines.append(f"missing: {still_here(self.courier, self.study.directory)}")
        return lines

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
            run.terminate("KILLED")
        else:
            run.terminate("FINISHED")

    def _held(self, journal: Journal) -> Run:
        return Run(self.client, None, True, Outbox(journal, self.courier))

    def _started(self) -> dict[int, Run]:
        """The child runs by trial number, also those of other sweepers.

        A run whose journal is here is written to through it, even where the store has not heard
        of that run yet.
        """
        known = {
            int(run.data.tags[TRIAL]): run.info.run_id
            for run in self._search(f"tags.`{TRIAL}` != ''")
        }
        runs = {n: Run(self.client, run_id, owned=True) for n, run_id in known.items()}
        for journal in journals_below(self.directory):
            name = journal.directory.name
            if name.isdigit() and known.get(int(name), journal.run_id) == journal.run_id:
                runs[int(name)] = self._held(journal)
        return runs

    def _search(self, condition: str) -> list["MlflowRun"]:
        query = f"tags.`{IDENTITY}` = '{self.study.identity}' AND {condition}"
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], query, max_results=1000, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found


def how_to_look(address: str) -> str:
    """The command or address that shows a store in a browser."""
    if address.startswith(("http://", "https://")):
        return redact(address)
    # Without the variable the UI's server would ask its makers for a configuration.
    command = f"MLFLOW_DISABLE_TELEMETRY=true {program('mlflow')} ui"
    return f"{command} --backend-store-uri {redact(address)}   then open http://127.0.0.1:5000"
