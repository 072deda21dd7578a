"""Recordings, as model.transcribe takes them -> blocks of samples at 16 kHz."""

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO
from typing import Any

import numpy as np

from fm_lingvo import audio
from fm_lingvo import errors
from fm_lingvo.audio import arrays as audio_arrays
from fm_lingvo.audio import frames as audio_frames
from fm_lingvo.utils import files

EXPECTED = 'expected a path, bytes, an open binary file, an array with sampling_rate, or (samples, sampling_rate)'


def _IsArray(value: Any) -> bool:
  return hasattr(value, '__array__') and not isinstance(value, np.generic)


def IsRecording(value: Any) -> bool:
  """Whether a value is one recording, rather than several."""
  if isinstance(value, tuple):
    return len(value) == 2 and _IsArray(value[0]) and np.isscalar(value[1])
  return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview) or _IsArray(value) or _IsFile(value)


def _IsFile(value: Any) -> bool:
  return callable(getattr(value, 'read', None))


def Shown(value: Any) -> str:
  """Returns the type and the beginning of the repr of a value, for a message."""
  text = repr(value)
  return f'{type(value).__name__} {text if len(text) <= 60 else text[:57] + "..."}'


def Sound(
  recording: Any, rate: int | None, max_seconds: float | None, losses: audio_frames.Losses
) -> tuple[str, Iterator[np.ndarray]]:
  """Returns the name of a recording, '' if it has none, and its samples: blocks int16 [n] at 16 kHz.

  Raises:
    errors.ConfigError: It is no recording, or has the wrong sampling rate.
  """
  if not IsRecording(recording):
    raise errors.ConfigError(f'{Shown(recording)}: {EXPECTED}')
  if isinstance(recording, tuple) or _IsArray(recording):
    samples, own_rate = recording if isinstance(recording, tuple) else (recording, rate)
    if own_rate is None:
      raise errors.ConfigError(f'{Shown(recording)}: an array without a sampling rate; set sampling_rate')
    return '', audio.StreamArray(*audio_arrays.Check(samples, own_rate), max_seconds)
  if rate is not None:
    raise errors.ConfigError(f'{Shown(recording)}: sampling_rate is of arrays only; a file says its own')
  if isinstance(recording, io.TextIOBase):
    raise errors.ConfigError(f'{Shown(recording)}: a file open as text; open it in binary mode')
  if _IsFile(recording):
    name = getattr(recording, 'name', '')
    return name if isinstance(name, str) else '', _File(recording, max_seconds, losses)
  if isinstance(recording, str | os.PathLike):
    path = files.ExpandUser(os.fsdecode(recording))
    return path, audio.Stream(path, max_seconds, losses)
  return '', audio.Stream(bytes(recording), max_seconds, losses)


def _File(f: IO[bytes], max_seconds: float | None, losses: audio_frames.Losses) -> Iterator[np.ndarray]:
  """Yields the samples of an open file; copies a pipe to disk first, since decoding seeks."""
  if getattr(f, 'seekable', bool)():
    yield from audio.Stream(f, max_seconds, losses)
    return
  with tempfile.TemporaryFile() as kept:
    shutil.copyfileobj(f, kept)
    yield from audio.Stream(kept, max_seconds, losses)
