"""Imports everything that HAR trials need, to preload the process that trials are forked from."""

import importlib
import pkgutil

import platformdirs

import harnest.har.artifacts
import harnest.har.components
import harnest.har.data.sources
import harnest.har.networks
import harnest.har.schema
import harnest.har.task
import harnest.training.trial_imports

__all__ = ["harnest", "platformdirs"]

# Configs name networks and sources as strings, so no import statement lists them.
for package in (harnest.har.networks, harnest.har.data.sources):
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
