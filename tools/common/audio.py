"""Decodes audio files to 16 kHz mono PCM16 and checks whether a recording is usable as training speech.

  N: samples at 16 kHz. Audio is an int16 array [N].

Every failure raises `Rejected` with one of REASONS, which the data preparation counts and reports.
"""

import os
from collections.abc import Iterable
from typing import IO
from typing import Any

import av
import numpy as np

from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system

# Reason -> its meaning, as report.json explains it.
REASONS = {
  'missing': 'the audio file does not exist or cannot be read',
  'empty': 'the file or the recording has length 0',
  'not_audio': 'the content is not audio in a known format',
  'corrupt': 'decoding failed, or the recording is shorter than its header declares',
  'silent': 'no 100 ms window is louder than the silence threshold',
  'too_short': 'shorter than --min_duration',
  'too_long': 'longer than --max_duration',
  'mislabelled': 'the transcript or the declared duration does not fit the recording',
  'no_text': 'a transcript is required and missing',
  'no_audio': 'a transcript without an audio file',
  'duplicate_id': 'the utterance id was taken by an earlier entry',
  'not_speech': 'the transcript says that it is a tone, a sound or silence',
  'outside': 'the audio file is neither in the folder of the manifest nor in one of --audio_roots',
  'bad_entry': 'the line or entry that describes the utterance cannot be parsed',
  'synthesis_failed': 'the synthesiser returned an error',
}

# Formats without a header: extension -> demuxer.
_RAW_FORMATS = {'.g722': 'g722', '.722': 'g722', '.gsm': 'gsm'}
# Demuxers of streams without a global header; FFmpeg estimates their length from the bit rate of the first frames.
_GUESSED_LENGTH = frozenset(('aac', 'ac3', 'amr', 'amrnb', 'amrwb', 'dts', 'eac3', 'loas'))
_RATES = (1000, 768000)  # Hz. Resampling from a lower rate would turn a small file into a very large one.
_MAX_CHANNELS = 64
_ENERGY_WINDOW = audio_format.SAMPLE_RATE // 10


class Rejected(Exception):
  """An utterance is rejected; `reason` is one of REASONS."""

  def __init__(self, reason: str, detail: str = '') -> None:
    if reason not in REASONS:
      raise ValueError(f'reason = {reason!r}: expected one of {", ".join(REASONS)}')
    super().__init__(f'{reason}: {detail}')
    self.reason = reason
    self.detail = detail


def Resample(samples: np.ndarray, rate: int) -> np.ndarray:
  """Resamples mono PCM16 [M] at `rate` Hz to int16 [N] at 16 kHz."""
  if rate == audio_format.SAMPLE_RATE:
    return samples
  frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples)[np.newaxis], format='s16', layout='mono')
  frame.sample_rate = rate
  return _Collect([frame], max_samples=None)


