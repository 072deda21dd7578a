"""Local and remote files; TensorFlow is imported for remote ones only."""

import os


def IsRemote(path):
  """Whether a path names a file system that only TensorFlow's gfile can reach."""
  return '://' in path


def Open(path, mode='r'):
  """Opens a local or remote file; text is UTF-8."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.GFile(path, mode)
  return open(path, mode, encoding=None if 'b' in mode else 'utf-8')


def Exists(path):
  """Whether a local or remote file exists."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.exists(path)
  return os.path.exists(path)


def FileSize(path):
  """Size of a local or remote file in bytes."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.stat(path).length
  return os.path.getsize(path)


def Replace(source, path):
  """Gives a local or remote file the name `path`, which may be another's until then."""
  if IsRemote(path):
    import tensorflow as tf

    tf.io.gfile.rename(source, path, overwrite=True)
  else:
    os.replace(source, path)
