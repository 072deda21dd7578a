"""Local and remote files; TensorFlow is imported for remote ones only."""

import os
from typing import IO
from typing import Any


def IsRemote(path: str) -> bool:
  """Whether a path names a file system that only TensorFlow's gfile can reach."""
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
  """Size of a local or remote file in bytes."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.stat(path).length
  return os.path.getsize(path)


def Replace(source: str, path: str) -> None:
  """Gives a local or remote file the name `path`, which may be another's until then."""
  if IsRemote(path):
    import tensorflow as tf

    tf.io.gfile.rename(source, path, overwrite=True)
  else:
    os.replace(source, path)
