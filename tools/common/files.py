"""Local and remote directories: listed, always in sorted order, and made."""

import os
from collections.abc import Callable
from collections.abc import Iterator

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from . import exit_codes


def IsInside(path: str, root: str) -> bool:
  """Whether a local or remote path lies in a folder, once links and `..` are resolved; `~` is an ordinary character."""
  if file_system.IsRemote(path) or file_system.IsRemote(root):
    return path.startswith(root.rstrip('/') + '/') and '..' not in path.split('/')
  if '\0' in path:
    return False
  return os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)


def LocalFolders(root: str, on_error: Callable[[OSError], object]) -> Iterator[tuple[str, list[str]]]:
  """Yields (directory, sorted file names) of a local tree, links followed; each folder comes once.

  Args:
    root: folder.
    on_error: called with the OSError of a folder that cannot be read, which is then left out.
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


def Walk(root: str) -> Iterator[tuple[str, list[str]]]:
  """Yields (directory, sorted file names) of a tree, sorted.

  Raises:
    exit_codes.UsageError: a folder in it cannot be read.
  """

  def Refuse(e: OSError) -> None:
    raise exit_codes.UsageError(f'{e.filename}: cannot be read ({e.strerror})')

  if file_system.IsRemote(root):
    import tensorflow as tf

    walk = sorted((d, sorted(names)) for d, _, names in tf.io.gfile.walk(root))
  else:
    walk = sorted(LocalFolders(root, Refuse))
  yield from walk


def MakeFolder(path: str, what: str) -> None:
  """Makes a folder and those above it, where they are not there; '' is the working directory.

  Args:
    path: local or remote.
    what: what the user gave, for the error.

  Raises:
    errors.ConfigError: there can be none, as below a file.
    errors.RunError: a remote one that cannot be made.
  """
  if file_system.IsRemote(path):
    import tensorflow as tf

    with errors.Writing(what):
      tf.io.gfile.makedirs(path)
    return
  try:
    os.makedirs(path or '.', exist_ok=True)
  except OSError as e:
    reason = f'{path} is not a directory' if isinstance(e, FileExistsError) else e.strerror
    raise errors.ConfigError(f'{what}: cannot be written ({reason})') from e


def RequireDirectory(importer: str, path: str | None) -> str:
  """The directory --input.

  Raises:
    exit_codes.UsageError: it is unset or not a directory.
  """
  if not path:
    raise exit_codes.UsageError(f'--importer={importer} needs --input=DIRECTORY')
  if file_system.IsRemote(path):
    import tensorflow as tf

    found = tf.io.gfile.isdir(path)
  else:
    found = os.path.isdir(path)
  if not found:
    raise exit_codes.UsageError(f'--input={path}: no such directory')
  return path
