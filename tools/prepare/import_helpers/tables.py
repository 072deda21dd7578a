"""Rows of tables with a header: CSV and TSV, with or without quotation marks around fields."""

import csv
import os

from fm_lingvo.data import dataset
from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import suggest
from fm_lingvo.utils import text_lines

from ...common import exit_codes

_DELIMITERS = {'.tsv': '\t', '.tab': '\t', '.psv': '|'}  # By extension; otherwise the header decides.


def Delimiter(path):
  """Returns the delimiter of a table: by its extension, or the most frequent of tab , ; | in its first line."""
  extension = os.path.splitext(path.removesuffix('.gz'))[1].lower()
  if extension in _DELIMITERS:
    return _DELIMITERS[extension]
  header = next((line for _, line in text_lines.Lines(path)), '')
  return max('\t,;|', key=header.count)


def IsQuoted(path, delimiter):
  """Returns whether quotation marks enclose the fields of a table, or are part of the text, as in Common Voice's.

  They enclose fields if the whole table can be read so. A table whose lines all have the same number of fields is read
  line by line, so that a mark that opens a text and never closes cannot hide the lines that follow.
  """
  plain = [len(values) for _, values in _Plain(path, delimiter)]
  try:
    quoted = [len(values) for _, values in _Quoted(path, delimiter)]
  except dataset.DatasetError:
    return delimiter != '\t' and len(set(plain)) > 1  # With quotes, a field may have commas; the error is raised later.
  if len(set(plain)) <= 1:
    return len(quoted) == len(plain)
  return delimiter != '\t' or len(set(quoted)) == 1


def Rows(listing, path, *, delimiter='\t', quoted=False, names=None):
  """Yields (line number, {column: value}) of a table; an empty field is None.

  Args:
    listing: importers.Listing; a row with another number of fields is rejected.
    path: Local or remote file in UTF-8, as text_lines.Lines reads it.
    delimiter: Character between fields.
    quoted: Whether quotation marks enclose fields, which then may have delimiters, line ends and doubled marks.
    names: Names of the columns of a table without a header; None: the first row has them.

  Raises:
    dataset.DatasetError: The table is not UTF-8, its quotation marks do not match, or two columns have one name.
  """
  for number, values in (_Quoted if quoted else _Plain)(path, delimiter):
    if names is None:
      names = [name.strip() for name in values]
      twice = [name for i, name in enumerate(names) if name in names[:i]]
      if twice:
        raise dataset.DatasetError(f'{path}:{number}: two columns are named {twice[0]!r}')
    elif len(values) != len(names):
      shown = delimiter.join(values)[:60]
      detail = f'{len(values)} fields, expected {len(names)} ({", ".join(names)}): {shown}'
      listing.Reject('', f'{path}:{number}', 'bad_entry', detail)
    else:
      yield number, {name: value if value != '' else None for name, value in zip(names, values)}


def Keys(path, columns, named):
  """Returns {column: key} of a table with the audio as audio_filepath; other columns keep their names.

  Args:
    path: The table, for errors.
    columns: List of the names of its columns.
    named: {name of an option: (column, key of manifest_keys.ALIASES)} for columns that the user names.

  Raises:
    exit_codes.UsageError: There is no such column, or none or several have the audio.
  """
  keys = {}
  for option, (column, key) in named.items():
    if column not in columns:
      raise exit_codes.UsageError(
        f'--{option}={column}: not a column of {path}, which has {", ".join(columns)}{suggest.Hint(column, columns)}'
      )
    if column in keys:
      raise exit_codes.UsageError(f'--{option}={column}: the column is {keys[column]} already')
    keys[column] = key
  if 'audio_filepath' not in keys.values():
    names = ('audio_filepath', *manifest_keys.ALIASES['audio_filepath'])
    found = [column for column in columns if column.lower() in names and column not in keys]
    if len(found) != 1:
      problem = f'columns {" and ".join(found)} may both have it' if found else f'expected {", ".join(names[:3])}, ...'
      raise exit_codes.UsageError(
        f'{path}: --audio_column is needed for the column with the audio: {problem}; found {", ".join(columns)}'
      )
    keys[found[0]] = 'audio_filepath'
  taken = set(keys.values())
  return {column: keys.get(column) or (f'{column} (column)' if column in taken else column) for column in columns}


def _Plain(path, delimiter):
  for number, line in text_lines.Lines(path):
    if line.strip():
      yield number, line.split(delimiter)


def _Quoted(path, delimiter):
  reader = csv.reader((line + '\n' for _, line in text_lines.Lines(path)), delimiter=delimiter, strict=True)
  try:
    for values in reader:
      if values:
        yield reader.line_num, values
  except csv.Error as e:
    raise dataset.DatasetError(
      f'{path}:{reader.line_num}: {e}; --quotes=no reads quotation marks as part of the text'
    ) from e
