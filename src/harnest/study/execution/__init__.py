"""Execution of a study's jobs: launchers, executors, job processes and slots."""
