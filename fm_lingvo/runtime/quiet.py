"""Suppresses the messages that C++ libraries write to standard error on start-up."""

import contextlib
import os
import tempfile


@contextlib.contextmanager
def HoldStderr():
  """Buffers standard error inside the context; writes it out only if an exception is raised.

  TensorFlow 2.21 writes several lines on start-up regardless of TF_CPP_MIN_LOG_LEVEL,
  which would hide a one-line message about a user's mistake.
  """
  stderr = os.dup(2)
  with tempfile.TemporaryFile() as buffer:
    os.dup2(buffer.fileno(), 2)
    try:
      yield
    except BaseException:
      buffer.seek(0)
      os.write(stderr, buffer.read())
      raise
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)


@contextlib.contextmanager
def Imports():
  """Context for importing TensorFlow in a tool: hides its start-up messages, and later all but fatal ones."""
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  with HoldStderr():
    yield
