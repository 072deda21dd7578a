"""Exit codes of the tools, with a one-line error message on standard error."""

import os
import re
import select
import signal
import sys
from collections.abc import Callable

from fm_lingvo import errors

_RAISED = re.compile(r'[\w.]*(Error|Exception|Interrupt|Exit)\w*: .*[^:]$')  # The last line of a traceback.
_MOST_CHARACTERS = 200


class UsageError(errors.ConfigError):
  """The command line cannot be executed; the message is one line."""


def Why(output: str, code: int) -> str:
  """Says in one line why a process failed.

  Args:
    output: What it wrote to standard error.
    code: Its exit code; that of subprocess if a signal ended it, -9 for signal 9.

  Returns:
    Its last exception; if there is none, the exit code and the last line, which may have nothing to do with it.
  """
  lines = [line.strip() for line in output.splitlines() if line.strip()]
  raised = next((line for line in reversed(lines) if _RAISED.match(line)), '')
  last = f'; last line: {lines[-1]}' if lines else ''
  ended = f'exit code {code}' if code >= 0 else f'ended by signal {-code}'
  return (raised or ended + last)[:_MOST_CHARACTERS]


def Report(prog: str, run: Callable[[], int | None], interrupted: str | None = 'interrupted') -> int:
  """Runs a tool; prints an error that the user can fix as one line, without a traceback.

  Args:
    prog: Name of the tool, the prefix of the line.
    run: Called without arguments; returns the exit code, None for 0.
    interrupted: Message after Ctrl-C or another signal that interrupts.Raise turns into KeyboardInterrupt; None: no
      message, as of a server.

  Returns:
    The exit code: that of `run`; 2: wrong usage or configuration; 1: an error of the disk or the system; 130:
    Ctrl-C, 143: SIGTERM.
  """
  line: object  # None: no message.
  try:
    code = run() or 0
    with errors.Writing('standard output'):
      sys.stdout.flush()
    return code
  except errors.ConfigError as e:
    code, line = 2, e
  except (errors.RunError, OSError) as e:
    unread = BrokenPipeError in (type(e), type(e.__cause__)) and _NobodyReads()
    _DropOutput()
    if unread:  # For example in `... | head`.
      return 1
    code, line = 1, _Describe(e)
  except KeyboardInterrupt as e:
    code, line = 128 + (e.args[0] if e.args else signal.SIGINT), interrupted
  if line is not None:
    print(f'{prog}: {errors.OneLine(line)}', file=sys.stderr)
  return code


def _Describe(error: errors.RunError | OSError) -> object:
  """Returns a RunError, or the text of an OSError without its number."""
  if not isinstance(error, OSError) or error.strerror is None:
    return error
  return f'{error.filename}: {error.strerror}' if error.filename else error.strerror


def _NobodyReads() -> bool:
  """Whether the other end of standard output is closed; a pipe of the tool's own may be the broken one."""
  poll = select.poll()
  poll.register(1, 0)
  return bool(poll.poll(0))


def _DropOutput() -> None:
  """Discards unwritten standard output; Python would try to write it again at exit and exit with code 120."""
  try:
    sys.stdout.flush()
  except OSError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
