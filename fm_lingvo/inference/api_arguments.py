"""Checks the types of the arguments of fm_lingvo.load, before seconds of imports."""

import numbers
import os
from typing import Any

from fm_lingvo.decoding import search_options
from fm_lingvo.utils import arguments

_PATH = str, os.PathLike


def CheckLoad(run: Any, adapter: Any, checkpoint: Any, search: Any, n_best: Any, max_window: Any) -> None:
  """Raises errors.ConfigError if an argument of fm_lingvo.load is of a wrong type."""
  arguments.Check('run', run, _PATH, 'the path of a folder')
  if adapter is not None:
    arguments.Check('adapter', adapter, _PATH, "a name of adapters, the path of a folder with some, or 'none'")
  if checkpoint is not None:
    arguments.Check('checkpoint', checkpoint, str, "'best', 'newest', or the name or path of a checkpoint")
  if search is not None:
    values = ', '.join(f'{name}={value!r}' for name, value in search.items()) if isinstance(search, dict) else ''
    arguments.Check('search', search, search_options.Search, f'fm_lingvo.Search({values or "beam_size=8"})')
  arguments.Check('n_best', n_best, numbers.Integral, 'an integer')
  if max_window is not None:
    arguments.Check('max_window', max_window, numbers.Real, 'seconds')
