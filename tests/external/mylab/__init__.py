"""Somebody else's project: recordings and a network of their own."""
