"""The rows of a Parquet or Arrow file as entries (rows.py), with the container of their recordings."""

import json
import math

import pyarrow as pa

from fm_lingvo import errors
from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import suggest

from ...common import exit_codes
from . import arrow_rows

_SCALARS = (
  pa.types.is_string,
  pa.types.is_large_string,
  pa.types.is_integer,
  pa.types.is_floating,
  pa.types.is_boolean,
  pa.types.is_null,
  pa.types.is_dictionary,
)


def Rows(listing, path, *, audio_column, columns):
  """Yields (row in the file, entry, container or None, member) of a file; `audio_filepath` is the path, or None.

  Args:
    listing: importers.Listing; gets damage, and the columns that are not used.
    path: Local or remote file.
    audio_column: Name of the column with the audio; None: the one that the data set declares, or `audio`.
    columns: dict of some of manifest_keys.ALIASES -> the column that is it, for other columns than those named like it.

  Raises:
    exit_codes.UsageError: A column is missing or cannot be used.
  """
  number = 0
  try:
    with arrow_rows.Open(path) as table:
      features = _Features(table.schema)
      audio_column = _AudioColumn(path, table.schema, features, audio_column)
      used = _Used(listing, path, table.schema, audio_column, columns)
      paths = _PathOf(table.schema.field(audio_column).type, audio_column)
      ignored = [name for name in table.schema.names if name not in used and name != audio_column]
      for group, part, embedded in table.Groups([*used, *paths], audio_column):
        listing.ignored.update({name: len(part) for name in ignored})
        for i, (row, own) in enumerate(zip(part, embedded, strict=True)):
          if isinstance(row, Exception):
            listing.Reject('', f'{path}:{number + i}', 'corrupt', errors.OneLine(row))
            continue
          entry = {key: _Value(row[name], features.get(name)) for name, key in used.items()}
          entry['audio_filepath'] = next((row[name] for name in paths), None)
          yield number + i, entry, arrow_rows.Group(path, group, audio_column) if own else None, i
        number += len(part)
  except arrow_rows.DAMAGE as e:
    if isinstance(e, exit_codes.UsageError):
      raise
    listing.Reject('', path, 'corrupt', f'damaged after row {number} ({errors.OneLine(e)}); what follows is lost')


def _Features(schema):
  """Returns dict column -> what Hugging Face's `datasets` has stored of it."""
  try:
    return json.loads((schema.metadata or {}).get(b'huggingface', b'{}'))['info']['features'] or {}
  except (AttributeError, KeyError, TypeError, ValueError):
    return {}


def _AudioColumn(path, schema, features, name):
  declared = [n for n, f in features.items() if isinstance(f, dict) and f.get('_type') == 'Audio' and n in schema.names]
  name = name or (declared[0] if len(declared) == 1 else 'audio')
  if name not in schema.names:
    raise exit_codes.UsageError(
      f'{path}: no column {name}; name that of the audio by --audio_column: {", ".join(schema.names)}'
      f'{suggest.Hint(name, schema.names)}'
    )
  kind = schema.field(name).type
  children = {f.name for f in kind} if pa.types.is_struct(kind) else set()
  binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
  if not (binary or arrow_rows.IsText(kind) or children & {'bytes', 'path'} or {'array', 'sampling_rate'} <= children):
    raise exit_codes.UsageError(f'{path}: column {name} is {kind}; expected a struct with bytes, path or array')
  return name


def _PathOf(kind, column):
  """Returns the names of the columns with paths of recordings: none or one."""
  if arrow_rows.IsText(kind):
    return [column]
  children = {f.name: f.type for f in kind} if pa.types.is_struct(kind) else {}
  return [f'{column}.path'] if 'path' in children and arrow_rows.IsText(children['path']) else []


def _Used(listing, path, schema, audio_column, columns):
  """Returns dict column -> key: the columns that are asked for, and those with the name of a key."""
  used = {}
  for key, name in columns.items():
    if name not in schema.names:
      hint = suggest.Hint(name, schema.names)
      raise exit_codes.UsageError(f'{path}: no column {name}; it has {", ".join(schema.names)}{hint}')
    used[name] = key
  for name in schema.names:
    key = manifest_keys.KeyOf(name)
    if key in (None, 'audio_filepath', 'utt_id') or key in columns or name in used or name == audio_column:
      continue
    if _IsScalar(schema.field(name).type):
      used[name] = name
    elif key == 'text':
      raise exit_codes.UsageError(f'{path}: column {name} is {schema.field(name).type}; choose one by --text_column')
  return used


def _IsScalar(kind):
  return any(test(kind) for test in _SCALARS)


def _Value(value, feature):
  """Returns a value of a table: the name of a class instead of its number; None for NaN."""
  if isinstance(value, float) and math.isnan(value):
    return None
  names = feature.get('names') if isinstance(feature, dict) and feature.get('_type') == 'ClassLabel' else None
  if names and isinstance(value, int):
    return names[value] if 0 <= value < len(names) else None
  return value
