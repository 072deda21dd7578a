"""Loads folders of noise and of room impulse responses into memory, before training starts.

N: samples (16 kHz) of all sounds of a folder, F: sounds.
"""

import dataclasses
import functools
import os
import random
from collections.abc import Callable

import numpy as np
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.utils import audio
from fm_lingvo.utils import audio_extensions
from fm_lingvo.utils import files

MAX_ROOM_SAMPLES = 16384  # Longer responses are cut there, 1.02 s.
ROOM_DELAY = 40  # Samples before the direct sound that are kept: the onset of a band-limited click, 2.5 ms.
_DIRECT_SECONDS = 2.0  # The direct sound of a room is in the beginning of its file.
_MIN_EXCERPT_SECONDS = 5.0


@dataclasses.dataclass(frozen=True)
class Bank:
  """The sounds of a folder, one after the other.

  Attributes:
    samples: int16 [N] of noise, whose level means nothing; float32 [N] of rooms, each of energy 1.
    starts: First sample of each sound, int32 [F].
    sizes: Number of its samples, int32 [F], > 0.
  """

  samples: np.ndarray
  starts: np.ndarray
  sizes: np.ndarray


def CheckFolder(path: str, folder: str) -> None:
  """Raises ConfigError, one line, if there is no audio file in a folder or below it.

  Args:
    path: Path of the param, for the message.
    folder: Its value.
  """
  if not files.IsFolder(folder):
    raise errors.ConfigError(
      f'{path} = {folder!r}: no such folder; the nearest that exists is {files.NearestFolder(folder)}'
    )
  if not any(_IsAudio(name) for _, names in files.Walk(folder) for name in names):
    raise errors.ConfigError(
      f'{path} = {folder!r}: no audio file in this folder or below it; expected names such as a.wav, a.flac or a.mp3'
    )


def _IsAudio(name):
  return os.path.splitext(name)[1].lower() in audio_extensions.SOUND and not name.startswith('.')


@functools.lru_cache(maxsize=4)
def LoadNoise(folder: str, max_minutes: float) -> Bank:
  """Loads noise: of each file its beginning, at least 5 s, at most its share of max_minutes.

  Raises:
    errors.ConfigError: A file cannot be decoded, or all is silent.
  """
  names = _Names(folder)
  seconds = max(_MIN_EXCERPT_SECONDS, 60 * max_minutes / max(1, len(names)))
  return _Load('noise', folder, names, max_minutes, lambda path: _Normalized(_Decode(path, seconds)))


@functools.lru_cache(maxsize=4)
def LoadRooms(folder: str, max_minutes: float) -> Bank:
  """Loads room impulse responses: each begins ROOM_DELAY samples before its direct sound.

  Raises:
    errors.ConfigError: A file cannot be decoded, or all is silent.
  """
  seconds = _DIRECT_SECONDS + MAX_ROOM_SAMPLES / audio.SAMPLE_RATE
  return _Load('rooms', folder, _Names(folder), max_minutes, lambda path: _Room(_Decode(path, seconds)))


def _Names(folder):
  """Returns all audio files below a folder, in a random order that does not change."""
  names = sorted(os.path.join(parent, name) for parent, found in files.Walk(folder) for name in found if _IsAudio(name))
  random.Random(0).shuffle(names)
  return names


def _Load(what, folder, names, max_minutes, load: Callable[[str], np.ndarray]):
  """Loads sounds until max_minutes are full; returns a Bank and prints what is in it."""
  sounds: list[np.ndarray] = []
  total, used, silent = 0, 0, 0
  while used < len(names) and total < max_minutes * 60 * audio.SAMPLE_RATE:
    sound = load(names[used])
    used += 1
    if np.any(sound):
      sounds.append(sound)
      total += len(sound)
    else:
      silent += 1
  if not sounds:
    raise errors.ConfigError(f'{folder}: expected recordings of {what}; all that was read of {used} files is silent')
  print(
    f'{what}: {used} of {len(names)} files in {folder}, {total / audio.SAMPLE_RATE / 60:.1f} min in memory'
    + (f', {silent} silent' if silent else ''),
    flush=True,
  )
  sizes = np.array([len(sound) for sound in sounds], np.int32)
  starts = np.concatenate([[0], np.cumsum(sizes[:-1])]).astype(np.int32)
  return Bank(np.concatenate(sounds), starts, sizes)


def _Decode(path, seconds):
  """Decodes the first channel of the beginning of a file to float32 [samples] at 16 kHz."""
  import av  # Only here: most runs need no recorded sounds.

  from fm_lingvo.audio import container as audio_container

  wanted, total = round(seconds * audio.SAMPLE_RATE), 0
  chunks: list[np.ndarray] = []
  try:
    with files.Open(path, 'rb') as f, audio_container.Open(f) as container:
      if not container.streams.audio:
        raise errors.ConfigError(f'{path}: expected a recording; the file has no audio')
      resampler = av.AudioResampler(format='fltp', rate=audio.SAMPLE_RATE)  # Keeps the channels apart.
      for frame in container.decode(audio=0):
        for out in resampler.resample(frame):
          chunks.append(out.to_ndarray()[0])
          total += out.samples
        if total >= wanted:
          break
      else:
        chunks += [out.to_ndarray()[0] for out in (resampler.resample(None) if chunks else ())]
  except (av.error.FFmpegError, OSError, tf.errors.OpError) as e:
    raise errors.ConfigError(f'{path}: cannot be decoded ({errors.Reason(e)})') from e
  samples = np.concatenate(chunks)[:wanted] if chunks else np.zeros([0], np.float32)
  if not np.isfinite(samples).all():
    raise errors.ConfigError(f'{path}: has samples that are not numbers')
  return samples


def _Normalized(samples):
  """Returns float32 [samples] as int16 with a peak of full scale; silence stays silent."""
  peak = np.max(np.abs(samples), initial=0.0)
  return np.round(samples * (32767.0 / peak if peak > 1e-5 else 0.0)).astype(np.int16)


def _Room(samples):
  """Returns a response float32 [at most MAX_ROOM_SAMPLES] of energy 1 whose peak is at ROOM_DELAY."""
  if not len(samples):
    return samples
  searched = round(_DIRECT_SECONDS * audio.SAMPLE_RATE)
  direct = int(np.argmax(np.abs(samples[:searched])))
  padded = np.concatenate([np.zeros([ROOM_DELAY], np.float32), samples])
  room = padded[direct : direct + MAX_ROOM_SAMPLES]
  energy = np.sum(np.square(room, dtype=np.float64))
  return (room / np.sqrt(energy)).astype(np.float32) if energy > 1e-10 else np.zeros([0], np.float32)
