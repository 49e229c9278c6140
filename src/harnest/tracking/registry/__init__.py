"""Registered models: loading them, and the alias ``champion``."""
