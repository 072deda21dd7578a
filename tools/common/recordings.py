"""Finds what a user names: a run, and recordings, which are files, folders and standard input."""

import os
from collections.abc import Callable
from collections.abc import Iterable

from fm_lingvo import errors
from fm_lingvo.utils import audio_extensions
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import shipped

STDIN = '-'


def SplitRun(paths: list[str]) -> tuple[str, list[str]]:
  """Returns (run, recordings) of the arguments [RUN] AUDIO ...; without RUN it is the model that the project ships.

  The first path is the run, unless it is a file, or a folder with recordings that is no run.

  Raises:
    errors.ConfigError: The first path does not exist, or there are no recordings.
  """
  first = shipped.Folder(paths[0])
  is_run = first != STDIN and file_system.Exists(os.path.join(first, 'config.gin'))
  if not is_run:
    if first != STDIN and not file_system.Exists(first):
      raise errors.ConfigError(f'{first}: no such run or recording{file_system.HintBeside(first)}')
    if not file_system.IsFolder(first) or file_system.IsRemote(first) or _HasAudio(first):
      return shipped.MODEL, paths
    if len(paths) == 1:
      raise errors.ConfigError(f'{first}: no recordings in this folder, and no config.gin of a run')
  if len(paths) == 1:
    raise errors.ConfigError(f'{first}: a run alone; expected recordings after it')
  return first, paths[1:]


def _HasAudio(folder: str) -> bool:
  return any(
    os.path.splitext(name)[1].lower() in audio_extensions.SOUND
    for _, names in file_system.LocalFolders(folder, lambda _: None)
    for name in names
  )


def Find(names: Iterable[str], note: Callable[[str], object]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
  """Finds the files to read.

  Args:
    names: Files, folders and STDIN, as the user gave them.
    note: Called with a line on files of a folder that are left out.

  Returns:
    (found, missing): list of (path, path relative to the folder that the user gave), in order; list of (name, reason)
    of those without audio.
  """
  found: list[tuple[str, str]] = []
  missing: list[tuple[str, str]] = []
  for name in names:
    is_local = name != STDIN and not file_system.IsRemote(name)
    if is_local and not os.path.exists(name):
      missing.append((name, f'missing: no such file or folder{file_system.HintBeside(name)}'))
    elif not is_local or not os.path.isdir(name):
      found.append((name, 'stdin' if name == STDIN else os.path.basename(name)))
    else:
      _FindBelow(name, found, missing, note)
  return found, missing


def _FindBelow(
  root: str, found: list[tuple[str, str]], missing: list[tuple[str, str]], note: Callable[[str], object]
) -> None:
  """Appends the recordings below a folder to `found`, and what cannot be read to `missing`."""
  below: list[str] = []
  others: list[str] = []
  closed: list[OSError] = []
  for folder, names in file_system.LocalFolders(root, closed.append):
    for name in names:
      is_audio = os.path.splitext(name)[1].lower() in audio_extensions.SOUND
      (below if is_audio else others).append(os.path.join(folder, name))
  found += [(path, os.path.relpath(path, root)) for path in below]
  missing += [(e.filename, f'cannot be read ({e.strerror})') for e in closed]
  if not below and not closed:
    hint = f' ({len(others)} with other extensions, such as {os.path.basename(others[0])})' if others else ''
    missing.append((root, f'no audio file in this folder{hint}'))
  elif others:
    first = os.path.relpath(others[0], root)
    note(f'{root}: files left out, as their extensions are not of audio: {len(others)}, the first of them {first}')
