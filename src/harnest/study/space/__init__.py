"""The search space of a study, and its samplers and pruners."""
