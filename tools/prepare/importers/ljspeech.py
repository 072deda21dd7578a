"""LJ Speech 1.1, and corpora in its form: metadata.csv with `ID|TEXT|NORMALISED TEXT`, no header, and wavs/ID.wav."""

import os

from .. import importers
from ..import_helpers import inputs
from ..import_helpers import rows
from ..import_helpers import tables

_TEXTS = {'original': 'text', 'normalized': 'normalized'}
OPTIONS = (
  'input',
  'languages',
  importers.Option('text', 'original', 'original, or normalized: numbers and abbreviations as words.'),
)


def Import(options):
  """Lists the utterances of --input, a folder with metadata.csv or folders of these.

  The table has no quotation marks around fields. The language is that of --languages, otherwise en for the one speaker
  of LJ Speech, whose ids begin with LJ.

  Raises:
    exit_codes.UsageError: --input does not have this layout.
  """
  text = _TEXTS[inputs.Choice(options, 'text', tuple(_TEXTS))]
  importer = rows.Importer(options, 'ljspeech', inputs.Language(options))
  for root in inputs.Roots('ljspeech', options, ['metadata.csv']):
    path = os.path.join(root, 'metadata.csv')
    names = ('id', 'text', 'normalized')
    for number, row in tables.Rows(importer.listing, path, delimiter='|', names=names):
      is_lj = (row['id'] or '').startswith('LJ')
      importer.Add(
        {
          'utt_id': row['id'],
          'audio_filepath': f'wavs/{row["id"]}.wav',
          'text': row[text],
          'speaker': 'LJ' if is_lj else inputs.Name(root),
          'lang': 'en' if is_lj and not options.languages else None,
        },
        f'{path}:{number}',
      )
  return importer.listing
