"""Sources of recordings: one file per data set."""
