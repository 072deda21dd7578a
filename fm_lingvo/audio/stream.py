"""Decodes an open audio file second by second: memory does not grow with its length.

C: channels of the file. n: samples of a block at 16 kHz, 16000 in all but the last one.
"""

import contextlib
import math
import os
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Iterator
from typing import IO
from typing import Any

import av
import numpy as np

from fm_lingvo.audio import container as audio_container
from fm_lingvo.audio import frames as audio_frames
from fm_lingvo.audio.rejection import Rejected
from fm_lingvo.utils import audio as audio_format

# Formats without a header: extension -> demuxer.
_RAW_FORMATS = {'.g722': 'g722', '.722': 'g722', '.gsm': 'gsm'}
_HEADERS = (b'RIFF', b'OggS', b'fLaC', b'FORM', b'ID3')  # A file that begins so has a header, whatever its extension.
# Demuxers of streams whose header has no length; FFmpeg estimates it from the bit rate of the first frames.
_GUESSED_LENGTH = frozenset(('aac', 'ac3', 'amr', 'amrnb', 'amrwb', 'dts', 'eac3', 'loas', 'swf'))
RATES = (1000, 768000)  # Hz. Resampling from a lower rate would turn a small file into a very large one.
MAX_CHANNELS = 64
_MOST_PLANES = 7  # PyAV cannot read the planes of a frame with more of them.
_FULL_SCALES = 16.0  # Floating-point samples of sound are in -1 to 1, or a little beyond where it was amplified.


@contextlib.contextmanager
def Translated() -> Iterator[None]:
  """Turns errors of files and of FFmpeg into Rejected: missing or corrupt."""
  try:
    yield
  except av.error.FFmpegError as e:  # Some of them are an OSError, too.
    raise Rejected('corrupt', e.strerror or str(e)) from e
  except OSError as e:
    raise Rejected('missing', f'{e.strerror}: {e.filename}' if e.strerror and e.filename else str(e)) from e
  except ValueError as e:
    raise Rejected('corrupt', str(e)) from e
  except Exception as e:  # gfile raises tf.errors.OpError, which must not be imported for local files.
    if type(e).__module__.startswith('tensorflow'):
      raise Rejected('missing', f'{type(e).__name__}: {e}') from e
    raise


def Seconds(
  f: IO[bytes], name: str = '', losses: audio_frames.Losses | None = None, max_seconds: float | None = None
) -> Generator[np.ndarray, None, None]:
  """Yields the sound of an open file as blocks int16 [C, n].

  Args:
    f: The file, which can seek.
    name: Its name; the extension tells headerless formats (g722, gsm). All others are recognised by content.
    losses: None: damage is rejected. Else sound that cannot be decoded becomes silence, and is recorded there.
    max_seconds: A file whose header declares that it is longer is rejected before it is decoded.

  Raises:
    Rejected: empty, not_audio, too_long, or corrupt (at the end, if sound is missing there).
    av.error.FFmpegError, OSError, ValueError: see Translated.
  """
  raw_format = _RawFormat(f, name)
  extent = audio_container.Inspect(f)
  part = audio_container.Part(f, extent.end, name)
  part.seek(0)
  try:
    container = audio_container.Open(part, raw_format)
  except av.error.FFmpegError as e:
    if extent.cut_off:
      raise Rejected('corrupt', f'cut off: {extent.cut_off}') from e
    raise Rejected('not_audio', e.strerror or str(e)) from e
  decoded = 0.0
  with container:
    if not container.streams.audio:
      raise Rejected('not_audio', f'{container.format.name} without an audio stream')
    stream = container.streams.audio[0]
    _CheckStream(stream)
    declared = None if raw_format or extent.is_endless else _DeclaredSeconds(part, container, stream)
    if declared is not None and max_seconds is not None and declared > 1.05 * max_seconds + 1:
      raise Rejected('too_long', f'more than {max_seconds:g} s')
    frames = audio_frames.Frames(container, stream, losses)
    for block in Blocks(Resampled(frames, stream.codec_context.codec.lossless)):
      decoded += block.shape[1] / audio_format.SAMPLE_RATE
      yield block
    cut_off = extent.cut_off
    if not cut_off and not extent.is_sized:
      if declared is not None and decoded < 0.95 * declared - 0.1:
        cut_off = f'{decoded:.2f} s decoded, the header says {declared:.2f} s'
      elif not (declared and container.format.name == 'flac'):  # Bytes after FLAC become part of its last packet.
        cut_off = frames.End()
  if cut_off and losses is None:
    raise Rejected('corrupt', f'cut off: {cut_off}')
  if losses is not None:
    losses.cut_off = cut_off
    if losses.seconds > decoded / 2:
      raise Rejected('corrupt', f'{losses.seconds:.2f} s of {decoded:.2f} s cannot be decoded')


def _RawFormat(f: IO[bytes], name: str) -> str | None:
  """Returns the demuxer of a file without a header, by its extension; None: FFmpeg recognises it by content.

  Raises:
    Rejected: empty; or not_audio: text, which would be decoded as raw audio.
  """
  f.seek(0)
  head = f.read(4096)
  if not head:
    raise Rejected('empty', '0 bytes')
  raw_format = _RAW_FORMATS.get(os.path.splitext(name)[1].lower())
  if raw_format is None or head.startswith(_HEADERS):
    return None
  if head.isascii() and all(32 <= b or b in b'\t\r\n' for b in head):
    raise Rejected('not_audio', 'text in a file of raw audio')
  return raw_format


