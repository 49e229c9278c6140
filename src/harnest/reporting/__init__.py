"""Rendering of records: tables, figures and the HTML report."""
