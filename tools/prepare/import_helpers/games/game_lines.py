"""A line of a game, and its sound as a WAV file: 8 bit unsigned PCM, 11025 Hz, mono."""

import dataclasses
import io
import re
import wave
from typing import Any

RATE = 11025  # Hz
SILENCE = 0x80  # The sample value of digital silence.
_KEPT_SILENCE = RATE // 10  # Samples that TrimSilence leaves on each side.
_UNSPOKEN = re.compile(r'\^_|@@')  # A trade mark sign, and notes around a sung line.
_NUMBERED = re.compile(r'\b([A-Z]{2,})(?=\d)')  # WD40 is spelled.
_NOISE = re.compile(r'[(<](?!Y/N)[^)>]*[)>]')  # A noise instead of words, or over them: <sneeze>, (sigh).
_GAGGED = re.compile(r'mm[pn]?f|mgh|\bmm+ph', re.IGNORECASE)
_HUM = re.compile(r'[hm]*', re.IGNORECASE)


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
  """Returns the text without signs that a normaliser would take for words, and with acronyms before digits spelled."""
  return ' '.join(_NUMBERED.sub(lambda m: ' '.join(m.group()) + ' ', _UNSPOKEN.sub(' ', text)).split())


def NotSpeech(text: str) -> str:
  """Returns why the sound of a text is not ordinary speech, '' if it is: a noise, or the mumble of a gagged voice."""
  if _NOISE.search(text):
    return f'a noise: {text}'
  if _GAGGED.search(text):
    return f'a gagged voice: {text}'
  letters = re.sub(r'[\W\d_]', '', text)
  vowels = sum(c in 'aeiouyAEIOUY' for c in letters)
  if len(letters) >= 5 and vowels < 0.15 * len(letters) and not _HUM.fullmatch(letters):
    return f'no words: {text}'
  return ''


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
