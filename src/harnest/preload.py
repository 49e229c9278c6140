"""Everything that a trial imports, for the warm process that trials are forked from."""

import alembic.command
import mlflow
import mlflow.pyfunc
import mlflow.store.tracking.sqlalchemy_workspace_store
import optuna
import platformdirs
import pytorch_lightning
import sqlalchemy.dialects.sqlite

import harnest.assemble
import harnest.division
import harnest.fit
import harnest.results
import harnest.study.storage
import harnest.tracking.provenance
import harnest.tracking.recorded
import harnest.tracking.usage

__all__ = [
    "alembic",
    "harnest",
    "mlflow",
    "optuna",
    "platformdirs",
    "pytorch_lightning",
    "sqlalchemy",
]

harnest.tracking.provenance.surroundings()
