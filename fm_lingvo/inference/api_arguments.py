"""Types of the arguments of the Python API: one line says what is expected, before seconds of imports."""

import numbers
import os
from typing import Any

from fm_lingvo import errors
from fm_lingvo.decoding import search_options

_PATH = str, os.PathLike


def CheckLoad(run: Any, adapter: Any, checkpoint: Any, search: Any, n_best: Any, max_window: Any) -> None:
  """Raises errors.ConfigError if an argument of fm_lingvo.load is of a wrong type."""
  Check('run', run, _PATH, 'the path of a folder')
  if adapter is not None:
    Check('adapter', adapter, _PATH, "a name of adapters, the path of a folder with some, or 'none'")
  if checkpoint is not None:
    Check('checkpoint', checkpoint, str, "'best', 'newest', or the name or path of a checkpoint")
  if search is not None:
    values = ', '.join(f'{name}={value!r}' for name, value in search.items()) if isinstance(search, dict) else ''
    Check('search', search, search_options.Search, f'fm_lingvo.Search({values or "beam_size=8"})')
  Check('n_best', n_best, numbers.Integral, 'an integer')
  if max_window is not None:
    Check('max_window', max_window, numbers.Real, 'seconds')


def Check(name: str, value: Any, types: Any, expected: str) -> None:
  """Raises errors.ConfigError, with what is `expected`, unless an argument is of one of some types."""
  if not isinstance(value, types):
    shown = ' '.join(repr(value).split())
    raise errors.ConfigError(f'{name} = {shown[:60]}: expected {expected}, got {type(value).__name__}')
