"""Helpers for all packages: audio constants, local and remote files, lines of text, name suggestions, shipped files."""
