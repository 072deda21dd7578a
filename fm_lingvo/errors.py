"""Errors that are reported to the user in one line, without a traceback."""

import contextlib
import re
from collections.abc import Iterator


def OneLine(message: object) -> str:
  """Returns a message without line breaks and control characters, which file names and user input may contain."""
  return re.sub(r'[\x00-\x1f\x7f-\x9f\u2028\u2029]+', ' ', str(message))


class ConfigError(ValueError):
  """A param, flag, file or checkpoint that cannot be used.

  The message is one line: what, where, what was expected. The trainer prints it and exits with code 2.
  """

  def __init__(self, message: object = '') -> None:
    super().__init__(OneLine(message))


class GinError(ConfigError):
  """A Gin file, binding or flag that cannot be used.

  The message is one line with the place, the path, the value, what was expected and the nearest
  name, e.g. `--gin_bindings: task.encoder.num_layer = 2: no such param; did you mean
  task.encoder.num_layers (int, default 6)?`.
  """


class DatasetError(ConfigError):
  """Data that cannot be used: a directory that is not a complete data set, or a text file that is none.

  The message is one line with the path and the problem.
  """


class AudioError(ConfigError):
  """A recording that cannot be read; the message is one line with its name, the reason and a detail.

  `reason` is one of REASONS in fm_lingvo/audio/rejection.py, such as missing, corrupt or too_long.
  """

  def __init__(self, name: str, reason: str, detail: str = '') -> None:
    super().__init__(f'{name}: {reason}' + (f': {detail}' if detail else ''))
    self.name, self.reason, self.detail = name, reason, detail

  def __reduce__(self) -> tuple[type, tuple[str, str, str]]:  # Between processes.
    return AudioError, (self.name, self.reason, self.detail)


class RunError(RuntimeError):
  """An error that ends a correctly configured run, such as a full disk; the message is one line.

  The trainer prints it and exits with code 1; the same command resumes from the newest checkpoint.
  """

  def __init__(self, message: object = '') -> None:
    super().__init__(OneLine(message))


def Reason(error: BaseException) -> str:
  """Returns the message of an exception in one line of at most 160 characters, without TensorFlow's traces."""
  text = (getattr(error, 'message', None) or str(error) or type(error).__name__).strip()
  _, node, after_node = text.rpartition('\nNode: ')  # The last node's line, then its message.
  lines = [line.strip() for line in (after_node.splitlines()[1:] if node else text.splitlines())]
  lines = [re.sub(r'^\(\d+\) ', '', line) for line in lines if line and 'root error(s) found' not in line]
  return ' '.join((lines or [type(error).__name__])[0].split())[:160]


@contextlib.contextmanager
def Writing(what: str) -> Iterator[None]:
  """Turns a file-system error of Python or TensorFlow into a RunError `WHAT: cannot be written (REASON)`.

  Args:
    what: Path or description of what is written inside the context.
  """
  try:
    yield
  except OSError as e:
    raise RunError(f'{what}: cannot be written ({e.strerror or e})') from e
  except Exception as e:  # TensorFlow's errors; this module must not import TensorFlow.
    if not type(e).__module__.startswith('tensorflow'):
      raise
    raise RunError(f'{what}: cannot be written ({Reason(e)})') from e
