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

import harnest.assemble
import harnest.averaging
import harnest.checkpoint
import harnest.cli
import harnest.data.sources
import harnest.division
import harnest.fit
import harnest.models
import harnest.results
import harnest.study.storage
import harnest.tracking.provenance
import harnest.tracking.recorded
import harnest.tracking.study
import harnest.tracking.usage
import harnest.training

__all__ = [
    "alembic",
    "harnest",
    "optuna",
    "platformdirs",
    "pytorch_lightning",
    "sqlalchemy",
    "torch",
]

for package in (harnest.models, harnest.data.sources):  # a config names what it takes of these
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)

harnest.tracking.provenance.surroundings()
