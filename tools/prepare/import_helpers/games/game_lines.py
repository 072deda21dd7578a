"""A line of a game, and its sound as a WAV file: 8 bit unsigned PCM, 11025 Hz, mono."""

import dataclasses
import io
import re
import wave
from typing import Any

RATE = 11025  # Hz
SILENCE = 0x80  # The sample value of digital silence.
_KEPT_SILENCE = RATE // 10  # Samples that TrimSilence leaves on each side.
_INNER_DOT = re.compile(r'(?<=[^\W\d_])\.(?=[^\W\d_]{2})')


@dataclasses.dataclass(frozen=True)
class Line:
  """A sound of a game, with its words if the game has them."""

  member: str  # Name of the sound in `container`.
  text: str  # As the game spells it, without its commands; '' if the game has no words for it.
  speaker: str  # A character, not a person: one actor may speak several.
  container: Any  # See importers.Utterance.
  source: str  # Path of the file that holds the sound.
  reason: str = ''  # One of audio.REASONS if the line is to be left out.
  detail: str = ''


def SpokenText(text: str) -> str:
  """Returns the text with a space behind each full stop, so that none is read as the dot of a web address."""
  return ' '.join(_INNER_DOT.sub('. ', text).split())


def TrimSilence(samples: bytes) -> bytes:
  """Returns 8 bit samples with at most 0.1 s of digital silence at the start and at the end."""
  silence = bytes((SILENCE,))
  start = len(samples) - len(samples.lstrip(silence))
  end = len(samples.rstrip(silence))
  return samples[max(0, start - _KEPT_SILENCE) : end + _KEPT_SILENCE] if end else b''


def WaveFile(samples: bytes) -> bytes:
  """Returns a WAV file of 8 bit samples; b'' if there are none."""
  if not samples:
    return b''
  out = io.BytesIO()
  with wave.open(out, 'wb') as f:
    f.setnchannels(1)
    f.setsampwidth(1)
    f.setframerate(RATE)
    f.writeframes(samples)
  return out.getvalue()
