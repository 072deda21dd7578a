"""Cuts segments out of a recording in one pass, however many there are.

N: samples of a segment at 16 kHz, int16 [N].
"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from collections.abc import Sequence
from typing import IO

import numpy as np

from fm_lingvo.audio import channels as audio_channels
from fm_lingvo.audio import stream as audio_stream
from fm_lingvo.audio.rejection import Rejected
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system

Source = str | bytes | IO[bytes]
Segment = tuple[
  float, float | None, int | None
]  # Offset and length in seconds (None: to the end), channel (None: mixed).

_TOLERANCE = audio_format.SAMPLE_RATE // 10  # A recording may end this many samples before the end of a segment.


@dataclasses.dataclass
class _Open:
  """A segment that is being collected."""

  index: int
  start: int  # In samples, as are the others.
  end: int | None  # None: the end of the recording.
  limit: int | None  # Most samples that a segment without an end may have.
  channel: int | None
  parts: list[np.ndarray] = dataclasses.field(default_factory=list)

  def Add(self, position: int, samples: np.ndarray) -> None:
    """Takes what belongs to this segment of samples that begin at `position`."""
    part = samples[max(0, self.start - position) : None if self.end is None else max(0, self.end - position)]
    if len(part):
      self.parts.append(part.copy())  # Not a view, which would keep the whole block.

  def Result(self) -> np.ndarray:
    return np.concatenate(self.parts) if self.parts else np.zeros([0], np.int16)


def OpenSource(source: Source) -> contextlib.AbstractContextManager[IO[bytes]]:
  """Opens a path or bytes; a file that is open already is not closed.

  Raises:
    OSError, tf.errors.OpError: The file cannot be opened.
  """
  if isinstance(source, str):
    return file_system.Open(source, 'rb')
  if isinstance(source, bytes | bytearray | memoryview):
    return io.BytesIO(source)
  return contextlib.nullcontext(source)


def DecodeSegments(
  source: Source, segments: Sequence[Segment], max_seconds: float | None = None, name: str = ''
) -> Iterator[tuple[int, np.ndarray | Rejected]]:
  """Decodes segments of a recording, reading it once and no further than the last segment.

  Args:
    source: Local or remote path, the bytes of a file, or an open file that can seek.
    segments: (offset, seconds or None, channel or None) of each, in any order; they may overlap.
    max_seconds: Longest accepted segment in seconds.
    name: File name, if the source has none; its extension tells headerless formats.

  Yields:
    (index in segments, int16 [N] at 16 kHz, or the Rejected of a segment that cannot be decoded), each index once, in
    the order of their ends. Memory is that of the segments that overlap.
  """
  waiting = []
  for index, (offset, seconds, channel) in enumerate(segments):
    wrong = _Wrong(offset, seconds, max_seconds)
    if wrong:
      yield index, wrong
      continue
    start = round(offset * audio_format.SAMPLE_RATE)
    end = None if seconds is None else start + round(seconds * audio_format.SAMPLE_RATE)
    limit = None if max_seconds is None else round(max_seconds * audio_format.SAMPLE_RATE)
    waiting.append(_Open(index, start, end, limit, channel))
  waiting.sort(key=lambda s: s.start, reverse=True)
  position = 0
  active: list[_Open] = []
  try:
    with audio_stream.Translated(), OpenSource(source) as f:
      blocks = audio_stream.Seconds(f, name or (source if isinstance(source, str) else ''))
      with contextlib.closing(blocks):
        while waiting or active:
          block = next(blocks, None)
          if block is None:
            break
          while waiting and waiting[-1].start < position + block.shape[1]:
            active.append(waiting.pop())
          selected = _Selected(block, {s.channel for s in active})
          position_after = position + block.shape[1]
          still = []
          for segment in active:
            found = _Advance(segment, position, position_after, selected[segment.channel], max_seconds)
            if found is None:
              still.append(segment)
            else:
              yield segment.index, found
          position, active = position_after, still
  except Rejected as e:
    for segment in active + waiting[::-1]:
      yield segment.index, Rejected(e.reason, e.detail)
    return
  for segment in active + waiting[::-1]:
    yield segment.index, _AtEnd(segment, position)


def _Wrong(offset: float, seconds: float | None, max_seconds: float | None) -> Rejected | None:
  """Returns what is wrong with a segment whatever the recording is."""
  most = audio_format.MOST_SECONDS
  if not 0 <= offset < most or seconds is not None and not 0 <= seconds < most:
    return Rejected('bad_entry', f'offset {offset} s, duration {seconds} s: expected >= 0 and < {most:g}')
  if seconds is not None and max_seconds is not None and seconds > max_seconds:
    return Rejected('too_long', f'{seconds:.2f} s, at most {max_seconds:g} s')
  return None


def _Selected(block: np.ndarray, channels: set[int | None]) -> dict[int | None, np.ndarray | Rejected]:
  """Returns the samples of each channel that the segments ask for."""
  found: dict[int | None, np.ndarray | Rejected] = {}
  for channel in channels:
    try:
      found[channel] = audio_channels.Select(block, channel)
    except Rejected as e:
      found[channel] = e
  return found


def _Advance(
  segment: _Open, before: int, after: int, samples: np.ndarray | Rejected, max_seconds: float | None
) -> np.ndarray | Rejected | None:
  """Adds the samples [before, after) to a segment; returns its result if nothing more can come, else None."""
  if isinstance(samples, Rejected):
    return samples
  segment.Add(before, samples)
  if segment.end is not None:
    if after < segment.end:
      return None
    return segment.Result() if segment.end > segment.start else Rejected('empty', 'no samples')
  if segment.limit is not None and after - segment.start > segment.limit:
    return Rejected('too_long', f'more than {max_seconds:g} s')
  return None


def _AtEnd(segment: _Open, length: int) -> np.ndarray | Rejected:
  """Returns the result of a segment that is not complete at the end of a recording of `length` samples."""
  if segment.end is not None and length < segment.end - _TOLERANCE:
    rate = audio_format.SAMPLE_RATE
    return Rejected(
      'corrupt',
      f'ends at {length / rate:.2f} s, expected {segment.start / rate:.2f} s to {segment.end / rate:.2f} s',
    )
  samples = segment.Result()
  return samples if len(samples) else Rejected('empty', 'no samples')
