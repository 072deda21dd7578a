"""fm_lingvo: declarative experiments for adapting speech foundation models."""

import os
import time

# Unix time in seconds when this process began to load the package; "first step after N s" counts from it.
START_TIME = time.time()

_FOLDER = os.path.dirname(os.path.abspath(__file__))
# The folder with params/ and tools/: the parent folder in a checkout, this one in an installed package.
ROOT = _FOLDER if os.path.isdir(os.path.join(_FOLDER, 'params')) else os.path.dirname(_FOLDER)
if ROOT not in __path__:
  __path__.append(ROOT)  # Makes fm_lingvo.params and fm_lingvo.tools importable in a checkout, too.
