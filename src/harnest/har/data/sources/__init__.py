"""Where recordings come from: one file per data set, from its bytes to recordings."""
