"""Common Voice: LANGUAGE/train.tsv, dev.tsv and test.tsv, or validated.tsv (--tables), and LANGUAGE/clips/."""

import os

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from .. import importers
from ..import_helpers import inputs
from ..import_helpers import rows
from ..import_helpers import tables

OPTIONS = (
  'input',
  importers.Option('tables', 'train,dev,test', 'Tables to import, such as validated or train,dev,test,other.'),
)
_KEYS = {'sentence': 'text', 'client_id': 'speaker', 'locale': 'lang'}


def Import(options):
  """Lists the clips of --input, a folder of a language, or the folder of a release with folders of languages.

  The id is the name of the clip, the speaker client_id, the language `locale` or, without it, the folder's name; the
  split is the table's name. The tables have no quotation marks around fields (Mozilla's exporter writes none); their
  other columns, such as votes, age and accents, are not used.

  Raises:
    exit_codes.UsageError: --input does not have this layout, or lacks all of the tables.
  """
  importer = rows.Importer(options, 'common_voice')
  names = options.own.get('tables', 'train,dev,test').split(',')
  for root in inputs.Roots('common_voice', options, [f'{name}.tsv' for name in names]):
    for name in names:
      path = os.path.join(root, f'{name}.tsv')
      if file_system.Exists(path):
        _ImportTable(importer, path, name, inputs.Name(root))
  return importer.listing


def _ImportTable(importer, path, name, language):
  for number, row in tables.Rows(importer.listing, path):
    missing = [column for column in ('path', 'sentence') if column not in row]
    if missing:
      raise exit_codes.UsageError(f'{path}: no column {missing[0]}; found {", ".join(row)}')
    clip = row['path'] or ''
    stem, extension = os.path.splitext(clip)
    entry = {key: row.get(column) for column, key in _KEYS.items()}
    entry['lang'] = entry['lang'] if entry['lang'] is not None else language
    entry['audio_filepath'] = clip and f'clips/{clip if extension else clip + ".mp3"}'  # Old releases: no extension.
    importer.Add(
      {**entry, 'utt_id': stem, 'domain': f'common_voice/{language}'}, f'{path}:{number}', split=_Split(name)
    )


def _Split(table):
  return table if table in ('train', 'dev', 'test') else None
