"""Tracking: what is recorded of a run or a study in an MLflow store."""
