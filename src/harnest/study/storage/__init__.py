"""Optuna storages, and what several sweepers need to share one."""
