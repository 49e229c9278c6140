"""Optuna storages, and the locks, leases and retries with which sweepers share them."""
