"""Types and ranges of the arguments of the Python API: one line says what is expected, before seconds of imports."""

import numbers
import os
from typing import Any

from fm_lingvo import errors
from fm_lingvo.decoding import search_options
from fm_lingvo.utils import arguments

MAX_STEP_SECONDS = 60.0  # A step is one call of the model, whose memory grows with it.
_PATH = str, os.PathLike


def CheckLoad(
  run: Any, adapter: Any, checkpoint: Any, averages: Any, search: Any, n_best: Any, max_window: Any
) -> None:
  """Raises errors.ConfigError if an argument of fm_lingvo.load is of a wrong type."""
  arguments.Check('run', run, _PATH, 'the path of a folder')
  if adapter is not None:
    arguments.Check('adapter', adapter, _PATH, "a name of adapters, the path of a folder with some, or 'none'")
  if checkpoint is not None:
    arguments.Check('checkpoint', checkpoint, str, "'best', 'newest', or the name or path of a checkpoint")
  arguments.Check('averages', averages, bool, 'True or False')
  if search is not None:
    values = ', '.join(f'{name}={value!r}' for name, value in search.items()) if isinstance(search, dict) else ''
    arguments.Check('search', search, search_options.Search, f'fm_lingvo.Search({values or "beam_size=8"})')
  arguments.Check('n_best', n_best, numbers.Integral, 'an integer')
  if max_window is not None:
    arguments.Check('max_window', max_window, numbers.Real, 'seconds')


def CheckTranscribe(max_hours: Any, read_ahead: Any) -> None:
  """Raises errors.ConfigError if an argument of model.transcribe is of a wrong type or out of range."""
  arguments.Check('max_hours', max_hours, numbers.Real, 'hours')
  if not max_hours > 0:
    raise errors.ConfigError(f'max_hours = {max_hours:g}: expected > 0')
  arguments.Check('read_ahead', read_ahead, numbers.Integral, 'an integer')
  if not read_ahead >= 1:
    raise errors.ConfigError(f'read_ahead = {read_ahead}: expected >= 1')


def CheckStream(beam_size: Any, step_seconds: Any, endpoint_seconds: Any, reset: Any) -> None:
  """Raises errors.ConfigError if an argument of model.stream is of a wrong type or out of range."""
  if beam_size is not None:
    arguments.Check('beam_size', beam_size, numbers.Integral, 'an integer')
    if beam_size < 1:
      raise errors.ConfigError(f'beam_size = {beam_size}: expected >= 1')
  arguments.Check('step_seconds', step_seconds, numbers.Real, 'seconds')
  if not 0 < step_seconds <= MAX_STEP_SECONDS:
    raise errors.ConfigError(f'step_seconds = {step_seconds:g}: expected > 0, at most {MAX_STEP_SECONDS:g}')
  if endpoint_seconds is not None:
    arguments.Check('endpoint_seconds', endpoint_seconds, numbers.Real, 'seconds, or None')
    if not endpoint_seconds > 0:
      raise errors.ConfigError(f'endpoint_seconds = {endpoint_seconds:g}: expected > 0, or None')
  arguments.Check('reset', reset, bool, 'True or False')
