"""Access to local and remote files; imports TensorFlow for remote files only."""

import glob
import os
from collections.abc import Iterator
from typing import IO
from typing import Any

from fm_lingvo import errors
from fm_lingvo.utils import suggest


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


def Printable(text: str) -> str:
  r"""Returns a text that can be written as UTF-8: bytes of a file name that are not UTF-8 become \udcE9 and the like.

  Python keeps such bytes as lone surrogates. It can open the file by that name, but no text file can hold it.
  """
  return text if text.isascii() else text.encode('utf-8', 'backslashreplace').decode()


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
  """Whether a local or remote file exists; raises errors.ConfigError if a remote file system cannot be asked."""
  if IsRemote(path):
    import tensorflow as tf

    try:
      return tf.io.gfile.exists(path)
    except tf.errors.OpError as e:  # Such as an unknown file system.
      raise errors.ConfigError(f'{path}: cannot be read ({errors.Reason(e)})') from e
  return os.path.exists(path)


def IsFolder(path: str) -> bool:
  """Whether a local or remote path is a folder."""
  if IsRemote(path):
    import tensorflow as tf

    return tf.io.gfile.isdir(path)
  return os.path.isdir(path)


def IsFile(path: str) -> bool:
  """Whether a local or remote path is a file; raises errors.ConfigError as Exists."""
  return Exists(path) and not IsFolder(path) if IsRemote(path) else os.path.isfile(path)


def LiteralFolder(pattern: str) -> str:
  """Returns a glob that takes its folder literally if there is one of that name, such as `Recordings [2025]`.

  Args:
    pattern: Local or remote path; the special characters of its last part always count.
  """
  folder, name = os.path.split(pattern)
  return os.path.join(glob.escape(folder), name) if glob.has_magic(folder) and IsFolder(folder) else pattern


def Beside(path: str) -> str | None:
  """Returns the file or folder with the name most similar to that of a path that does not exist; None if none is."""
  folder, name = os.path.split(path.rstrip('/'))
  if IsRemote(path) or Exists(path) or not os.path.isdir(folder or '.'):
    return None
  nearest = suggest.Nearest(name, sorted(os.listdir(folder or '.')))
  return nearest and os.path.join(folder, nearest)


def HintBeside(path: str) -> str:
  """Returns `; did you mean NAME?` of Beside, '' if there is none."""
  return suggest.DidYouMean(Beside(path))


def List(folder: str) -> list[str]:
  """Returns the names in a local or remote folder; of a remote one, those of folders may end in /."""
  if IsRemote(folder):
    import tensorflow as tf

    return tf.io.gfile.listdir(folder)
  return os.listdir(folder)  # gfile raises UnicodeDecodeError for a name that is not UTF-8.


def Walk(folder: str) -> Iterator[tuple[str, list[str]]]:
  """Yields (folder, names of its files) of a local or remote folder and all below it, links to folders included.

  Raises:
    errors.ConfigError: A local folder cannot be read.
  """
  if IsRemote(folder):
    import tensorflow as tf

    yield from ((parent, names) for parent, _, names in tf.io.gfile.walk(folder))
    return

  def _Raise(e: OSError) -> None:
    raise errors.ConfigError(f'{e.filename}: cannot be read ({errors.Reason(e)})') from e

  for parent, _, names in os.walk(folder, onerror=_Raise, followlinks=True):  # As List, not gfile.
    yield parent, names


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
  if not IsFolder(path) or List(path):
    raise errors.ConfigError(f'{path}: exists; expected a new or an empty folder')
