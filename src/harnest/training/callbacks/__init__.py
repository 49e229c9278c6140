"""Lightning callbacks: pruning, checkpoints, early stopping, averaging, resources."""
