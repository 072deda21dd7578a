"""What every package may use: audio constants, local and remote files, name suggestions, shipped files."""
