"""Packs: classifiers of one architecture, trained as one batched program."""
