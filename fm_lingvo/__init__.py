"""fm_lingvo: declarative experiments for adapting speech foundation models."""

import os
import time
from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
  from fm_lingvo.decoding.search_options import Search as Search
  from fm_lingvo.inference.api import Model as Model
  from fm_lingvo.inference.api import load as load
  from fm_lingvo.inference.transcript import Transcript as Transcript

# Unix time in seconds when this process began to load the package; "first step after N s" counts from it.
START_TIME = time.time()

_FOLDER = os.path.dirname(os.path.abspath(__file__))
# The folder with params/ and tools/: the parent folder in a checkout, this one in an installed package.
ROOT = _FOLDER if os.path.isdir(os.path.join(_FOLDER, 'params')) else os.path.dirname(_FOLDER)
if ROOT not in __path__:
  __path__.append(ROOT)  # Makes fm_lingvo.params and fm_lingvo.tools importable in a checkout, too.

# The public names, imported on first use: `import fm_lingvo` alone imports nothing else. Name -> its module.
_PUBLIC = {
  'load': 'fm_lingvo.inference.api',
  'Model': 'fm_lingvo.inference.api',
  'Search': 'fm_lingvo.decoding.search_options',
  'Transcript': 'fm_lingvo.inference.transcript',
}


def __getattr__(name: str) -> Any:
  if name == '__version__':
    return _Version()
  if name not in _PUBLIC:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  import importlib

  return getattr(importlib.import_module(_PUBLIC[name]), name)


def _Version() -> str:
  import importlib.metadata

  try:
    return importlib.metadata.version(__name__)
  except importlib.metadata.PackageNotFoundError as e:
    raise AttributeError(f'{__name__} is not installed as a package, so its version is not known') from e


def __dir__() -> list[str]:
  return sorted({*globals(), *_PUBLIC, '__version__'})
