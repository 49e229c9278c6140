"""Records a study in MLflow: one parent run, and one child run per trial with its end state."""

import json
import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from harnest.core.command_line import command_for
from harnest.core.failure import INTERRUPTED, Failure
from harnest.core.paths import BEST_CHECKPOINT
from harnest.core.secrets import redact
from harnest.study.callback import StudyCallback
from harnest.study.ranking import best_trial
from harnest.tracking.figure_worker import FigureWorker, pending_below
from harnest.tracking.fluent import FluentRun
from harnest.tracking.outbox.runlog import RunLog, run_logs_below
from harnest.tracking.outbox.uploader import Uploader, WriteQueue
from harnest.tracking.provenance import environment_tags, source_tags
from harnest.tracking.run_queries import search_runs
from harnest.tracking.run_writer import (
    BREAKS,
    DEVIATION,
    OBJECTIVE,
    RECORDED_IN,
    RUN_ID,
    STEPS,
    RunWriter,
    unsent_message,
)
from harnest.tracking.store import experiment_id, open_store
from harnest.tracking.study_summary import (
    append_ended,
    import_libraries,
    show_progress,
    show_started,
    summarize,
)

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from mlflow.entities import Run as MlflowRun

    from harnest.study.events import StudyInfo, TrialInfo
    from harnest.study.outcome import Outcome

#: Tags that link runs to their study. The identity is unique to a study, so it separates studies
#: of the same name in different folders.
STUDY, IDENTITY, TRIAL = "study", "study.identity", "trial"

#: Tags of a replicate's run: the replicate's name and the trial's name.
REPLICATE, REPLICATE_OF = "replicate", "replicate_of"

#: MLflow's tag for the parent of a nested run.
PARENT = "mlflow.parentRunId"

_SOON = 2.0  # seconds in which a store that answers creates a run


