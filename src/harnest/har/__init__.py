"""Human activity recognition (HAR): the first field, plugged in as a task."""
