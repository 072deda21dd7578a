"""Sound from standard input while it comes, such as that of a microphone: raw samples, or WAV of unknown length."""

import os
import select
import struct
from collections.abc import Iterator

from fm_lingvo import errors
from fm_lingvo.audio import stream as audio_stream

_POLL_SECONDS = 0.1  # Until a reader sees that it was stopped.
_BLOCK = 65536  # Bytes that are read at once, at most.
_UNKNOWN = 0x7F000000  # Writers that do not know the length say so much, or more, or 0.
_MOST_HEADER = 2**20  # Bytes of the chunks before the samples, at most: titles, notes and so on.
_PCM, _EXTENSIBLE = 1, 0xFFFE
_EXPECTED = 'expected WAV with 16 bits, or raw samples with --rate; ffmpeg -i INPUT -f wav -c:a pcm_s16le - makes it'


class Pipe:
  """Reads a file descriptor as soon as there is anything to read, until it ends or is stopped."""

  def __init__(self, descriptor: int) -> None:
    self._descriptor = descriptor
    self.stopped = False

  def Stop(self) -> None:
    """Ends the sound here; a handler of signals may call it."""
    self.stopped = True

  def Read(self, most: int = _BLOCK) -> bytes:
    """Returns 1 to `most` bytes, b'' at the end."""
    while not self.stopped:
      ready, _, _ = select.select([self._descriptor], [], [], _POLL_SECONDS)
      if ready:
        return os.read(self._descriptor, most)
    return b''

  def ReadAll(self, size: int) -> bytes:
    """Returns `size` bytes, fewer at the end."""
    parts = []
    while size > 0 and (part := self.Read(min(size, _BLOCK))):
      parts.append(part)
      size -= len(part)
    return b''.join(parts)


def Pieces(pipe: Pipe, rate: int | None) -> tuple[int, int, Iterator[bytes]]:
  """Returns the sampling rate in Hz, the channels, and an iterator of the samples: int16, little-endian, as they come.

  Args:
    pipe: The Pipe.
    rate: Sampling rate of raw samples with one channel; None: the pipe gives WAV.

  Raises:
    errors.ConfigError: It is no WAV, one with other samples than of 16 bits, or the rate is out of range.
  """
  channels, size = 1, None
  if rate is None:
    rate, channels, size = _Header(pipe)
  low, high = audio_stream.RATES
  if not low <= rate <= high:
    raise errors.ConfigError(f'standard input: {rate} Hz: expected {low} to {high}')
  if not 1 <= channels <= audio_stream.MAX_CHANNELS:
    raise errors.ConfigError(f'standard input: {channels} channels: expected 1 to {audio_stream.MAX_CHANNELS}')
  return rate, channels, _Samples(pipe, size)


def _Samples(pipe: Pipe, size: int | None) -> Iterator[bytes]:
  """Yields the bytes of a pipe, at most `size` of them."""
  left = size
  while left is None or left > 0:
    data = pipe.Read(_BLOCK if left is None else min(left, _BLOCK))
    if not data:
      return
    left = None if left is None else left - len(data)
    yield data


def _Header(pipe: Pipe) -> tuple[int, int, int | None]:
  """Reads a WAV header; returns rate, channels, and the bytes of samples, None if it does not say how many."""
  start = pipe.ReadAll(12)
  if start[:4] not in (b'RIFF', b'RF64') or start[8:] != b'WAVE':
    raise errors.ConfigError(f'standard input: no WAV; {_EXPECTED}')
  form, left = None, _MOST_HEADER
  while True:
    chunk = pipe.ReadAll(8)
    if len(chunk) < 8:
      raise errors.ConfigError(f'standard input: WAV without samples; {_EXPECTED}')
    name, size = struct.unpack('<4sI', chunk)
    if name == b'data' and form is not None:
      return *form, None if size == 0 or size >= _UNKNOWN else size
    left -= len(chunk) + size
    if left < 0:  # The file says so: it may be damaged, and its sound never come.
      raise errors.ConfigError(
        f'standard input: WAV with a chunk {name.decode("ascii", "replace")!r} of {size:,} bytes before its samples: '
        f'expected at most {_MOST_HEADER:,}; {_EXPECTED}'
      )
    body = pipe.ReadAll(size + size % 2)
    if name == b'fmt ' and len(body) >= 16:
      tag, channels, rate, _, _, bits = struct.unpack('<HHIIHH', body[:16])
      if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack('<H', body[24:26])
      if tag != _PCM or bits != 16:
        raise errors.ConfigError(f'standard input: WAV of format {tag} with {bits} bits; {_EXPECTED}')
      form = rate, channels
