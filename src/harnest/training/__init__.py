"""Training: from a config to a score and artifacts."""
