"""VoxPopuli's transcribed speech: LANGUAGE/asr_{train,dev,test}.tsv and LANGUAGE/YEAR/ID.ogg."""

import os

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from .. import importers
from ..import_helpers import inputs
from ..import_helpers import rows
from ..import_helpers import tables

_TEXTS = {'normalized': 'normalized_text', 'raw': 'raw_text'}
OPTIONS = (
  'input',
  importers.Option('text', 'normalized', 'normalized, or raw: cased and punctuated; some raw texts are empty.'),
)


def Import(options):
  """Lists the utterances of --input, transcribed_data or one of its folders of a language.

  This is what its get_asr_data.py writes. The columns are id, raw_text, normalized_text, speaker_id, split and gender,
  without quotation marks around fields. The year is the beginning of the id. Unlabeled speech (unlabelled_data) is read
  by --importer=folder.

  Raises:
    exit_codes.UsageError: --input does not have this layout.
  """
  text = _TEXTS[inputs.Choice(options, 'text', tuple(_TEXTS))]
  importer = rows.Importer(options, 'voxpopuli')
  for root in inputs.Roots('voxpopuli', options, [f'asr_{split}.tsv' for split in ('train', 'dev', 'test')]):
    language = inputs.Name(root)
    for split in ('train', 'dev', 'test'):
      path = os.path.join(root, f'asr_{split}.tsv')
      if not file_system.Exists(path):
        continue
      for number, row in tables.Rows(importer.listing, path):
        missing = [column for column in ('id', text) if column not in row]
        if missing:
          raise exit_codes.UsageError(f'{path}: no column {missing[0]}; found {", ".join(row)}')
        utt_id = row['id'] or ''
        entry = {
          'utt_id': utt_id,
          'audio_filepath': utt_id and f'{utt_id[:4]}/{utt_id}.ogg',
          'text': row[text],
          'speaker': row.get('speaker_id'),
          'lang': language.partition('_')[0],  # en_accented.
          'domain': f'voxpopuli/{language}',
        }
        importer.Add(entry, f'{path}:{number}', split=split)
  return importer.listing
