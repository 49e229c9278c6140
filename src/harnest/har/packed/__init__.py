"""Trains several classifiers of one architecture as one batched program."""
