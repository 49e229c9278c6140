"""Data: from the files of a source to batches of labelled windows."""
