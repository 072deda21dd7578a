"""Files that the project ships, such as tokenizers and language models, found from any working directory."""

import os

from lingvo import compat as tf

import fm_lingvo
from fm_lingvo import errors

# The folder that holds params/: `params/gin/tiny.gin` is found from any working directory.
ROOT = fm_lingvo.ROOT


def Find(path: str, what: str, how_to: str) -> str:
  """Path of a file: from the working directory, else from the folder that holds params/.

  Args:
    path: Local or remote, not empty.
    what: What it should be, for the message.
    how_to: How one gets such a file, for the message.

  Returns:
    The path at which it is.

  Raises:
    errors.ConfigError: It is in neither place.
  """
  places = [path]
  if '://' not in path and not os.path.isabs(path):
    places.append(os.path.join(ROOT, path))
  for place in places:
    if tf.io.gfile.exists(place) and not tf.io.gfile.isdir(place):
      return place
  where = '' if len(places) == 1 else ' in ' + ' or '.join(dict.fromkeys([os.getcwd(), ROOT]))
  raise errors.ConfigError(f'{path}: no such {what}{where}; {how_to}')
