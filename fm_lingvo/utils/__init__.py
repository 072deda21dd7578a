"""Helpers for all packages: audio constants, local and remote files, name suggestions, shipped files."""
