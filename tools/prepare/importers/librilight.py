"""Libri-Light, unlabeled: {small,medium,large,duplicate}/SPEAKER/BOOK/*.flac, and .json with the places of speech."""

import json
import os

from fm_lingvo.utils import audio
from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ...common import files
from .. import importers

OPTIONS = (
  'input',
  importers.Option(
    'part_seconds', '30', 'Longest part of a recording, cut between stretches of speech; 0: whole files.'
  ),
)
_MAX_PAUSE = 1.0  # Seconds of silence inside a part.


def Import(options):
  """Lists the recordings below --input, one or more comma-separated folders, in parts.

  The .json has `speaker` and `voice_activity`, [[start, end], ...] in seconds. Neighbouring stretches of speech are one
  part, as long as it stays within --part_seconds. A stretch that is longer is a part of its own.

  Raises:
    exit_codes.UsageError: --input is not a folder, or has no FLAC files; --part_seconds is not a number.
  """
  listing = importers.Listing()
  try:
    longest = float(options.own.get('part_seconds', 30))
  except ValueError as e:
    raise exit_codes.UsageError(f'--part_seconds={options.own["part_seconds"]}: expected seconds') from e
  for part in (options.input or '').split(','):
    root = files.RequireDirectory('librilight', part)
    count = 0
    for directory, names in files.Walk(root):
      for name in (name for name in names if name.endswith('.flac')):
        _ImportRecording(listing, os.path.join(directory, name), longest)
        count += 1
    if not count:
      raise exit_codes.UsageError(f'--input={part}: no *.flac below it; expected the layout of Libri-Light')
  return listing


def _ImportRecording(listing, path, longest):
  subset, speaker, book = os.path.dirname(os.path.abspath(path)).split('/')[-3:]
  stem = os.path.splitext(path)[0]
  utt_id = '/'.join((subset, speaker, book, os.path.basename(stem)))
  common = dict(text='', speaker=speaker, domain=f'librilight/{subset}', source=path, language='en')
  if not longest:
    listing.utterances.append(importers.Utterance(utt_id, **common))
    return
  try:
    with file_system.Open(f'{stem}.json') as f:
      spans = [(float(start), float(end)) for start, end in json.load(f)['voice_activity']]
    if not all(abs(time) < audio.MOST_SECONDS for span in spans for time in span):
      raise ValueError(f'expected seconds < {audio.MOST_SECONDS:g}')
  except (OSError, KeyError, OverflowError, TypeError, ValueError) as e:
    detail = f'{stem}.json has no voice_activity ({type(e).__name__}: {e}); --part_seconds=0 takes whole files'
    listing.Reject(utt_id, path, 'bad_entry', detail)
    return
  for start, end in Parts(spans, longest):
    name = f'{utt_id}@{round(1000 * start)}-{round(1000 * end)}'
    listing.utterances.append(importers.Utterance(name, offset=start, seconds=end - start, **common))


def Parts(spans, longest):
  """Joins spans of speech, [(start, end)] in seconds, to parts of at most `longest` seconds with short pauses."""
  parts = []
  for start, end in sorted(span for span in spans if 0 <= span[0] < span[1]):
    if parts and start - parts[-1][1] <= _MAX_PAUSE and end - parts[-1][0] <= longest:
      parts[-1] = (parts[-1][0], end)
    else:
      parts.append((start, end))
  return parts
