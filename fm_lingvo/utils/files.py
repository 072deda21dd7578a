"""Access to local and remote files; imports TensorFlow for remote files only."""

import os
from typing import IO
from typing import Any


def IsRemote(path: str) -> bool:
  """Whether a path is on a file system that only TensorFlow's gfile can read."""
  return '://' in path


def Open(path: str, mode: str = 'r') -> IO[Any]:
  """Opens a local or remote file; text is UTF-8."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.GFile(path, mode)
  return open(path, mode, encoding=None if 'b' in mode else 'utf-8')


def Exists(path: str) -> bool:
  """Whether a local or remote file exists."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.exists(path)
  return os.path.exists(path)


def FileSize(path: str) -> int:
  """Returns the size of a local or remote file in bytes."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.stat(path).length
  return os.path.getsize(path)


def Replace(source: str, path: str) -> None:
  """Renames a local or remote file to `path`; overwrites an existing file."""
  if IsRemote(path):
    import tensorflow as tf

    tf.io.gfile.rename(source, path, overwrite=True)
  else:
    os.replace(source, path)
