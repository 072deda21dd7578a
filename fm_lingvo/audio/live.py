"""Sound that comes in pieces -> 16 kHz, with the resampler's state carried over.

M: samples of a channel at the sender's rate. C: channels. n: samples at 16 kHz, as many as are ready.
"""

from collections.abc import Iterable
from typing import Any

import av
import numpy as np

from fm_lingvo import errors
from fm_lingvo.audio import arrays as audio_arrays
from fm_lingvo.audio import channels as audio_channels
from fm_lingvo.audio import stream as audio_stream
from fm_lingvo.utils import audio as audio_format


class Resampler:
  """Resamples pieces of one recording; however it is cut into pieces, the joined result is the same."""

  def __init__(self) -> None:
    self._form: tuple[int, str, int] | None = None  # Rate, type and channels of the first piece.
    self._resamplers: list[Any] = []  # One for each channel; none if the sound needs no change.
    self._channels = audio_channels.Live()

  def Push(self, samples: Any, rate: Any) -> np.ndarray:
    """Returns the samples that are ready after the next piece: int16 [n], of all channels as in channels.Live.

    Args:
      samples: [M] or [M, C], int16 or float in -1 to 1.
      rate: Sampling rate in Hz.

    Raises:
      errors.ConfigError: The samples have another type or shape, or another form than those of the first piece.
      rejection.Rejected: Samples are no numbers, or far beyond -1 to 1.
    """
    by_channel, rate = audio_arrays.Check(samples, rate)
    form = (rate, by_channel.dtype.name, len(by_channel))
    if self._form is None:
      self._form = form
      if form[:2] != (audio_format.SAMPLE_RATE, 'int16'):
        self._resamplers = [av.AudioResampler(format='s16', rate=audio_format.SAMPLE_RATE) for _ in by_channel]
    if form != self._form:
      first, now = (f'{r} Hz, {c} channel{"s"[: c > 1]} of {kind}' for r, kind, c in (self._form, form))
      raise errors.ConfigError(f'samples at {now}: expected {first}, as of the stream so far')
    if not self._resamplers or not by_channel.size:
      return self._channels.Push(by_channel.astype(np.int16, copy=False))
    frames = [audio_arrays.Frame(row, rate) for row in by_channel]
    for frame in frames:
      audio_stream.CheckSamples(frame)
    return self._Resampled(frames)

  def Finish(self) -> np.ndarray:
    """Returns the last samples, which are held back until the end: int16 [n]."""
    last = self._Resampled([None] * len(self._resamplers)) if self._resamplers else np.zeros([0], np.int16)
    return np.concatenate([last, self._channels.Finish()])

  def _Resampled(self, frames: Iterable[Any]) -> np.ndarray:
    """Gives each channel's resampler its next frame, None at the end."""
    rows = []
    for resampler, frame in zip(self._resamplers, frames, strict=True):
      pieces = [out.to_ndarray()[0] for out in resampler.resample(frame)]
      rows.append(np.concatenate([np.zeros([0], np.int16), *pieces]))
    return self._channels.Push(np.stack(rows))
