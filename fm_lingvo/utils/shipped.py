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
  places = [path]
  if not files.IsRemote(path) and not os.path.isabs(path):
    places.append(os.path.join(ROOT, path))
  for place in places:
    if files.IsFile(place):
      return place
  where = '' if len(places) == 1 else ' in ' + ' or '.join(dict.fromkeys([os.getcwd(), ROOT]))
  raise errors.ConfigError(f'{path}: no such {what}{where}; {how_to}')


def Folder(path: str) -> str:
  """Returns the path of a folder: `path` itself, or where the project ships it if it is only there."""
  if files.IsRemote(path) or os.path.isabs(path) or os.path.exists(path):
    return path
  there = os.path.join(ROOT, path)
  return there if os.path.isdir(there) else path
