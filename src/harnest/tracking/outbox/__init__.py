"""The run log, a durable file of a run's writes, and its upload to MLflow."""
