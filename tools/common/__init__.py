"""Shared by several commands: audio decoding, text normalisation, files, exit codes, interrupts."""
