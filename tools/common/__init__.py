"""Parts that several tools share: audio, files, exit codes, the machine."""
