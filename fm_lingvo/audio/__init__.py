"""Decodes audio files to 16 kHz mono PCM16.

  N: samples at 16 kHz. Audio is an int16 array [N].

Every failure raises `Rejected` with one of REASONS, which the data preparation counts and reports.
"""

from collections.abc import Iterable
from collections.abc import Iterator

import av
import numpy as np

from fm_lingvo.audio import arrays as audio_arrays
from fm_lingvo.audio import channels as audio_channels
from fm_lingvo.audio import frames as audio_frames
from fm_lingvo.audio import segments as audio_segments
from fm_lingvo.audio import stream as audio_stream
from fm_lingvo.audio.checks import CheckSpeech
from fm_lingvo.audio.checks import CheckText
from fm_lingvo.audio.checks import Loudness
from fm_lingvo.audio.rejection import REASONS
from fm_lingvo.audio.rejection import Rejected
from fm_lingvo.audio.segments import DecodeSegments
from fm_lingvo.utils import audio as audio_format

__all__ = [
  'CheckSpeech',
  'CheckText',
  'Decode',
  'DecodeSegments',
  'Loudness',
  'REASONS',
  'Rejected',
  'Resample',
  'Stream',
  'StreamArray',
]


def Resample(samples: np.ndarray, rate: int) -> np.ndarray:
  """Resamples mono PCM16 [M] at `rate` Hz to int16 [N] at 16 kHz."""
  if rate == audio_format.SAMPLE_RATE:
    return samples
  frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[np.newaxis], format='s16', layout='mono')
  frame.sample_rate = rate
  return np.concatenate(list(audio_stream.Resampled([(0.0, frame)])), axis=1)[0]


def Decode(
  source: audio_segments.Source,
  max_seconds: float | None = None,
  offset: float = 0.0,
  seconds: float | None = None,
  channel: int | None = None,
  name: str = '',
) -> np.ndarray:
  """Decodes an audio file of any format that FFmpeg knows.

  Args:
    source: Local or remote path, the bytes of a file, or an open file that can seek. Headerless formats (g722, gsm) are
      recognised by extension, all others by content.
    max_seconds: Longest accepted recording in seconds; decoding stops there, so that a longer one costs no more.
    offset: Start of the part to return, in seconds.
    seconds: Length of the part to return, None: up to the end. If set, max_seconds applies to this part.
    channel: 0-based channel. None: the mean of all, or one alone where they cancel each other, see audio_channels.
    name: File name, if the source has none; its extension tells headerless formats.

  Returns:
    int16 [N] at 16 kHz.

  Raises:
    Rejected: missing, empty, not_audio, corrupt, no_channel or too_long.
  """
  [(_, found)] = DecodeSegments(source, [(offset, seconds, channel)], max_seconds, name)
  if isinstance(found, Rejected):
    raise found
  return found


def Stream(
  source: audio_segments.Source, max_seconds: float | None, losses: audio_frames.Losses, name: str = ''
) -> Iterator[np.ndarray]:
  """Yields the sound of a file of any length, second by second; continues after damage.

  Args:
    source: As in Decode.
    max_seconds: Longest accepted recording in seconds.
    losses: Records what could not be decoded; silence takes its place.
    name: As in Decode.

  Yields:
    int16 [n] at 16 kHz, n at most 16000.

  Raises:
    Rejected: missing, empty, not_audio, corrupt or too_long; some of them after sound was returned.
  """
  with audio_stream.Translated(), audio_segments.OpenSource(source) as f:
    name = name or (source if isinstance(source, str) else '')
    yield from _Mixed(audio_stream.Seconds(f, name, losses, max_seconds), max_seconds)


def StreamArray(samples: np.ndarray, rate: int, max_seconds: float | None) -> Iterator[np.ndarray]:
  """As Stream, for the samples [C, M] and the rate that arrays.Check returned."""
  return _Mixed(audio_arrays.Seconds(samples, rate), max_seconds)


def _Mixed(blocks: Iterable[np.ndarray], max_seconds: float | None) -> Iterator[np.ndarray]:
  """Yields blocks int16 [C, n] with their channels mixed: int16 [n].

  Raises:
    Rejected: empty, too_long.
  """
  total = 0
  for block in blocks:
    total += block.shape[1]
    if max_seconds is not None and total > round(max_seconds * audio_format.SAMPLE_RATE):
      raise Rejected('too_long', f'more than {max_seconds:g} s')
    yield audio_channels.Select(block, None)
  if not total:
    raise Rejected('empty', 'no samples')
