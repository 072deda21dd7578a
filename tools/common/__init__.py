"""Shared by several commands: exit codes, flags, files, recordings, checkpoints."""
