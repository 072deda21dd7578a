"""FLEURS: LANGUAGE/{train,dev,test}.tsv without a header, and LANGUAGE/audio/{train,dev,test}/*.wav (unpacked)."""

import os

from fm_lingvo.utils import files as file_system

from .. import importers
from ..import_helpers import inputs
from ..import_helpers import rows
from ..import_helpers import tables

OPTIONS = (
  'input',
  importers.Option('text', 'raw', 'raw, or normalized: lower case without punctuation.'),
)
_COLUMNS = ('sentence', 'file', 'raw', 'normalized', 'characters', 'num_samples', 'gender')
_SPLITS = ('train', 'dev', 'test')
_LANGUAGES = {'cmn': 'zh', 'fil': 'tl'}  # Folder's -> usual code, if they differ.


def Import(options):
  """Lists the utterances of --input, a folder such as en_us, or a folder of these.

  The tables have no quotation marks around fields. There are no speakers; a row's first column is the number of
  its sentence, which several people read. The number of samples, at 16 kHz, must match the audio.

  Raises:
    exit_codes.UsageError: --input does not have this layout.
  """
  text = inputs.Choice(options, 'text', ('raw', 'normalized'))
  importer = rows.Importer(options, 'fleurs')
  for root in inputs.Roots('fleurs', options, [f'{split}.tsv' for split in _SPLITS]):
    name = inputs.Name(root)
    language = name.partition('_')[0]
    for split in _SPLITS:
      path = os.path.join(root, f'{split}.tsv')
      if not file_system.Exists(path):
        continue
      for number, row in tables.Rows(importer.listing, path, names=_COLUMNS):
        samples = row['num_samples'] or ''
        entry = {
          'utt_id': f'{name}/{os.path.splitext(row["file"] or "")[0]}',
          'audio_filepath': row['file'] and f'audio/{split}/{row["file"]}',
          'text': row[text],
          'duration': int(samples) / 16000 if samples.isdecimal() else None,
          'lang': _LANGUAGES.get(language, language),
          'domain': f'fleurs/{name}',
        }
        importer.Add(entry, f'{path}:{number}', split=split)
  return importer.listing
