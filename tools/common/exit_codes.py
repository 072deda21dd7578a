"""How a tool ends: an exit code, and one line on standard error that says what was wrong."""

import os
import sys
from collections.abc import Callable

from fm_lingvo import errors
from fm_lingvo.data import dataset


class UsageError(errors.ConfigError):
  """What the user asked for cannot be done; the message is one line."""


def Report(prog: str, run: Callable[[], int | None], interrupted: str = 'interrupted') -> int:
  """Runs a tool's work; an error that the user can mend is one line, without a traceback.

  Args:
    prog: Name of the tool, with which the line begins.
    run: Called without arguments; returns the exit code, None for 0.
    interrupted: What is said of Ctrl-C.

  Returns:
    The exit code: what `run` returned; 2 wrong usage or configuration, 1 the disk or the system refused, 130 Ctrl-C.
  """
  line: object
  try:
    code = run() or 0
    with errors.Writing('standard output'):
      sys.stdout.flush()
    return code
  except (errors.ConfigError, dataset.DatasetError) as e:
    code, line = 2, e
  except (errors.RunError, OSError) as e:
    _DropOutput()
    if BrokenPipeError in (type(e), type(e.__cause__)):  # As of `... | head`.
      return 1
    code, line = 1, _Describe(e)
  except KeyboardInterrupt:
    code, line = 130, interrupted
  print(f'{prog}: {errors.OneLine(line)}', file=sys.stderr)
  return code


def _Describe(error: errors.RunError | OSError) -> object:
  """What a RunError says, or an OSError without its number."""
  if not isinstance(error, OSError) or error.strerror is None:
    return error
  return f'{error.filename}: {error.strerror}' if error.filename else error.strerror


def _DropOutput() -> None:
  """Drops what standard output does not take: Python would try again when it ends, and end with code 120."""
  try:
    sys.stdout.flush()
  except OSError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
