"""Checks whether a recording is usable as training speech, and whether its transcript can belong to it.

N: samples at 16 kHz. Audio is an int16 array [N].
"""

import numpy as np

from fm_lingvo.audio.rejection import Rejected
from fm_lingvo.utils import audio as audio_format

_ENERGY_WINDOW = audio_format.SAMPLE_RATE // 10


def Loudness(samples: np.ndarray) -> float:
  """Returns the RMS level of the loudest 100 ms of int16 [N], with the mean removed, in dBFS.

  0 dBFS is a square wave of full scale.
  """
  x = samples.astype(np.float32) / 32768.0
  x -= x.mean()
  whole = len(x) // _ENERGY_WINDOW * _ENERGY_WINDOW
  windows = x[:whole].reshape(-1, _ENERGY_WINDOW) if whole else x[np.newaxis]
  return float(10 * np.log10(np.square(windows).mean(axis=1).max() + 1e-12))


def CheckSpeech(samples: np.ndarray, *, min_duration: float, max_duration: float, silence_dbfs: float = -55.0) -> None:
  """Rejects recordings that are too short, too long or silent.

  Args:
    samples: int16 [N].
    min_duration: seconds.
    max_duration: seconds.
    silence_dbfs: the loudest 100 ms must be above this level.

  Raises:
    Rejected: too_short, too_long or silent.
  """
  duration = len(samples) / audio_format.SAMPLE_RATE
  if duration < min_duration:
    raise Rejected('too_short', f'{duration:.2f} s, at least {min_duration:g} s')
  if duration > max_duration:
    raise Rejected('too_long', f'{duration:.2f} s, at most {max_duration:g} s')
  loudness = Loudness(samples)
  if loudness <= silence_dbfs:
    raise Rejected('silent', f'{loudness:.1f} dBFS in the loudest 100 ms, needs more than {silence_dbfs:g}')


def CheckText(
  text: str,
  duration: float,
  *,
  min_rate: float = 0.5,
  max_rate: float = 24.0,
  declared_duration: float | None = None,
) -> None:
  """Rejects a transcript or a declared duration that cannot belong to the recording.

  Args:
    text: normalised transcript; '' passes.
    duration: duration of the recording in seconds.
    min_rate: minimum number of characters (without spaces) per second, for recordings of 5 s or more.
    max_rate: maximum number of characters (without spaces) per second.
    declared_duration: duration in seconds that the source declares, or None.

  Raises:
    Rejected: mislabelled.
  """
  if declared_duration is not None and abs(declared_duration - duration) > max(0.25, 0.05 * duration):
    raise Rejected('mislabelled', f'{duration:.2f} s long, declared as {declared_duration:.2f} s')
  characters = len(text.replace(' ', ''))
  if not characters:
    return
  rate = characters / duration
  if rate > max_rate or (duration >= 5 and rate < min_rate):
    raise Rejected(
      'mislabelled',
      f'{characters} characters in {duration:.2f} s: {rate:.1f} per second, expected {min_rate:g} to {max_rate:g}',
    )
