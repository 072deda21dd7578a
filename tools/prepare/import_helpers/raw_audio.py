"""Audio files without a header."""

import functools

import numpy as np

from fm_lingvo import audio
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system


def LoadPcm16(path, max_seconds):
  """Returns int16 [N] of a file of 16 kHz mono PCM16 without a header, of either byte order.

  In the wrong order, neighbouring samples of speech differ like those of noise; the order with the smaller differences
  is taken.

  Raises:
    audio.Rejected: missing, empty, corrupt or too_long.
  """
  try:
    with file_system.Open(path, 'rb') as f:
      data = f.read()
  except OSError as e:
    raise audio.Rejected('missing', f'{type(e).__name__}: {e}') from e
  if not data:
    raise audio.Rejected('empty', '0 bytes')
  if len(data) % 2:
    raise audio.Rejected('corrupt', f'{len(data)} bytes, expected two for each sample')
  if len(data) // 2 > max_seconds * audio_format.SAMPLE_RATE:
    raise audio.Rejected('too_long', f'more than {max_seconds:g} s')
  orders = [np.frombuffer(data, order) for order in ('>i2', '<i2')]
  return min(orders, key=lambda samples: np.abs(np.diff(samples.astype(np.float32))).sum()).astype(np.int16)


def Loader(path):
  """Returns a `load` for an importers.Utterance, see LoadPcm16."""
  return functools.partial(LoadPcm16, path)
