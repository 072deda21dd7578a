"""Shared by several commands: exit codes, flags, files, recordings, transcripts and their formats."""
