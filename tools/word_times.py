"""Measures how far the word times of a run's transcripts are from the truth, on speech that says where its words begin.

  python -m tools.word_times runs/adapted
  python -m tools.word_times runs/adapted --input=sentences.txt --sentences=500 --output=word_times.json

eSpeak NG speaks sentences, each with one of its voices, and tells where each word begins; a word ends where the next
begins. The run transcribes them. Words that it recognised right are compared: the error of starts and of ends, in
milliseconds, above 0 if a time is late. Times of a transducer or CTC are those at which it emits labels, so that they
are late by a part of a word, the same part for most words: `mean` is this delay, `spread` what is left without it.
Exit code 0: measured; 1: the output cannot be written; 2: wrong usage or run, or no word was recognised right.
"""

import json
import os
import sys
from collections.abc import Sequence

import numpy as np

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.data.normalizers import prompts
from fm_lingvo.decoding import search_options
from fm_lingvo.evaluation import alignment
from fm_lingvo.inference import transcript
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .common import flag_types
from .common import run_flags
from .common import run_model
from .figures import kept_figures
from .speech_synthesis import speech_engines
from .speech_synthesis import synth

_VOICES = ('en-us', 'en-us+f3', 'en-us+m3', 'en-gb-scotland', 'en-gb-x-rp', 'en-us+f5')


def Errors(
  words: Sequence[str], starts: Sequence[float | None], found: Sequence[transcript.Word]
) -> tuple[list[float], list[float]]:
  """Compares a transcript with the words that were spoken.

  Args:
    words: Those spoken.
    starts: Their starts in seconds, None where unknown.
    found: Those recognised.

  Returns:
    (errors of starts, errors of ends), in seconds, of words that were recognised right and whose time is known.
  """
  (pairs,) = alignment.Align([' '.join(words)], [' '.join(word.text for word in found)])
  left = right = 0
  of_starts, of_ends = [], []
  for spoken, heard in pairs:
    if spoken is not None and spoken == heard:
      start, end = starts[left], starts[left + 1] if left + 1 < len(words) else None
      of_starts += [found[right].start - start] if start is not None else []
      of_ends += [found[right].end - end] if end is not None else []
    left, right = left + (spoken is not None), right + (heard is not None)
  return of_starts, of_ends


# Key of Summary -> what it is called in docs/results.
_FIGURES = {
  'mean': 'error, mean (delay)',
  'median': 'error, median',
  'spread': 'error without the delay, median',
  'mean_absolute': 'absolute error, mean',
  'absolute_90': 'absolute error, 90 %',
}


def Summary(seconds: Sequence[float]) -> dict[str, float]:
  """Returns the figures of errors in milliseconds."""
  ms = 1000 * np.asarray(seconds)
  return {
    'count': len(ms),
    'mean': round(float(ms.mean()), 1),
    'median': round(float(np.median(ms)), 1),
    'spread': round(float(np.median(np.abs(ms - np.median(ms)))), 1),
    'mean_absolute': round(float(np.abs(ms).mean()), 1),
    'absolute_90': round(float(np.percentile(np.abs(ms), 90)), 1),
  }


def _Spoken(path: str, count: int) -> list[tuple[list[str], list[float | None], np.ndarray, int]]:
  """Speaks the first sentences of a text file: their words, the starts of these, samples, sampling rate."""
  spoken = []
  for number, line in enumerate(synth.ReadText(path)[:count]):
    text = prompts.Normalize(line, 'en')
    if text:
      voice = _VOICES[number % len(_VOICES)]
      samples, rate, starts = speech_engines.SpeakWithTimes(voice, text, speed=1.0, pitch=50)
      spoken.append((text.split(' '), starts, samples, rate))
  return spoken


def _Run(args):
  kept_figures.Start('word_times', args)
  if args.sentences < 1:
    raise errors.ConfigError(f'--sentences={args.sentences}: expected >= 1')
  why = speech_engines.WhyMissing('espeak-ng')
  if why:
    raise errors.ConfigError(f'eSpeak NG is not installed: {why}')
  spoken = _Spoken(args.input, args.sentences)
  of_starts, of_ends, number = [], [], 0
  with run_model.Load(args, args.run) as model:
    results = model.transcribe([(samples, rate) for *_, samples, rate in spoken])
    for (words, starts, *_), result in zip(spoken, results):
      found = Errors(words, starts, result.words)
      of_starts, of_ends, number = of_starts + found[0], of_ends + found[1], number + len(words)
  if not of_starts or not of_ends:
    raise errors.ConfigError(f'{args.run}: none of {number} words was recognised right; nothing to measure')
  row = {
    'sentences': len(spoken),
    'words': number,
    'starts_ms': Summary(of_starts),
    'ends_ms': Summary(of_ends),
  }
  for name in ('starts_ms', 'ends_ms'):
    print(f'{name.removesuffix("_ms")}: ' + ', '.join(f'{key} {value:g}' for key, value in row[name].items()))
  print(f'{len(of_starts)} of {number} words, {len(spoken)} sentences; errors in ms, above 0: late')
  figures = [('words recognised right', len(of_starts), f'of {number}')]
  for name, what in (('starts_ms', 'starts of words'), ('ends_ms', 'ends of words')):
    figures += [(f'{what}: {_FIGURES[key]}', row[name][key], 'ms') for key in _FIGURES]
  kept_figures.Keep(args, figures)
  if args.output:
    with errors.Writing(f'--output={args.output}'), open(args.output, 'w', encoding='utf-8') as f:
      f.write(json.dumps(row, indent=2) + '\n')


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('word_times', __doc__)
  parser.add_argument('run', metavar='RUN', type=run_flags.RunFolder, help='folder of a run that recognises English')
  parser.add_argument(
    '--input',
    type=file_system.ExpandUser,
    default=synth.DEFAULT_TEXT,
    metavar='FILE',
    help='text, a sentence a line (default: the sentences of the importer synth)',
  )
  parser.add_argument('--sentences', type=int, default=200, help='how many of them, from the first (default: 200)')
  run_flags.AddAdapter(parser)
  run_flags.AddWeights(parser)
  search_options.AddFlags(parser)
  user_modules.AddFlag(parser)
  parser.add_argument('--output', type=flag_types.LocalPath, metavar='FILE', help='JSON with the figures')
  kept_figures.AddFlags(parser)
  given = (argv or sys.argv)[1:]
  args = parser.parse_args(given)
  args.given = given
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  return exit_codes.Report('word_times', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
