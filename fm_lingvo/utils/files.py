"""Access to local and remote files; imports TensorFlow for remote files only."""

import contextlib
import glob
import os
import shutil
from collections.abc import Callable
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


def NearestFolder(path: str) -> str:
  """Returns the nearest of a local or remote path and the folders above it that is a folder; else the working one."""
  while path and not IsFolder(path):
    path = os.path.dirname(path.rstrip('/'))
  return path or os.getcwd()


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


def LocalFolders(root: str, on_error: Callable[[OSError], object]) -> Iterator[tuple[str, list[str]]]:
  """Yields (folder, sorted file names) of a local tree; follows links, but visits each folder only once.

  Args:
    root: Root folder of the tree.
    on_error: Called with the OSError of each folder that cannot be read; the folder is skipped.
  """
  seen = set()
  for folder, folders, names in os.walk(root, followlinks=True, onerror=on_error):
    real = os.path.realpath(folder)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    folders.sort()
    yield folder, sorted(names)


def Refuse(error: OSError) -> None:
  """The on_error of LocalFolders that raises errors.ConfigError."""
  raise errors.ConfigError(f'{error.filename}: cannot be read ({error.strerror})')


def Walk(root: str) -> Iterator[tuple[str, list[str]]]:
  """Yields (folder, sorted file names) of a local or remote tree, sorted by folder.

  Raises:
    errors.ConfigError: A local folder cannot be read.
  """
  if IsRemote(root):
    import tensorflow as tf

    yield from sorted((folder, sorted(names)) for folder, _, names in tf.io.gfile.walk(root))
  else:
    yield from sorted(LocalFolders(root, Refuse))  # As List, not by gfile.


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


@contextlib.contextmanager
def Replacing(path: str, mode: str = 'w') -> Iterator[IO[Any]]:
  """Context with a file that takes the place of a local or remote file once it is complete.

  After an error the old file is as it was. Several processes may write at a time: the last one wins.

  Args:
    path: Of the file.
    mode: w or wb; text is UTF-8.
  """
  part = f'{path}.{os.getpid()}.tmp'
  try:
    with Open(part, mode) as f:
      yield f
    Replace(part, path)
  except BaseException:
    if Exists(part):
      Remove(part)
    raise


def MakeFolder(path: str) -> None:
  """Creates a local or remote folder and its parents if they do not exist; '' is the working directory."""
  if IsRemote(path):
    import tensorflow as tf

    tf.io.gfile.makedirs(path)
  else:
    os.makedirs(path or '.', exist_ok=True)


def List(folder: str) -> list[str]:
  """Returns the sorted names in a local or remote folder."""
  if IsRemote(folder):
    import tensorflow as tf

    return sorted(name.rstrip('/') for name in tf.io.gfile.listdir(folder))
  return sorted(os.listdir(folder or '.'))  # gfile raises UnicodeDecodeError for a name that is not UTF-8.


def Glob(pattern: str) -> list[str]:
  """Returns the sorted local or remote paths that match a glob."""
  if IsRemote(pattern):
    import tensorflow as tf

    return sorted(tf.io.gfile.glob(pattern))
  return sorted(glob.glob(pattern))


def Absolute(path: str) -> str:
  """Returns a local path from the root on; a remote one is one already."""
  return path if IsRemote(path) else os.path.abspath(path)


def Remove(path: str) -> None:
  """Removes a local or remote file."""
  if IsRemote(path):
    import tensorflow as tf

    tf.io.gfile.remove(path)
  else:
    os.remove(path)


def RemoveTree(path: str) -> None:
  """Removes a local or remote folder with all that is in it, if there is one."""
  if not IsFolder(path):
    return
  if IsRemote(path):
    import tensorflow as tf

    tf.io.gfile.rmtree(path)
  else:
    shutil.rmtree(path)


def CheckNewFolder(path: str) -> None:
  """Raises errors.ConfigError unless a local or remote folder does not exist yet or is empty."""
  if Exists(path) and (not IsFolder(path) or List(path)):
    raise errors.ConfigError(f'{path}: exists; expected a new or an empty folder')
