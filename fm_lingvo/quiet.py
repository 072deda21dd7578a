"""Holds back what C++ libraries write to standard error while they start."""

import contextlib
import os
import tempfile


@contextlib.contextmanager
def HoldStderr(dropped=b''):
  """Keeps standard error back inside the context; shows it if an exception ends it.

  TensorFlow 2.21 writes several lines on start-up whatever TF_CPP_MIN_LOG_LEVEL says,
  among which one line about a user's mistake would drown.

  Args:
    dropped: What is in the lines that are dropped where there is no exception; all others are then shown.
  """
  stderr = os.dup(2)
  with tempfile.TemporaryFile() as held:
    os.dup2(held.fileno(), 2)
    try:
      yield
    except BaseException:
      held.seek(0)
      os.write(stderr, held.read())
      raise
    else:
      held.seek(0)
      os.write(stderr, b''.join(line for line in held if dropped not in line))
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)


@contextlib.contextmanager
def Imports():
  """Context in which a tool imports TensorFlow: nothing of its start is shown, and later on only its errors."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  with HoldStderr():
    yield
