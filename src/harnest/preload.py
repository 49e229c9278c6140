"""Everything that a trial imports, for the warm process that trials are forked from."""

import matplotlib.backends.backend_agg
import matplotlib.figure
import mlflow
import mlflow.pyfunc
import mlflow.store.tracking.sqlalchemy_store
import optuna
import pytorch_lightning

import harnest.assemble
import harnest.fit
import harnest.results
import harnest.tracking.page
import harnest.tracking.recorded
import harnest.tracking.usage

__all__ = ["harnest", "matplotlib", "mlflow", "optuna", "pytorch_lightning"]

harnest.tracking.page.library()