def _DeclaredSeconds(f: audio_container.Part, container: Any, stream: Any) -> float | None:
  """Returns the length that the header declares, None if it declares none."""
  name = container.format.name
  if name in _GUESSED_LENGTH or name == 'mp3' and not _HasXing(f):
    return None
  if stream.duration and stream.time_base:
    return float(stream.duration * stream.time_base)
  return container.duration / av.time_base if container.duration else None


def _HasXing(f: audio_container.Part) -> bool:
  """Returns whether an MP3 file has a header with its number of frames; writers into pipes leave it 0."""
  here = f.tell()
  f.seek(0)
  head = f.read(10)
  if head[:3] == b'ID3':  # Skip the tags; their size is stored with 7 bits per byte.
    f.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0))))
  else:
    f.seek(0)
  first_frame = f.read(256)
  f.seek(here)
  if b'VBRI' in first_frame:
    return True
  tag = max(first_frame.find(b'Xing'), first_frame.find(b'Info'))
  flags, frames = first_frame[tag + 4 : tag + 8], first_frame[tag + 8 : tag + 12]
  return tag >= 0 and bool(int.from_bytes(flags, 'big') & 1) and any(frames)


def _CheckStream(stream: Any) -> None:
  """Rejects implausible rates and numbers of channels before a decoder allocates memory for them."""
  if stream.codec_context is None:
    raise Rejected('not_audio', 'a codec that FFmpeg does not know')
  if not RATES[0] <= (stream.rate or 0) <= RATES[1]:
    raise Rejected('corrupt', f'{stream.rate or 0} Hz, expected {RATES[0]} to {RATES[1]}')
  if not 1 <= stream.channels <= MAX_CHANNELS:
    raise Rejected('corrupt', f'{stream.channels} channels, expected 1 to {MAX_CHANNELS}')


def Resampled(frames: Iterable[tuple[float, Any]], check: bool = True) -> Iterator[np.ndarray]:
  """Yields frames of any rate, layout and format as int16 [C, n] at 16 kHz, n as it comes.

  Args:
    frames: (seconds of silence before it, av.AudioFrame) of each.
    check: Whether floating-point samples are checked; those of lossy codecs are in range.

  Raises:
    Rejected: Samples are no numbers, or far beyond full scale; or the number of channels changes.
  """
  joined: _Joined | None = None
  form, channels = None, 0
  for silence, frame in frames:
    if check:
      CheckSamples(frame)
    before, form = form, (frame.sample_rate, frame.format.name, frame.layout.name)
    if joined is None or form != before:  # At the start, and where streams of different rates were joined.
      yield from joined.End() if joined else ()
      joined = _Joined()
      if channels not in (0, frame.layout.nb_channels):
        raise Rejected('corrupt', f'the number of channels changes from {channels} to {frame.layout.nb_channels}')
      channels = frame.layout.nb_channels
    if silence:
      yield from joined.Flush()
    for piece in range(math.ceil(silence)):
      yield np.zeros([channels, round(min(1.0, silence - piece) * audio_format.SAMPLE_RATE)], np.int16)
    yield from joined.Add(frame)
  yield from joined.End() if joined else ()


class _Joined:
  """Resamples frames of one form, joined to pieces of half a second: a call for each short frame costs more time."""

  def __init__(self) -> None:
    self._fifo = av.AudioFifo()
    self._resampler = av.AudioResampler(format='s16', rate=audio_format.SAMPLE_RATE)

  def Add(self, frame: Any) -> Iterator[np.ndarray]:
    """Takes a frame; yields int16 [C, n] at 16 kHz."""
    frame.pts = None  # Gaps have become silence; the queue refuses them.
    self._fifo.write(frame)
    if self._fifo.samples >= frame.sample_rate // 2:
      yield from self.Flush()

  def Flush(self) -> Iterator[np.ndarray]:
    """Yields what the frames so far give, but for the delay of the resampler."""
    if self._fifo.samples:
      yield from map(_Channels, self._resampler.resample(self._fifo.read()))

  def End(self) -> Iterator[np.ndarray]:
    """Yields all that is left."""
    yield from self.Flush()
    yield from map(_Channels, self._resampler.resample(None))


def _Channels(frame: Any) -> np.ndarray:
  """Returns the samples of a frame of interleaved PCM16: int16 [C, n]."""
  return frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T


def CheckSamples(frame: Any) -> None:
  """Rejects floating-point samples that would become noise: NaN, infinite, or at the scale of 16-bit integers."""
  if frame.format.name[:3] not in ('flt', 'dbl') or frame.format.is_planar and frame.layout.nb_channels > _MOST_PLANES:
    return
  peak = float(np.abs(frame.to_ndarray()).max(initial=0.0))
  if not np.isfinite(peak):
    raise Rejected('corrupt', 'samples that are NaN or infinite')
  if peak > _FULL_SCALES:
    raise Rejected(
      'corrupt', f'floating-point samples up to {peak:.6g}, expected -1 to 1; divide them by 32768 if they are 16-bit'
    )


def Blocks(pieces: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
  """Joins pieces [C, any n] to blocks of one second [C, 16000]; the last one is shorter."""
  held, length = [], 0
  for piece in pieces:
    while piece.shape[1]:
      part = piece[:, : audio_format.SAMPLE_RATE - length]
      held.append(part)
      length += part.shape[1]
      piece = piece[:, part.shape[1] :]
      if length == audio_format.SAMPLE_RATE:
        yield np.concatenate(held, axis=1)
        held, length = [], 0
  if held:
    yield np.concatenate(held, axis=1)
