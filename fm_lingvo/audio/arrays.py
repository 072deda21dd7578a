"""Sound that a program holds in memory -> 16 kHz.

M: samples of a channel at the program's rate. C: channels. n: samples of a block at 16 kHz, 16000 in all but the last.
"""

import math
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from fm_lingvo import errors
from fm_lingvo.audio import stream as audio_stream

_FORMATS = {'int16': 's16', 'float32': 'flt', 'float64': 'dbl'}  # NumPy's name -> FFmpeg's.
_NUMBERS = (int, float, np.integer, np.floating)


def Check(samples: Any, rate: Any) -> tuple[np.ndarray, int]:
  """Returns samples as [C, M] of int16, float32 or float64, and their sampling rate; copies no samples of these types.

  Args:
    samples: [M], or [M, C] with a column for each channel; int16, or floating-point numbers in -1 to 1.
    rate: Sampling rate in Hz.

  Raises:
    errors.ConfigError: The samples have another type or shape, or the rate is none.
  """
  samples = np.asarray(samples)
  samples = samples.astype(samples.dtype.newbyteorder('='), copy=False)  # Files of other machines: '>i2'.
  if samples.dtype == np.float16:
    samples = samples.astype(np.float32)
  what = f'array of {samples.dtype} {list(samples.shape)}'
  if samples.dtype.name not in _FORMATS:
    raise errors.ConfigError(f'{what}: expected samples of int16, or of float in -1 to 1')
  if samples.ndim not in (1, 2):
    raise errors.ConfigError(f'{what}: expected samples [n] or [n, channels]')
  low, high = audio_stream.RATES
  if not isinstance(rate, _NUMBERS) or isinstance(rate, bool) or not low <= rate <= high or rate != int(rate):
    raise errors.ConfigError(f'{what}: sampling_rate = {rate!r}: expected whole Hz from {low} to {high}')
  by_channel = samples[np.newaxis] if samples.ndim == 1 else samples.T
  if not 1 <= len(by_channel) <= audio_stream.MAX_CHANNELS:
    raise errors.ConfigError(f'{what}: expected samples [n, channels] with 1 to {audio_stream.MAX_CHANNELS} channels')
  return by_channel, int(rate)


def Seconds(samples: np.ndarray, rate: int) -> Iterator[np.ndarray]:
  """Yields what Check returned as blocks int16 [C, n]: the same as of a lossless file with these samples.

  Raises:
    Rejected: Samples are no numbers, or far beyond -1 to 1.
  """
  channels = [audio_stream.Resampled(_Frames(row, rate)) for row in samples]
  return audio_stream.Blocks(np.concatenate(rows) for rows in zip(*channels, strict=True))


def Frame(samples: np.ndarray, rate: int) -> Any:
  """Returns samples of one channel, [M] of a type that Check returns, as an av.AudioFrame."""
  part = np.ascontiguousarray(samples)[np.newaxis]
  frame = av.AudioFrame.from_ndarray(part, format=_FORMATS[samples.dtype.name], layout='mono')
  frame.sample_rate = rate
  return frame


def _Frames(samples: np.ndarray, rate: int) -> Iterator[tuple[float, Any]]:
  """Yields frames of a second of one channel [M]; the 0.0 says that no silence is missing before them."""
  for second in range(math.ceil(len(samples) / rate)):
    yield 0.0, Frame(samples[second * rate : (second + 1) * rate], rate)
