"""Access to local and remote files; imports TensorFlow for remote files only."""

import os
from typing import IO
from typing import Any

from fm_lingvo import errors


def IsRemote(path: str) -> bool:
  """Whether a path is on a file system that only TensorFlow's gfile can read."""
  return '://' in path


def ExpandUser(path: str) -> str:
  """Returns a path of the user's with a leading `~` or `~NAME` replaced by the home folder, as a shell does.

  A shell replaces `~` at the start of a word only, so not in `--output=~/x`, in `a,~/b` or in a Gin file. Every path
  of the user's passes through here where it enters: as `type=ExpandUser` of an argparse flag, as `ExpandUser(value)` of
  another flag, or by SplitPaths; Gin's values in fm_lingvo/config/gin_reader.py.

  Args:
    path: A local path, a remote path or ''. As in a shell, `~NAME` of an unknown user stays as it is.
  """
  return os.path.expanduser(path)


def CacheFolder() -> str:
  """Returns the user's folder for what can be made again: $XDG_CACHE_HOME/fm_lingvo or ~/.cache/fm_lingvo."""
  base = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
  return os.path.join(base, 'fm_lingvo')


def SplitPaths(text: str) -> list[str]:
  """Returns the paths of a flag with commas between them, each of them as ExpandUser returns it; drops empty ones."""
  return [ExpandUser(path) for path in text.split(',') if path]


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


def IsFolder(path: str) -> bool:
  """Whether a local or remote path is a folder."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.isdir(path)
  return os.path.isdir(path)


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


def CheckNewFolder(path: str) -> None:
  """Raises errors.ConfigError unless a local or remote folder does not exist yet or is empty."""
  if not Exists(path):
    return
  if IsRemote(path):
    import tensorflow as tf

    is_folder, entries = tf.io.gfile.isdir, tf.io.gfile.listdir
  else:
    is_folder, entries = os.path.isdir, os.listdir
  if not is_folder(path) or entries(path):
    raise errors.ConfigError(f'{path}: exists; expected a new or an empty folder')
