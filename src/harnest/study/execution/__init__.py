"""How the jobs of a study run: launchers, processes, slots."""
