"""Rendering of what was recorded: tables, figures and the HTML report."""
