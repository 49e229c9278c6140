"""Data pipeline: sources, recordings, windows, splits and batches."""
