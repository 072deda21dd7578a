"""Decodes the packets of an audio stream; finds damage, and says how much silence keeps the time axis in its place.

Strict decoding rejects damage. With a Losses, decoding continues after it.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import av

from fm_lingvo.audio.rejection import Rejected

# Streams without an index: bytes that are no frame may lie between frames and after the last one.
_ELEMENTARY = frozenset(('aac', 'ac3', 'amr', 'amrnb', 'amrwb', 'dts', 'eac3', 'flac', 'loas', 'mp3'))
# Containers in which time may pass without packets: silence that was not sent, dropped packets of a call.
_SPARSE = frozenset(
  ('asf', 'flv', 'matroska,webm', 'mov,mp4,m4a,3gp,3g2,mj2', 'mpeg', 'mpegts', 'nut', 'rm', 'rtp', 'wtv')
)
_SPARSE_SECONDS = 1.0  # Longest gap between two packets of these that is taken for silence.
_JITTER_SECONDS = 0.05  # Gaps up to this are rounding of time stamps.
_LONGEST_GAP_SECONDS = 3600.0  # A longer gap is a wrong time stamp.
_MOST_FAILURES = 20  # Consecutive packets that cannot be read, after which a file counts as ended.


@dataclasses.dataclass
class Losses:
  """Sound that could not be decoded; silence stands in its place."""

  seconds: float = 0.0
  places: int = 0
  first: float = 0.0  # Second of the first place.
  cut_off: str = ''  # How one sees that the file is cut off.

  def Add(self, at: float, seconds: float) -> None:
    if not self.places:
      self.first = at
    self.places += 1
    self.seconds += seconds

  def __bool__(self) -> bool:
    return bool(self.places or self.cut_off)

  def __str__(self) -> str:
    parts = []
    if self.places:
      places = f'{self.places} places, the first' if self.places > 1 else 'one place,'
      parts.append(f'{self.seconds:.2f} s could not be decoded and became silence, in {places} at {self.first:.2f} s')
    if self.cut_off:
      parts.append(f'the file is cut off: {self.cut_off}')
    return '; '.join(parts)


class Frames:
  """The frames of a stream, once: an iterator of (seconds of silence before it, av.AudioFrame)."""

  def __init__(self, container: Any, stream: Any, losses: Losses | None) -> None:
    self._container, self._stream, self._losses = container, stream, losses
    self._elementary = container.format.name in _ELEMENTARY
    self._sparse = container.format.name in _SPARSE
    self._first_byte = b''  # Of the first packet that could be decoded.
    self._bytes, self._packets = 0, 0
    self._last = None  # The last packet with data.
    self._bad: list[Any] = []  # Packets since the last frame that could not be decoded; None: could not be read.
    self._frame_seconds = 0.0
    self._next: float | None = None  # Time stamp in seconds at which the next frame should begin.
    self._time = 0.0  # Seconds of frames and silence so far.

  def __iter__(self) -> Iterator[tuple[float, Any]]:
    """Yields the frames.

    Raises:
      Rejected: corrupt, in strict decoding.
    """
    for packet in self._Packets():
      if packet is None:
        self._bad.append(packet)
        continue
      if packet.size:
        self._last = packet
      try:
        frames = packet.decode()
      except av.error.FFmpegError:
        self._bad.append(packet)
        continue
      if packet.size and not self._bad:
        self._first_byte = self._first_byte or bytes(packet)[:1]
        self._bytes += packet.size
        self._packets += 1
      for frame in frames:
        silence = self._Silence(frame)
        self._time += silence
        yield silence, frame
        self._time += self._frame_seconds

  def End(self) -> str:
    """Returns, after the last frame, how its packets show that the stream is cut off, or ''."""
    bad = [p for p in self._bad if p is not None and p.size]
    if self._elementary:
      # Ignores bytes after the last frame that are not the start of a frame; an incomplete frame means that the file
      # was cut off.
      bad = [p for p in bad if bytes(p)[:1] == self._first_byte]
    if bad or self._bad and not self._elementary:
      return 'its last packet cannot be decoded'
    if self._last is not None and (self._last.is_corrupt or 0 < self._last.size < _MpegFrameBytes(self._last)):
      return 'its last packet is incomplete'
    return ''

  def _Packets(self) -> Iterator[Any]:
    """Yields packets, None for one that cannot be read."""
    failures = 0
    while failures < _MOST_FAILURES:
      try:
        for packet in self._container.demux(self._stream):
          failures = 0
          yield packet
        return
      except (av.error.FFmpegError, IndexError):  # IndexError: damage looks like a stream that PyAV does not know.
        failures += 1
        yield None

  def _Silence(self, frame: Any) -> float:
    """Returns the seconds of silence that belong before a frame."""
    self._frame_seconds = frame.samples / frame.sample_rate
    gap = 0.0
    if frame.pts is not None and frame.time_base:
      base = frame.time_base
      stamp = frame.pts * base.numerator / base.denominator  # Fractions multiply slowly.
      if self._next is not None and 0 < stamp - self._next <= _LONGEST_GAP_SECONDS:
        gap = stamp - self._next
      self._next = stamp + self._frame_seconds
    if self._bad:
      missing = self._Estimate() if self._elementary or gap < _JITTER_SECONDS else 0.0
      self._bad = []
      self._Lost(max(gap, missing))
      return max(gap, missing)
    if frame.is_corrupt:  # The decoder has filled it with something.
      self._Lost(self._frame_seconds)
    if gap <= (0.02 if self._sparse else _JITTER_SECONDS):
      return 0.0
    if not self._sparse or gap > _SPARSE_SECONDS:
      self._Lost(gap)
    return gap

  def _Estimate(self) -> float:
    """Returns how long the packets that could not be decoded would have been, in seconds."""
    seconds = 0.0
    for packet in self._bad:
      one = self._frame_seconds
      if packet is not None and packet.duration and packet.time_base:
        one = float(packet.duration * packet.time_base)
      frames = 1
      if packet is not None and self._elementary and self._packets:
        frames = max(1, round(packet.size * self._packets / self._bytes))
      seconds += frames * one
    return seconds

  def _Lost(self, seconds: float) -> None:
    if self._losses is None:
      raise Rejected('corrupt', f'damaged at {self._time:.2f} s: {seconds:.2f} s are missing')
    self._losses.Add(self._time, seconds)


# kbit/s of MPEG audio: (version 1, layer) -> values of the 4-bit index; versions 2 and 2.5 share theirs.
_KBITS = {
  (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
  (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
  (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
  (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
  (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
  (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def _MpegFrameBytes(packet: Any) -> int:
  """Returns the length that the header of a frame of MPEG audio declares, 0 if the packet is none."""
  if packet.stream.codec_context.name.rstrip('float') not in ('mp1', 'mp2', 'mp3') or packet.size < 4:
    return 0
  _, second, third, _ = bytes(packet)[:4]
  version, layer, index = second >> 3 & 3, 4 - (second >> 1 & 3), third >> 4
  if layer > 3 or index == 15 or third >> 2 & 3 == 3:
    return 0
  rate = (44100, 48000, 32000)[third >> 2 & 3] >> {3: 0, 2: 1}.get(version, 2)
  kbits, padding = _KBITS[version == 3, layer][index], third >> 1 & 1
  if layer == 1:
    return (12000 * kbits // rate + padding) * 4
  return (144000 if layer == 2 or version == 3 else 72000) * kbits // rate + padding
