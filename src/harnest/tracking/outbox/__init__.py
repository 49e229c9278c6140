"""The durable log of a run's writes, and the upload of it to MLflow."""
