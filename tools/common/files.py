"""Checks of local and remote paths, and the creation of folders, for command lines."""

import os

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from . import exit_codes


def IsInside(path: str, root: str) -> bool:
  """Returns whether a local or remote path is inside a folder, with links and `..` resolved; `~` is not expanded."""
  if file_system.IsRemote(path) or file_system.IsRemote(root):
    return path.startswith(root.rstrip('/') + '/') and '..' not in path.split('/')
  if '\0' in path:
    return False
  return os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)


def MakeFolder(path: str, what: str) -> None:
  """Creates a folder and its parents if they do not exist.

  Args:
    path: Local or remote folder; '' is the working directory.
    what: The user's argument, for the error message.

  Raises:
    errors.ConfigError: A local folder cannot be created, for example because a parent is a file.
    errors.RunError: A remote folder cannot be created.
  """
  if file_system.IsRemote(path):
    with errors.Writing(what):
      file_system.MakeFolder(path)
    return
  try:
    file_system.MakeFolder(path)
  except OSError as e:
    reason = f'{path} is not a directory' if isinstance(e, FileExistsError) else e.strerror
    raise errors.ConfigError(f'{what}: cannot be written ({reason})') from e


def RequireDirectory(importer: str, path: str | None) -> str:
  """Returns `path`, the value of --input, if it is a directory.

  Raises:
    exit_codes.UsageError: The flag is not set, or `path` is not a directory.
  """
  if not path:
    raise exit_codes.UsageError(f'--importer={importer} needs --input=DIRECTORY')
  if not file_system.IsFolder(path):
    kind = 'a file; expected a' if file_system.Exists(path) else 'no such'
    raise exit_codes.UsageError(f'--input={path}: {kind} directory{file_system.HintBeside(path)}')
  return path


def RequireFile(path: str, what: str) -> None:
  """Raises UsageError if a path of --input is no file; `what` is one of the kind that is expected."""
  if not file_system.Exists(path):
    raise exit_codes.UsageError(f'--input={path}: expected {what}, found no such file{file_system.HintBeside(path)}')
  if not file_system.IsRemote(path) and os.path.isdir(path):
    raise exit_codes.UsageError(f'--input={path}: expected {what}, found a folder')
