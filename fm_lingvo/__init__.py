"""fm_lingvo: declarative experiments for adapting speech foundation models."""

import os
import time

# When this process began to load the package, seconds since the epoch: what "first
# step after N s" counts from.
START_TIME = time.time()

_FOLDER = os.path.dirname(os.path.abspath(__file__))
# The folder that holds params/ and tools/: in a checkout the one above, in an installed package this one.
ROOT = _FOLDER if os.path.isdir(os.path.join(_FOLDER, 'params')) else os.path.dirname(_FOLDER)
if ROOT not in __path__:
  __path__.append(ROOT)  # So they are fm_lingvo.params and fm_lingvo.tools in a checkout, too.
