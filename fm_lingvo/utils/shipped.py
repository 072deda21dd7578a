"""Files that the checkout ships, such as tokenizers and language models, found from wherever one works."""

import os

from lingvo import compat as tf

from fm_lingvo import errors

# The folder that holds params/: `params/gin/tiny.gin` is found from any working directory.
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def Find(path, what, how_to):
  """Path of a file: from the working directory, else from the checkout.

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
