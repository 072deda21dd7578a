"""Finds what the project ships, such as tokenizers, language models and a trained model, from any working directory."""

import os

import fm_lingvo
from fm_lingvo import errors
from fm_lingvo.utils import files

# The folder with params/; paths such as `params/gin/tiny.gin` are relative to it.
ROOT = fm_lingvo.ROOT
# The trained model, as fm-export --format=safetensors writes it.
MODEL = 'params/models/english'


def Find(path: str, what: str, how_to: str) -> str:
  """Returns the path of a file, searched in the working directory, then in ROOT.

  Args:
    path: Local or remote path, not empty.
    what: Description of the file, such as 'tokenizer', for the message.
    how_to: How to create such a file, for the message.

  Returns:
    The path of the existing file.

  Raises:
    errors.ConfigError: The file is in neither folder.
  """
  found = Where(path)
  if found is not None:
    return found
  where = '' if len(_Places(path)) == 1 else ' in ' + ' or '.join(dict.fromkeys([os.getcwd(), ROOT]))
  raise errors.ConfigError(f'{path}: no such {what}{where}; {how_to}')


def Where(path: str) -> str | None:
  """Returns the path of a file as Find does, None if it is in neither folder."""
  return next((place for place in _Places(path) if files.IsFile(place)), None)


def _Places(path: str) -> list[str]:
  """Returns where a file is searched, in order."""
  return [path] if files.IsRemote(path) or os.path.isabs(path) else [path, os.path.join(ROOT, path)]


def Folder(path: str) -> str:
  """Returns the path of a folder: `path` itself, or where the project ships it if it is only there."""
  if files.IsRemote(path) or os.path.isabs(path) or os.path.exists(path):
    return path
  there = os.path.join(ROOT, path)
  return there if os.path.isdir(there) else path
