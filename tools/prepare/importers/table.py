"""CSV and TSV tables with a header: the path of the audio, text, speaker, ... by the usual names or --NAME_column."""

import os

from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ...common import files
from .. import importers
from ..import_helpers import inputs
from ..import_helpers import rows
from ..import_helpers import tables

# Own option -> key of rows.
_COLUMNS = {
  **{f'{name}_column': name for name in ('text', 'speaker', 'split', 'channel', 'duration', 'offset', 'end')},
  **{'audio_column': 'audio_filepath', 'id_column': 'utt_id', 'language_column': 'lang'},
}
_DELIMITERS = {'tab': '\t', 'comma': ',', 'semicolon': ';', 'bar': '|'}
_AUTO = ('auto', 'yes', 'no')
OPTIONS = (
  'input',
  'audio_roots',
  'languages',
  *(
    importers.Option(
      name, None, f'Column for {key}; by default {key}, {", ".join(manifest_keys.ALIASES[key][:4])}, ...'
    )
    for name, key in _COLUMNS.items()
  ),
  importers.Option('delimiter', 'auto', 'tab, comma, semicolon or bar; auto: by extension, or as the header shows.'),
  importers.Option('quotes', 'auto', 'yes or no: whether quotation marks enclose fields; auto: if all rows fit it.'),
  importers.Option('audio_folder', None, "Folder where relative paths begin, if it is not the table's."),
)


def Import(options):
  """Lists the utterances of the tables --input=FILE,... or --input=SPLIT=FILE,...

  The columns are the keys of import_helpers/rows.py. Without SPLIT= and a column, the split is the one that the table's
  name has as a word, such as train.csv. A row with another number of fields than the header is rejected.

  Raises:
    exit_codes.UsageError: A table or one of its columns is missing, or an option has an unknown value.
    dataset.DatasetError: A table is not UTF-8, or its quotation marks do not match.
  """
  if not options.input:
    raise exit_codes.UsageError('--importer=table needs --input=TABLE.csv')
  delimiter = inputs.Choice(options, 'delimiter', ('auto', *_DELIMITERS))
  quotes = inputs.Choice(options, 'quotes', _AUTO)
  audio_folder = options.own.get('audio_folder')
  named = {name: (options.own[name], key) for name, key in _COLUMNS.items() if options.own.get(name)}
  importer = rows.Importer(
    inputs.Trusting(options, [audio_folder] if audio_folder else []), 'table', inputs.Language(options)
  )
  for part in options.input.split(','):
    split, path = inputs.SplitOf(part)
    split = split or inputs.SplitOfName(path)
    files.RequireFile(path, 'a table')
    separator = _DELIMITERS.get(delimiter) or tables.Delimiter(path)
    quoted = tables.IsQuoted(path, separator) if quotes == 'auto' else quotes == 'yes'
    keys = None
    for number, row in tables.Rows(importer.listing, path, delimiter=separator, quoted=quoted):
      keys = keys or tables.Keys(path, list(row), named)
      row = {keys[name]: value for name, value in row.items()}
      audio = row['audio_filepath']
      if audio_folder and audio is not None:
        row['audio_filepath'] = os.path.join(_From(os.path.dirname(path), audio_folder), audio)
      importer.Add(row, f'{path}:{number}', split=split)
  return importer.listing


def _From(folder, other):
  """Returns the path of `other` as a file in `folder` names it."""
  is_remote = file_system.IsRemote(folder) or file_system.IsRemote(other)
  return file_system.Absolute(other) if is_remote else os.path.relpath(other, folder or '.')
