"""LibriTTS and LibriTTS-R: SUBSET/SPEAKER/CHAPTER/ID.wav with ID.normalized.txt and ID.original.txt."""

import os

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ...common import files
from .. import importers
from ..import_helpers import inputs
from ..import_helpers import lines
from ..import_helpers import rows

OPTIONS = (
  'input',
  importers.Option('text', 'normalized', 'normalized, with numbers as words, or original; both cased and punctuated.'),
)


def Import(options):
  """Lists every utterance below --input, one or more comma-separated folders.

  The domain is libritts/SUBSET, and the first part of SUBSET, such as dev of dev-clean, the split. A recording without
  a text and a text without a recording are rejected.

  Raises:
    exit_codes.UsageError: --input is missing or does not have this layout.
  """
  suffix = f'.{inputs.Choice(options, "text", ("normalized", "original"))}.txt'
  listing = importers.Listing()
  for part in (options.input or '').split(','):
    root = files.RequireDirectory('libritts', part)
    found = 0
    for directory, names in file_system.Walk(root):
      found += _ImportChapter(listing, directory, set(names), suffix)
    if not found:
      raise exit_codes.UsageError(f'--input={part}: no *{suffix} below it; expected the layout of LibriTTS')
  return listing


def _ImportChapter(listing, directory, names, suffix):
  """Lists the utterances of a folder; returns their number."""
  subset, speaker = ('/' + file_system.Absolute(directory)).split('/')[-3:-1]
  stems = {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
  for stem in sorted(stems):
    source, text_path = (os.path.join(directory, stem + end) for end in ('.wav', suffix))
    if f'{stem}.wav' not in names:
      listing.Reject(stem, text_path, 'no_audio', f'no {stem}.wav beside the transcript')
      continue
    text = lines.Text(listing, stem, source, text_path)
    if text is None:
      continue
    listing.utterances.append(
      importers.Utterance(
        stem, text, speaker, f'libritts/{subset}', source, split=rows.SplitName(subset), language='en'
      )
    )
  for name in sorted(names):
    if name.endswith('.wav') and name.removesuffix('.wav') not in stems:
      listing.Reject(name.removesuffix('.wav'), os.path.join(directory, name), 'no_text', f'no {name[:-4]}{suffix}')
  return len(stems)
