"""Makes one channel of several.

C: channels. n: samples of a block of at most one second.
"""

import numpy as np

from fm_lingvo.audio.rejection import Rejected

_CANCELLED = 1 / 8  # Power of the mean by that of the mean of unrelated channels: 9 dB less.
_AS_LOUD = 1 / 2  # Channels within 3 dB of the loudest one are taken as equally loud.


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


def _Power(samples: np.ndarray) -> float:
  """Returns the sum of squares of int16 [n], without the mean."""
  x = samples.astype(np.float32)
  x -= x.mean()
  return float(x @ x)