def Decode(
  path: str, max_seconds: float | None = None, offset: float = 0.0, seconds: float | None = None
) -> np.ndarray:
  """Decodes an audio file of any format that FFmpeg knows.

  Args:
    path: Local or remote file. Headerless formats (g722, gsm) are recognised by extension, all others by content.
    max_seconds: Longest accepted recording in seconds; decoding stops there, so that a longer one costs no more.
    offset: Start of the part to return, in seconds.
    seconds: Length of the part to return, None: up to the end. If set, max_seconds applies to this part.

  Returns:
    int16 [N] at 16 kHz.

  Raises:
    Rejected: missing, empty, not_audio, corrupt or too_long.
  """
  if seconds is not None and max_seconds is not None and seconds > max_seconds:
    raise Rejected('too_long', f'{seconds:.2f} s, at most {max_seconds:g} s')
  raw_format = _RAW_FORMATS.get(os.path.splitext(path)[1].lower())
  stop = offset + seconds if seconds is not None else (offset + max_seconds if max_seconds is not None else None)
  try:
    with file_system.Open(path, 'rb') as f:
      _CheckHeader(f, raw_format)
      samples = _DecodeStream(f, raw_format, stop)
  except Rejected:
    raise
  except Exception as e:  # gfile raises tf.errors.OpError, which must not be imported for local files.
    if (
      isinstance(e, OSError) and not isinstance(e, av.error.FFmpegError) or type(e).__module__.startswith('tensorflow')
    ):
      raise Rejected('missing', f'{type(e).__name__}: {e}') from e
    if isinstance(e, (av.error.FFmpegError, ValueError)):
      raise Rejected('corrupt', str(e)) from e
    raise
  start, end = round(offset * audio_format.SAMPLE_RATE), None
  if seconds is not None:
    end = start + round(seconds * audio_format.SAMPLE_RATE)
    if len(samples) < end - audio_format.SAMPLE_RATE // 10:
      raise Rejected(
        'corrupt',
        f'ends at {len(samples) / audio_format.SAMPLE_RATE:.2f} s, expected {offset:.2f} s to {offset + seconds:.2f} s',
      )
  elif stop is not None and len(samples) > round(stop * audio_format.SAMPLE_RATE):
    raise Rejected('too_long', f'more than {max_seconds:g} s')
  samples = samples[start:end]
  if not len(samples):
    raise Rejected('empty', 'no samples')
  return samples


def _CheckHeader(f: IO[bytes], raw_format: str | None) -> None:
  """Rejects files that FFmpeg would decode without an error: text as raw audio, and truncated WAV files."""
  f.seek(0, 2)
  size = f.tell()
  f.seek(0)
  if not size:
    raise Rejected('empty', '0 bytes')
  head = f.read(4096)
  f.seek(0)
  if raw_format and (head.isascii() and all(32 <= b or b in b'\t\r\n' for b in head)):
    raise Rejected('not_audio', 'text in a file of raw audio')
  if head[:4] == b'RIFF' and head[8:12] == b'WAVE':
    declared = int.from_bytes(head[4:8], 'little')
    if size < declared + 8 and declared < 0x7FFFFFFF:  # Streaming writers leave 0 or a huge value in this field.
      raise Rejected('corrupt', f'{size} bytes, the header says {declared + 8}')


def _DecodeStream(f: IO[bytes], raw_format: str | None, stop: float | None) -> np.ndarray:
  """Decodes an open file up to `stop` seconds (None: all) to int16 [N]."""
  try:
    container = av.open(f, mode='r', format=raw_format)
  except av.error.FFmpegError as e:
    raise Rejected('not_audio', e.strerror or str(e)) from e
  with container:
    if not container.streams.audio:
      raise Rejected('not_audio', f'{container.format.name} without an audio stream')
    stream = container.streams.audio[0]
    _CheckStream(stream)
    declared = None
    if stream.duration and stream.time_base and not raw_format and _DeclaresLength(f, container.format.name):
      declared = float(stream.duration * stream.time_base)
    max_samples = None if stop is None else round(stop * audio_format.SAMPLE_RATE) + 1
    samples = _Collect(container.decode(stream), max_samples)
  decoded = len(samples) / audio_format.SAMPLE_RATE
  if declared is not None and (stop is None or decoded <= stop) and decoded < 0.95 * declared - 0.1:
    raise Rejected('corrupt', f'{decoded:.2f} s decoded, the header says {declared:.2f} s')
  return samples


def _DeclaresLength(f: IO[bytes], name: str) -> bool:
  """Returns whether the header of an open file in the format `name` declares its length."""
  if name != 'mp3':
    return name not in _GUESSED_LENGTH
  here = f.tell()
  f.seek(0)
  head = f.read(10)
  if head[:3] == b'ID3':  # Skip the tags; their size is stored with 7 bits per byte.
    f.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0))))
  else:
    f.seek(0)
  first_frame = f.read(256)
  f.seek(here)
  return any(tag in first_frame for tag in (b'Xing', b'Info', b'VBRI'))


