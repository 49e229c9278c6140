"""Registered models: serving and aliases."""
