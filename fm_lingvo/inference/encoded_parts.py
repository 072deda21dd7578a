"""Batches that are encoded in parts and searched together.

The encoder's activations are most of the memory of recognition, and more rows at once gain it nothing; a search has
little memory, and many small operations. B: utterances, S: samples (16 kHz), N: encoded frames, D: model width.
"""

from collections.abc import Iterator

import numpy as np

from fm_lingvo.utils import audio

_SECONDS = 32.0  # Audio of a part, padding included.


def Parts(waveforms: list[np.ndarray]) -> Iterator[tuple[np.ndarray, list[int]]]:
  """Splits waveforms int16 [S] into parts of at most 32 s with padding, or of one waveform.

  Yields:
    (float32 [B, S] in [-1, 1], padded by 0; numbers of samples).
  """
  part: list[np.ndarray] = []
  longest = 0
  for waveform in waveforms:
    longest = max(longest, len(waveform))
    if part and longest * (len(part) + 1) > _SECONDS * audio.SAMPLE_RATE:
      yield _Padded(part)
      part, longest = [], len(waveform)
    part.append(waveform)
  if part:
    yield _Padded(part)


def _Padded(waveforms):
  num_samples = [len(w) for w in waveforms]
  batch = np.zeros([len(waveforms), max(num_samples)], np.float32)
  for row, waveform in zip(batch, waveforms):
    row[: len(waveform)] = waveform.astype(np.float32) / 32768.0
  return batch, num_samples
