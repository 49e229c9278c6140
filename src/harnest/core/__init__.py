"""Errors, secrets, trust and suggestions. It imports nothing heavy."""
