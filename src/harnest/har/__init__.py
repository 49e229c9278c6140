"""Human activity recognition (HAR), as a `harnest.training.task.Task`."""
