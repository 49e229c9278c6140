"""Everything that a trial imports, for the warm process that trials are forked from."""

import mlflow
import mlflow.store.tracking.sqlalchemy_store
import optuna
import pytorch_lightning

import harnest.assemble
import harnest.fit
import harnest.tracking.recorded

__all__ = ["harnest", "mlflow", "optuna", "pytorch_lightning"]
