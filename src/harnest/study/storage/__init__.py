"""Optuna storages, and the locks and leases of sweepers that share one."""
