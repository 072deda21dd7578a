"""Formats of tools.export, one a module."""
