"""Everything that a trial imports, for the warm process that trials are forked from."""

import importlib
import pkgutil

import alembic.command
import alembic.config
import optuna
import platformdirs
import pytorch_lightning
import sqlalchemy.dialects.sqlite
import torch.utils.serialization

import harnest.cli.app
import harnest.har.artifacts
import harnest.har.data.sources
import harnest.har.networks
import harnest.study.storage.optuna_storage
import harnest.tracking.provenance
import harnest.tracking.study_record
import harnest.training.callbacks.averaging
import harnest.training.callbacks.checkpoint
import harnest.training.callbacks.resource_monitor
import harnest.training.components
import harnest.training.cross_validation
import harnest.training.fit
import harnest.training.recorder
import harnest.training.run

__all__ = [
    "alembic",
    "harnest",
    "optuna",
    "platformdirs",
    "pytorch_lightning",
    "sqlalchemy",
    "torch",
]

for package in (
    harnest.har.networks,
    harnest.har.data.sources,
):  # a config names what it takes of these
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

harnest.tracking.provenance.environment_tags()
