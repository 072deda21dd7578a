"""Reads what a trainer wrote to its log."""

import os

_TAIL = 8192


def Tail(path: str) -> str:
  """Returns the last lines of a log; a progress bar's states are lines, too."""
  with open(path, 'rb') as f:
    f.seek(max(0, os.path.getsize(path) - _TAIL))
    return f.read().decode('utf-8', 'replace').replace('\r', '\n')


def LastError(text: str) -> str:
  """Returns the last line that is a trainer's error, else the last line; libraries may write lines behind the error."""
  lines = [line.strip() for line in text.splitlines() if line.strip()] or ['no output']
  return next((line for line in reversed(lines) if line.startswith('trainer: ')), lines[-1])
