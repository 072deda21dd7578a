"""Suppresses the messages that C++ libraries write to standard error on start-up."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator

from fm_lingvo.runtime import lazy_imports


@contextlib.contextmanager
def HoldStderr(dropped=b''):
  """Buffers standard error inside the context; writes it all out if an exception is raised.

  TensorFlow 2.21 writes several lines on start-up regardless of TF_CPP_MIN_LOG_LEVEL,
  which would hide a one-line message about a user's mistake.

  Args:
    dropped: Without an exception, only the lines that do not contain these bytes are written; b'': none.
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
    else:
      buffer.seek(0)
      os.write(stderr, b''.join(line for line in buffer if dropped not in line))
    finally:
      os.dup2(stderr, 2)
      os.close(stderr)


@contextlib.contextmanager
def Imports():
  """Context for importing TensorFlow in a tool: hides its start-up messages, and later all but fatal ones.

  Modules that few commands use are loaded when they are used.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  lazy_imports.Install()
  with HoldStderr():
    yield


def FindDevices() -> None:
  """Finds the devices of TensorFlow: without a GPU, 2.21 says so here, regardless of TF_CPP_MIN_LOG_LEVEL."""
  import tensorflow as tf

  with HoldStderr():
    tf.config.list_logical_devices()


@contextlib.contextmanager
def RootLogger() -> Iterator[None]:
  """Context that keeps the root logger as it is: absl's first message gives it a handler if it has none."""
  handler = logging.NullHandler()
  logging.getLogger().addHandler(handler)
  try:
    yield
  finally:
    logging.getLogger().removeHandler(handler)
