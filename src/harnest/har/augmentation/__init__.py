"""Augmentations: random, realistic changes of training windows."""
