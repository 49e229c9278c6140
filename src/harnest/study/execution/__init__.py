"""Execution of jobs: launchers, processes, slots."""
