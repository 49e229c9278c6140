"""MLflow tracking: stores, runs, study records, queries and registered models."""
