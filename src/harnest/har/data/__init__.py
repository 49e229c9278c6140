"""Data: from a source's bytes to batches of labelled windows."""
