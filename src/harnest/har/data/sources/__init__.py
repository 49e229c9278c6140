"""Data sources, one file per data set."""
