"""Makes one channel of several, of a recording or of sound that comes in pieces.

C: channels. n: samples of a block of at most one second.
"""

import numpy as np

from fm_lingvo.audio.rejection import Rejected
from fm_lingvo.utils import audio as audio_format

_CANCELLED = 1 / 8  # Power of the mean by that of the mean of unrelated channels: 9 dB less.
_AS_LOUD = 1 / 2  # Channels within 3 dB of the loudest one are taken as equally loud.

_STEP = audio_format.SAMPLE_RATE // 10  # Samples that Live holds back at most.


def Select(block: np.ndarray, channel: int | None) -> np.ndarray:
  """Returns a channel of a block int16 [C, n], or the mean of all: int16 [n].

  Channels that cancel each other (one is inverted, as cables and call recorders do) would become silence. Where the
  mean is more than 9 dB quieter than that of unrelated channels would be (12 dB quieter than one of two equal
  channels), the first of the loudest channels is returned instead. A block is one second of the recording, and decides
  for itself, so that a segment is the same wherever decoding began.

  Raises:
    Rejected: no_channel.
  """
  channels = block.shape[0]
  if channel is not None:
    if not 0 <= channel < channels:
      raise Rejected('no_channel', f'channel {channel}, the recording has {channels}: 0 to {channels - 1}')
    return block[channel]
  if channels == 1:
    return block[0]
  mean = ((block.sum(axis=0, dtype=np.int32) + channels // 2) // channels).astype(np.int16)
  powers = [_Power(row) for row in block]
  if _Power(mean) >= _CANCELLED * sum(powers) / channels**2:
    return mean
  return block[next(c for c, power in enumerate(powers) if power >= _AS_LOUD * max(powers))]


class Live:
  """Select for sound that comes in pieces: the same result however it is cut into pieces.

  Select waits for a whole second; here each tenth of a second is decided by the second that it ends.
  """

  def __init__(self) -> None:
    self._heard: np.ndarray | None = None  # int16 [C, n]: up to nine tenths of a second, then what is not decided yet.
    self._waiting = 0  # Number of samples of the latter.

  def Push(self, block: np.ndarray) -> np.ndarray:
    """Takes int16 [C, any n]; returns the samples that are decided: int16 [n]."""
    if block.shape[0] == 1:
      return block[0]
    self._heard = block if self._heard is None else np.concatenate([self._heard, block], axis=1)
    self._waiting += block.shape[1]
    found = [np.zeros([0], np.int16)]
    while self._waiting >= _STEP:
      found.append(self._Decide(_STEP))
    return np.concatenate(found)

  def Finish(self) -> np.ndarray:
    """Returns the last samples, int16 [n]."""
    return self._Decide(self._waiting) if self._waiting else np.zeros([0], np.int16)

  def _Decide(self, samples: int) -> np.ndarray:
    """Returns the next samples."""
    assert self._heard is not None
    end = self._heard.shape[1] - self._waiting + samples
    second = self._heard[:, max(0, end - audio_format.SAMPLE_RATE) : end]
    self._heard = self._heard[:, max(0, end + _STEP - audio_format.SAMPLE_RATE) :]
    self._waiting -= samples
    return Select(second, None)[-samples:]


def _Power(samples: np.ndarray) -> float:
  """Returns the sum of squares of int16 [n], without the mean."""
  x = samples.astype(np.float32)
  x -= x.mean()
  return float(x @ x)