def _CheckStream(stream: Any) -> None:
  """Rejects implausible rates and numbers of channels before a decoder allocates memory for them."""
  if stream.codec_context is None:
    raise Rejected('not_audio', 'a codec that FFmpeg does not know')
  if not _RATES[0] <= (stream.rate or 0) <= _RATES[1]:
    raise Rejected('corrupt', f'{stream.rate or 0} Hz, expected {_RATES[0]} to {_RATES[1]}')
  if not 1 <= stream.channels <= _MAX_CHANNELS:
    raise Rejected('corrupt', f'{stream.channels} channels, expected 1 to {_MAX_CHANNELS}')


def _Collect(frames: Iterable[Any], max_samples: int | None) -> np.ndarray:
  """Resamples frames of any rate and layout to int16 [N]; reads only as many frames as max_samples needs."""
  resampler = av.AudioResampler(format='s16', layout='mono', rate=audio_format.SAMPLE_RATE)
  chunks, total = [], 0
  for frame in frames:
    for out in resampler.resample(frame):
      chunks.append(out.to_ndarray()[0])
      total += out.samples
    if max_samples is not None and total >= max_samples:
      break
  else:
    chunks.extend(out.to_ndarray()[0] for out in (resampler.resample(None) if chunks else ()))
  return np.concatenate(chunks) if chunks else np.zeros([0], np.int16)


def Loudness(samples: np.ndarray) -> float:
  """Returns the RMS level of the loudest 100 ms of int16 [N], with the mean removed, in dBFS.

  0 dBFS is a square wave of full scale.
  """
  x = samples.astype(np.float32) / 32768.0
  x -= x.mean()
  whole = len(x) // _ENERGY_WINDOW * _ENERGY_WINDOW
  windows = x[:whole].reshape(-1, _ENERGY_WINDOW) if whole else x[np.newaxis]
  return float(10 * np.log10(np.square(windows).mean(axis=1).max() + 1e-12))


def CheckSpeech(samples: np.ndarray, *, min_duration: float, max_duration: float, silence_dbfs: float = -55.0) -> None:
  """Rejects recordings that are too short, too long or silent.

  Args:
    samples: int16 [N].
    min_duration: seconds.
    max_duration: seconds.
    silence_dbfs: the loudest 100 ms must be above this level.

  Raises:
    Rejected: too_short, too_long or silent.
  """
  duration = len(samples) / audio_format.SAMPLE_RATE
  if duration < min_duration:
    raise Rejected('too_short', f'{duration:.2f} s, at least {min_duration:g} s')
  if duration > max_duration:
    raise Rejected('too_long', f'{duration:.2f} s, at most {max_duration:g} s')
  loudness = Loudness(samples)
  if loudness <= silence_dbfs:
    raise Rejected('silent', f'{loudness:.1f} dBFS in the loudest 100 ms, needs more than {silence_dbfs:g}')


def CheckText(
  text: str,
  duration: float,
  *,
  min_rate: float = 0.5,
  max_rate: float = 24.0,
  declared_duration: float | None = None,
) -> None:
  """Rejects a transcript or a declared duration that cannot belong to the recording.

  Args:
    text: normalised transcript; '' passes.
    duration: duration of the recording in seconds.
    min_rate: minimum number of characters (without spaces) per second, for recordings of 5 s or more.
    max_rate: maximum number of characters (without spaces) per second.
    declared_duration: duration in seconds that the source declares, or None.

  Raises:
    Rejected: mislabelled.
  """
  if declared_duration is not None and abs(declared_duration - duration) > max(0.25, 0.05 * duration):
    raise Rejected('mislabelled', f'{duration:.2f} s long, declared as {declared_duration:.2f} s')
  characters = len(text.replace(' ', ''))
  if not characters:
    return
  rate = characters / duration
  if rate > max_rate or (duration >= 5 and rate < min_rate):
    raise Rejected(
      'mislabelled',
      f'{characters} characters in {duration:.2f} s: {rate:.1f} per second, expected {min_rate:g} to {max_rate:g}',
    )