class StudyRecord(StudyCallback):
    """A Hydra callback that records a study's events in MLflow.

    Its writes go through run logs in the directories of the study and its trials, so a store that
    does not answer delays nothing. The uploader of this process sends the trials' run logs. Under
    a sweeper that does not emit study events the callback does nothing, and each job is a
    separate run.

    Args:
        tracking_uri: Address of the MLflow store.
        experiment: Name of the experiment; it is created if needed.
        flush_timeout: How long the study's end may wait for the store, in seconds.
    """

    def __init__(self, tracking_uri: str, experiment: str, flush_timeout: float = 30.0) -> None:
        self.address = tracking_uri
        self.experiment = experiment
        self.flush_timeout = flush_timeout
        self.config = DictConfig({})
        self._fluent: FluentRun | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the connection and the runs: a trial's process must not use them."""
        return {
            "address": redact(self.address),  # submitit pickles jobs to disk
            "experiment": self.experiment,
            "flush_timeout": self.flush_timeout,
            "_fluent": None,
        }

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Direct MLflow's fluent API to the trial's run; Hydra calls this in the job's process."""
        place = os.environ.get(RECORDED_IN)
        # MLflow's fluent API cannot tell apart jobs that run in threads.
        if place is not None and threading.current_thread() is threading.main_thread():
            self._fluent = FluentRun(RunLog(Path(place)), self.address, self.flush_timeout)
            self._fluent.install()

    def on_job_end(self, config: DictConfig, job_return: "JobReturn", **kwargs: Any) -> None:
        """End the runs that the job left active; Hydra calls this in the job's process."""
        fluent, self._fluent = self._fluent, None
        if fluent is not None:
            fluent.close("FINISHED" if job_return.status.name == "COMPLETED" else "FAILED")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keep the config, for settings that `StudyInfo` does not hold; called by Hydra."""
        self.config = config

    def on_study_start(self, study: "StudyInfo", trials: Sequence["TrialInfo"]) -> None:
        """Start or resume the parent run, and end the child runs of ended trials.

        Args:
            study: The study.
            trials: Its trials from earlier sessions.

        Raises:
            TrackingError: The store cannot be used.
        """
        self.study = study
        self.directory = study.directory.resolve()
        self.asked = settings_of(self.config, study)
        self.trials = {trial.number: trial for trial in trials}
        self.client = open_store(self.address)
        self.experiment_id = experiment_id(self.client, self.experiment)
        self.uploader = Uploader(self.address, self.flush_timeout)
        # A separate uploader with short rounds: a new run need not wait for earlier uploads.
        self.progress_uploader = Uploader(self.address, self.flush_timeout, rounds=0.01)
        self.worker = FigureWorker(self.uploader.enqueue)
        self.origin = source_tags()
        with self._ended_again():
            self._start_or_resume(trials)

    def _start_or_resume(self, trials: Sequence["TrialInfo"]) -> None:
        self.parent = self._start_parent()
        self.parent.tag(
            {
                **self.asked,
                "directory": str(self.directory),
                **environment_tags(),
                **self.origin,
            }
        )
        self.replicates: dict[tuple[int, str], RunWriter] = {}
        self._settle(trials)
        self.uploader.wait(_SOON, unless_away=True)
        for one in pending_below(self.directory):
            self.worker.draw(one)

    def _settle(self, trials: Sequence["TrialInfo"]) -> None:
        """End the runs of ended trials whose sweeper died before it recorded the end."""
        self.children = self._started()
        left = self._search("attributes.status = 'RUNNING'")
        running = {run.info.run_id for run in left}
        for trial in trials:
            child = self.children.get(trial.number)
            if child is None or not trial.state.is_finished():
                continue
            if not child.has_ended() if child.queue is not None else child.run_id in running:
                self._end(child, trial)
            elif child.queue is not None and child.queue.run_log.unsent():
                self.uploader.enqueue(child.queue.run_log)
        ended = {f"trial-{trial.number}": trial for trial in trials if trial.state.is_finished()}
        replicates = [run for run in left if run.data.tags.get(REPLICATE_OF) in ended]
        # Some run logs here hold an end that was not sent yet; it is more precise than a guess.
        here = run_logs_below(self.directory) if replicates else []
        told = {run_log.run_id: run_log for run_log in here if run_log.has_ended()}
        for run in replicates:
            replicate = RunWriter(self.client, run.info.run_id, owned=True)
            if run.info.run_id in told:
                self.uploader.enqueue(told[run.info.run_id])
            elif (
                ended[run.data.tags[REPLICATE_OF]].state.name == "COMPLETE"
            ):  # a complete trial has complete replicates
                replicate.terminate("FINISHED")
            else:
                replicate.fail(Failure(INTERRUPTED, "its sweeper process died"))
        self._end_nested(trials)

    def _end_nested(self, trials: Sequence["TrialInfo"]) -> None:
        """End the runs that jobs have nested in their trial's run, if their process died first."""
        ended = {
            self.children[trial.number].run_id: trial.state.name
            for trial in trials
            if trial.state.is_finished() and trial.number in self.children
        }
        states = {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}
        left = search_runs(self.client, self.experiment_id, "attributes.status = 'RUNNING'")
        while found := [run for run in left if run.data.tags.get(PARENT) in ended]:
            left = [run for run in left if run not in found]
            for run in found:
                state = ended[run.data.tags[PARENT]]
                ended[run.info.run_id] = state
                if IDENTITY not in run.data.tags:  # the study did not start this run itself
                    self.client.set_terminated(run.info.run_id, states.get(state, "FAILED"))

    @contextmanager
    def _ended_again(self) -> Iterator[None]:
        """If the study cannot be opened, restore the previous state of its parent run.

        The folder of a new study is removed in that case, so nothing else would end the run.
        """
        before = self._parents()
        try:
            yield
        except BaseException:
            state = before[0].info.status if before else "KILLED"
            with suppress(Exception):  # the store may be what failed
                for run in self._parents():
                    if run.info.status == "RUNNING" != state:  # another sweeper may have ended it
                        self.client.set_terminated(run.info.run_id, state)
            raise

    def _parents(self) -> list["MlflowRun"]:
        return self._search(f"tags.`{PARENT}` IS NULL")

    def _start_parent(self) -> RunWriter:
        found = self._parents()
        if found:
            run_id = found[0].info.run_id
            self.client.update_run(run_id, status="RUNNING")
            return self._held(RunLog.begin(self.directory, self.address, run_id))
        tags = {STUDY: self.study.name, IDENTITY: self.study.identity}
        made = self.client.create_run(self.experiment_id, tags=tags, run_name=self.study.name)
        parent = self._held(RunLog.begin(self.directory, self.address, made.info.run_id))
        parent.params(
            {
                **{f"search.{key}": json.dumps(d) for key, d in self.study.space.items()},
                "directions": ", ".join(self.study.directions),
                "fixed": " ".join(redact(line) for line in self.study.fixed),
            }
        )
        return parent

    def on_trial_start(self, trial: "TrialInfo", directory: Path) -> Mapping[str, str]:
        """Start the trial's run; returns environment variables that lead its process to the run."""
        self.trials[trial.number] = trial
        show_started(self.parent, self.study, list(self.trials.values()))
        tags = {PARENT: self.parent.run_id, TRIAL: str(trial.number)}
        if trial.retry_of is not None:
            tags["retry_of"] = f"trial-{trial.retry_of}"
        child = self.children[trial.number] = self._start_run(
            directory, f"trial-{trial.number}", tags
        )
        return _environment(child)

    def on_replicate_start(
        self, trial: "TrialInfo", name: str, directory: Path
    ) -> Mapping[str, str]:
        """Start the run of a replicate, nested in its trial's run.

        Args:
            trial: The trial.
            name: Name of the replicate.
            directory: The replicate's directory.

        Returns:
            Environment variables that lead the replicate's process to its run.
        """
        of = f"trial-{trial.number}"
        child = self.children[trial.number]
        tags = {PARENT: child.run_id or self.parent.run_id, REPLICATE: name, REPLICATE_OF: of}
        run = self.replicates[trial.number, name] = self._start_run(directory, f"{of}-{name}", tags)
        return _environment(run)

    def _start_run(self, directory: Path, name: str, tags: Mapping[str, str]) -> RunWriter:
        """Start a run of this study whose run log is in ``directory``."""
        run_log = RunLog.begin(directory, self.address)
        family = {STUDY: self.study.name, IDENTITY: self.study.identity}
        run_log.create(self.experiment_id, name, {**self.origin, **family, **tags})
        self.progress_uploader.enqueue(run_log)
        # A job that uses MLflow's own functions needs the run's ID when it starts.
        self.progress_uploader.wait(_SOON, unless_away=True)
        self.uploader.watch(run_log)  # the job's process does not upload by itself
        return self._held(run_log)

    def on_replicate_end(
        self, trial: "TrialInfo", name: str, directory: Path, end: "Outcome"
    ) -> None:
        """End the replicate's run in the matching state.

        Args:
            trial: The trial.
            name: Name of the replicate.
            directory: The replicate's directory.
            end: How the replicate ended.
        """
        run = self.replicates.pop((trial.number, name), None)
        if run is None:  # it could not be started
            return
        self._finish(run, directory)
        run.metrics(_scores(end.values), step=0)
        if end.failure is not None:  # the job's process may have died before it logged these
            run.files(sorted(directory.glob("*.log")))
            run.fail(end.failure)
        else:
            run.terminate("FINISHED")

    def on_trial_end(self, trial: "TrialInfo", directory: Path) -> None:
        """End the trial's run in the matching state, and update the study's progress."""
        self.trials[trial.number] = trial
        # A sweeper that has died may have started the run after `_settle` listed the runs.
        run = self.children.get(trial.number) or self._started().get(trial.number)
        if run is None:  # it could not be started
            return
        self._finish(run, directory)
        if trial.reason is not None:  # the job's process may have died before it logged these
            run.files(sorted(directory.glob("*.log")))
        self._end(run, trial)
        trials = list(self.trials.values())
        show_started(self.parent, self.study, trials)
        show_progress(self.parent, self.study, trials)
        append_ended(self.parent, trials, self.children)
        ended = sum(one.state.is_finished() for one in trials)
        if ended < self.study.budget <= len(self.children):  # use a slot's idle time at the end
            with suppress(ImportError):  # `summarize` reports it
                import_libraries()

    def on_study_end(self, trials: Sequence["TrialInfo"], complete: bool) -> list[str]:
        """Summarize the study in its parent run; returns lines that say how to look at it.

        If another sweeper still has trials running, that sweeper finalizes the parent run. After an
        interrupt the rest of the summary is left out, but the runs still get their end states.

        Args:
            trials: All trials of the study.
            complete: Whether the budget is spent.
        """
        try:
            self._summarize(trials, complete)
            self.progress_uploader.finish(unless_away=True)
            is_sent = self.uploader.finish()
        except KeyboardInterrupt:
            if not self.uploader.wait(_SOON, unless_away=True):
                log.warning(unsent_message(self.uploader, self.study.directory))
            raise
        lines = [f"look:    {view_command(self.address)}"]
        best = best_trial(trials, self.study.directions)
        place = self.study.directory / str(best.number if best else None)
        one, several = place / BEST_CHECKPOINT, sorted(place.glob(f"*/{BEST_CHECKPOINT}"))
        is_trained = one.is_file() or bool(several)
        if is_trained:
            lines.append(
                f"model:   {one}" if one.is_file() else f"models:  {place}/*/{BEST_CHECKPOINT}"
            )
        asked = (OmegaConf.select(self.config, key) for key in ("objective.metric", "data.name"))
        # Without these keys the jobs belong to another application, which `harnest-promote` cannot
        # train again.
        if is_trained and all(asked):
            lines.append(f"promote: {command_for('harnest-promote')} {self.study.directory}")
        if not is_sent:
            lines.append(f"missing: {unsent_message(self.uploader, self.study.directory)}")
        return lines

    def _summarize(self, trials: Sequence["TrialInfo"], complete: bool) -> None:
        """Write the summary to the parent run, and its end state whatever fails."""
        is_last = not any(trial.state.name == "RUNNING" for trial in trials)
        try:
            self.worker.finish()
            is_here = self.uploader.wait(self.flush_timeout, unless_away=True)
            if is_last and is_here:
                self._settle(trials)
            if is_last:
                run_ids = {number: run.run_id for number, run in self.children.items()}
                about = self.asked, self.experiment_id
                summarize(self.parent, self.study, trials, run_ids, *about)
        except Exception as error:  # must not fail a study whose trials are done
            log.warning("the study's parent run is not complete: %s", error)
        finally:
            if is_last:
                self.parent.terminate("FINISHED" if complete else "KILLED")

    def _finish(self, run: RunWriter, directory: Path) -> None:
        """Stop watching the run log of a job that has ended, and queue its figures."""
        if run.queue is not None:
            self.uploader.unwatch(run.queue.run_log)
        self.worker.draw(directory.absolute())

    def _end(self, run: RunWriter, trial: "TrialInfo") -> None:
        deviation = {} if trial.deviation is None else {DEVIATION: trial.deviation}
        run.metrics({**_scores(trial.values), **deviation, STEPS: len(trial.steps)}, step=0)
        # Choices of config groups are not keys of the job's config. A job that did not log its
        # parameters gets all of them.
        run.missing_params(trial.params)
        if trial.broken:
            run.tag({BREAKS: ", ".join(trial.broken)})
        if trial.reason is not None:
            run.fail(Failure(trial.reason, trial.message or "", trial.details))
        elif trial.state.name == "PRUNED":
            at = trial.pruned_at if trial.pruned_at is not None else max(trial.steps, default=None)
            run.tag({"pruned": "by the job" if at is None else f"at epoch {at}"})
            run.terminate("KILLED")
        else:
            run.terminate("FINISHED")

    def _held(self, run_log: RunLog) -> RunWriter:
        return RunWriter(self.client, None, True, WriteQueue(run_log, self.uploader))

    def _started(self) -> dict[int, RunWriter]:
        """Return the child runs by trial number, including those of other sweepers.

        A run whose run log is on this host is written to through that, even if the store does not
        know the run yet.
        """
        known = {
            int(run.data.tags[TRIAL]): run.info.run_id
            for run in self._search(f"tags.`{TRIAL}` != ''")
        }
        runs = {n: RunWriter(self.client, run_id, owned=True) for n, run_id in known.items()}
        for run_log in run_logs_below(self.directory):
            name = run_log.directory.name if run_log.directory != self.directory else ""
            if name.isdigit() and known.get(int(name), run_log.run_id) == run_log.run_id:
                runs[int(name)] = self._held(run_log)
        return runs

    def _search(self, condition: str) -> list["MlflowRun"]:
        query = f"tags.`{IDENTITY}` = '{self.study.identity}' AND {condition}"
        return search_runs(self.client, self.experiment_id, query)


def _scores(values: Sequence[float]) -> dict[str, float]:
    if len(values) == 1:
        return {OBJECTIVE: values[0]}
    return {f"{OBJECTIVE}_{index}": value for index, value in enumerate(values)}


def _environment(run: RunWriter) -> dict[str, str]:
    """Return environment variables that lead a trial's process to its run."""
    assert run.queue is not None
    known = {RUN_ID: run.run_id} if run.run_id else {}
    return {RECORDED_IN: str(run.queue.run_log.directory), **known}


def settings_of(config: DictConfig, study: "StudyInfo") -> dict[str, str]:
    """Return a study's settings by name; a seed or a metric is optional."""
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
    """Return the arguments of a sampler or pruner that are set, in parentheses."""
    every = {str(key): value for key, value in (config or {}).items()}
    given = {k: v for k, v in sorted(every.items()) if v is not None and k != "_target_"}
    return f"({', '.join(f'{key}={value}' for key, value in given.items())})"


def view_command(address: str) -> str:
    """Return the command or the address that shows a store in a browser."""
    if address.startswith(("http://", "https://")):
        return redact(address)
    return f"{command_for('harnest-ui')} --tracking-uri {redact(address)}"
