"""Imports general English text spoken by many synthetic voices: labeled source speech for a recogniser.

There are four engines: Piper (neural, the most natural), Flite and Pico (statistical and diphone voices) and eSpeak NG
(formant synthesis). A voice NAME@F is the voice NAME, resampled so that its pitch and its formants are F
times as high at the same speed; it sounds like another speaker. A hash of each line chooses its voice, speed, pitch,
variation and level.
"""

import dataclasses
import functools
import hashlib
import re

import numpy as np

from fm_lingvo import audio

from ..prepare import importers
from . import general_text
from . import speech_engines
from . import synth

OPTIONS = ('input', 'engines', 'max_utterances', 'exclude')
DOMAIN = 'synth'
ENGINES = ('piper', 'pico', 'flite', 'espeak-ng')


@dataclasses.dataclass(frozen=True)
class Part:
  """A voice of an engine, its shifts F, and its share of the lines."""

  engine: str
  voice: str
  shifts: tuple
  share: float

  def Names(self):
    return [self.voice if f == 1 else f'{self.voice}@{f:.2f}' for f in self.shifts]


_SHARE_OF_ESPEAK = 0.08
CAST = (
  Part('piper', 'joe', (0.9, 1, 1.06, 1.12, 1.18, 1.25), 0.36),
  Part('pico', 'en-US', (0.9, 1, 1.08), 0.10),
  Part('pico', 'en-GB', (0.9, 1, 1.08), 0.09),
  Part('flite', 'slt', (0.88, 0.94, 1, 1.06, 1.12), 0.17),
  Part('flite', 'rms', (0.94, 1, 1.08, 1.16), 0.09),
  Part('flite', 'awb', (0.94, 1, 1.08, 1.16), 0.09),
  Part('flite', 'kal16', (1, 1.1), 0.02),
  *(
    Part('espeak-ng', voice, (1,), _SHARE_OF_ESPEAK / len(synth.ENGINES['espeak-ng'].voices))
    for voice in synth.ENGINES['espeak-ng'].voices
  ),
)


def Import(options):
  """Lists an utterance per line of general_text, or of the text file --input.

  If an engine is missing, the others speak its lines. The id is general-ENGINE/VOICE/HASH, the domain synth/ENGINE, the
  speaker ENGINE/VOICE. With max_utterances, the utterances with the smallest hashes are kept, a random sample.

  Raises:
    exit_codes.UsageError: There is no such file, or an engine in --engines is unknown or missing, or all are missing.
  """
  listing = importers.Listing()
  engines, missing = speech_engines.Choose(options.engines, ENGINES)
  for name, why in missing.items():
    print(f'general_speech: without {name}: {why}', flush=True)
    listing.notes[f'no_{name}'] = why
  cast = [part for part in CAST if part.engine in engines]
  if options.input:
    lines = synth.ReadText(options.input)
  else:
    lines, listing.notes['text'] = general_text.Lines(options.exclude)
  listing.notes['engines'] = {name: speech_engines.Versions(name) for name in engines}
  listing.notes['voices'] = sum(len(part.shifts) for part in cast)
  keyed = sorted((hashlib.blake2b(line.encode('utf-8'), digest_size=8).hexdigest(), line) for line in lines)
  for key, line in keyed[: options.max_utterances]:
    listing.utterances.append(_Utterance(key, line, cast, options.input or 'general_text'))
  return listing


def _Utterance(key, line, cast, source):
  point = importers.Uniform(key, 'voice') * sum(part.share for part in cast)
  for part in cast:
    point -= part.share
    if point < 0:
      break
  index = int(importers.Uniform(key, 'shift') * len(part.shifts))
  voice = part.Names()[index]
  return importers.Utterance(
    f'general-{part.engine}/{voice}/{key}',
    line,
    f'{part.engine}/{voice}',
    f'{DOMAIN}/{part.engine}',
    source,
    functools.partial(_Speak, engine=part.engine, voice=part.voice, shift=part.shifts[index], key=key, line=line),
    language='en',
  )


def _Speak(max_seconds, *, engine, voice, shift, key, line):
  """Returns the utterance as int16 [N] at 16 kHz; a line is short, so only the caller checks max_seconds."""
  del max_seconds
  tempo = 0.85 + 0.35 * importers.Uniform(key, 'tempo')
  settings = {'speed': tempo / shift}
  if engine == 'espeak-ng':
    settings['pitch'] = round(35 + 30 * importers.Uniform(key, 'pitch'))
  elif engine == 'pico':
    settings['pitch'] = 0.9 + 0.2 * importers.Uniform(key, 'pitch')
  elif engine == 'piper':
    settings['noise'] = 0.3 + 0.6 * importers.Uniform(key, 'noise')
  samples, rate = speech_engines.Speak(engine, voice, Spoken(line), **settings)
  samples = audio.Resample(samples, round(rate * shift)).astype(np.float32)
  peak = 0.2 + 0.6 * importers.Uniform(key, 'level')
  return (samples * (peak * 32767 / max(np.abs(samples).max(), 1.0))).astype(np.int16)


def Spoken(line):
  """Returns the line as the engines should read it: a single letter A is not the article."""
  return re.sub(r'\bA(?=[,.])', 'ay', line)
