"""Directs MLflow's fluent API (`mlflow.log_metric` etc.) in a trial to the trial's run."""

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any

from harnest.core.errors import TrackingError
from harnest.core.secrets import redact
from harnest.tracking.outbox.runlog import RunLog
from harnest.tracking.store import absolute_address

log = logging.getLogger(__name__)

_MODULE = "mlflow.tracking.fluent"
_VARIABLE = "MLFLOW_RUN_ID"  # attribute of the module: the variable that names the run to resume
_EXPERIMENT, _STORE = "MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI"
_POLL = 0.1  # seconds between checks whether MLflow has created the run


class FluentRun:
    """Makes `mlflow.start_run` resume the trial's run whenever no run is active.

    MLflow resumes the run named by the environment only once: `start_run` deletes the variable.
    Anything logged after the first `end_run`, for example by `mlflow.autolog`, starts a new run
    in the experiment ``Default``. This object therefore replaces the variable in MLflow's module,
    where `start_run` reads the run to resume. The environment stays unchanged for subprocesses.
    The module is not imported for this, because the import takes seconds and most trials do not
    need it.

    Args:
        run_log: The run log of the trial's run.
        address: The store of the run; its password may be masked.
        flush_timeout: How long to wait for the store to create the run, in seconds.
    """

    name = "HARNEST_RESUMED_RUN"  # `start_run` deletes the variable of this name after `get`

    def __init__(self, run_log: RunLog, address: str, flush_timeout: float) -> None:
        self.run_log = run_log
        self.as_written = address
        self.address = absolute_address(address)
        self.flush_timeout = flush_timeout
        self._run_id: str | None = os.environ.get(_VARIABLE) or None
        self._unset = [name for name in (_EXPERIMENT, _STORE) if name not in os.environ]
        self._module: Any = None
        self._before: dict[str, Any] = {}
        self._finder = _Finder(self)
        self._told: set[str] = set()

    def install(self) -> None:
        """Replace the variable, immediately or when the module is imported."""
        if _STORE in self._unset and "***" not in self.address:
            # Not made absolute: code that reads the variable records the config's address.
            os.environ[_STORE] = self.as_written
        module = sys.modules.get(_MODULE)
        if module is not None:
            self.enter(module)
        else:
            sys.meta_path.insert(0, self._finder)

    def enter(self, module: ModuleType) -> None:
        """Replace the variable in MLflow's module."""
        names = (_VARIABLE, "_active_experiment_id")
        if not all(hasattr(module, name) for name in names):
            log.warning("unsupported MLflow: mlflow.log_metric may not log to the trial's run")
            return
        self._module = module
        self._before = {name: getattr(module, name) for name in names}
        setattr(module, _VARIABLE, self)

    def get(self) -> str | None:
        """Return the ID of the run to resume, or None for a new run; called by `mlflow.start_run`.

        Raises:
            TrackingError: The store did not create the run within ``flush_timeout``.
        """
        assert self._module is not None
        if self._module._active_run_stack.get():
            return None  # nested in the active run
        import mlflow

        if _STORE in self._unset and mlflow.get_tracking_uri() == self.as_written:
            mlflow.set_tracking_uri(self.address)  # the task may have changed the working folder
        store = redact(absolute_address(mlflow.get_tracking_uri()))
        if store != redact(self.address):
            self._tell(
                f"mlflow writes to {store}, not to the study's store {redact(self.address)}: what "
                "it logs is not in the trial's run"
            )
            return None
        run_id = self._awaited()
        chosen = self._module._active_experiment_id
        # Nested runs are created there as well, instead of in ``Default``.
        experiment = mlflow.MlflowClient().get_run(run_id).info.experiment_id
        self._module._active_experiment_id = experiment
        if chosen not in (None, experiment):
            self._tell(
                "mlflow.set_experiment has no effect in a trial: its run belongs to the "
                "study's experiment"
            )
        os.environ[self.name] = run_id
        return run_id

    def unset(self) -> None:
        """Do nothing, so that the next `start_run` resumes the run; called by `mlflow.end_run`."""

    def close(self, status: str) -> None:
        """End the runs that the task left active, and restore MLflow's previous state.

        Args:
            status: MLflow status of the ended runs, ``FINISHED`` or ``FAILED``.
        """
        with suppress(ValueError):
            sys.meta_path.remove(self._finder)
        module = self._module
        if module is not None:
            self._end_active(module, status)
            for name, value in self._before.items():
                setattr(module, name, value)
            if _STORE in self._unset:
                import mlflow

                mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # forgets the address
        for name in self._unset:
            os.environ.pop(name, None)

    def _end_active(self, module: ModuleType, status: str) -> None:
        """End the active runs of all threads.

        The study sets the final state of the trial's own run, but knows nothing of nested runs.
        """
        for stack in module._active_run_stack.get_all_thread_values().values():
            while stack:
                run_id = stack.pop().info.run_id
                try:
                    module.MlflowClient().set_terminated(run_id, status)
                    monitor = module.run_id_to_system_metrics_monitor.pop(run_id, None)
                    if monitor is not None:
                        monitor.finish()
                except Exception as error:  # a tracking error must not fail the trial
                    log.warning("the run %s could not be ended: %s", run_id, redact(str(error)))

    def _awaited(self) -> str:
        """Return the run's ID; blocks until the study has created the run."""
        deadline = time.monotonic() + self.flush_timeout
        while self._run_id is None:
            with suppress(OSError):  # the directory may be on another host
                self._run_id = self.run_log.run_id
            if self._run_id is None:
                if time.monotonic() > deadline:
                    raise TrackingError(
                        f"the MLflow store {redact(self.address)} did not create the trial's run "
                        f"within {self.flush_timeout:g} s: mlflow cannot write to it"
                    )
                time.sleep(_POLL)
        return self._run_id

    def _tell(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            log.warning(what)


class _Finder(importlib.abc.MetaPathFinder):
    """Import hook that calls `FluentRun.enter` when MLflow's module is imported."""

    def __init__(self, run: FluentRun) -> None:
        self.run = run

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return Python's own spec for the module, with a loader that also enters the module."""
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.run)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any, run: FluentRun) -> None:
        self.loader = loader
        self.run = run

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        created: ModuleType | None = self.loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.run.enter(module)
