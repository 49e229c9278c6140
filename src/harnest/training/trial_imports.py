"""Imports what every trial needs, in the process that trials are forked from."""

import alembic.command
import alembic.config
import optuna
import pytorch_lightning
import sqlalchemy.dialects.sqlite
import torch.utils.serialization

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
    "pytorch_lightning",
    "sqlalchemy",
    "torch",
]

harnest.tracking.provenance.environment_tags()
