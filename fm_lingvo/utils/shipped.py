"""Finds files that the project ships, such as tokenizers and language models, from any working directory."""

import os

from lingvo import compat as tf

import fm_lingvo
from fm_lingvo import errors

# The folder with params/; paths such as `params/gin/tiny.gin` are relative to it.
ROOT = fm_lingvo.ROOT


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
  if '://' not in path and not os.path.isabs(path):
    places.append(os.path.join(ROOT, path))
  for place in places:
    if tf.io.gfile.exists(place) and not tf.io.gfile.isdir(place):
      return place
  where = '' if len(places) == 1 else ' in ' + ' or '.join(dict.fromkeys([os.getcwd(), ROOT]))
  raise errors.ConfigError(f'{path}: no such {what}{where}; {how_to}')
