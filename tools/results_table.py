"""The form of docs/results/NAME.json, and the Markdown table made from it."""

import datetime
import importlib
import json
import math
import os
import re

from fm_lingvo import errors

from . import event_files
from .common import this_machine

# Field of a row -> (type, must it be there, its header in a table).
_FIELDS = {
  'name': (str, True, ''),
  'label': (str, True, 'run'),
  'value': ((int, float), True, 'value'),
  'unit': (str, True, 'unit'),
  'command': (str, True, 'command'),
  'date': (str, True, 'date'),
  'machine': (dict, True, 'machine'),
  'versions': (dict, True, 'versions'),
  'run': (str, False, 'folder'),
  'note': (str, False, 'note'),
}
_MACHINE = ('cpu', 'cores', 'memory_gb', 'system')
_VERSIONS = ('python', 'tensorflow', 'lingvo', 'commit')
# `form` of a result with rows of its own kind -> module with Check and Table of it.
_FORMS = {
  'recipe': 'tools.recipe_table',
  'cost': 'tools.cost_table',
  'faults': 'tools.faults.table',
  'benchmark': 'tools.bench.table',
}
_SHORT, _SHORT_FORMS = '/short', ('recipe', 'benchmark')  # These modules have Short, too.
_MARKER = re.compile(r'<!-- results:([^\s:]+):(begin|end) -->')


def Load(path):
  """The checked content of a result's file.

  Raises:
    errors.ConfigError: It is not JSON, or does not have the form.
  """
  with open(path, encoding='utf-8') as f:
    try:
      result = json.load(f)
    except ValueError as e:
      raise errors.ConfigError(f'{os.path.basename(path)}: not JSON: {e}') from e
  Check(result, path)
  return result


def Check(result, path):
  """Raises errors.ConfigError unless `result` has the form of docs/results/README.md."""
  where = os.path.basename(path)
  if not isinstance(result, dict) or not isinstance(result.get('rows'), list):
    raise errors.ConfigError(f'{where}: expected an object with a list `rows`')
  if 'form' in result:
    _Form(result, where).Check(result, path)
    return
  for key in result:
    if key not in ('rows', 'columns', 'spread'):
      raise errors.ConfigError(f'{where}: {key}{event_files.DidYouMean(key, ["rows", "columns", "spread"])}')
  columns = result.get('columns', [])
  for field in [*columns, *([result['spread']] if result.get('spread') else [])]:
    if field not in _FIELDS:
      raise errors.ConfigError(
        f'{where}: column {field}: no such field of a row{event_files.DidYouMean(field, _FIELDS)}'
      )
  seen = set()
  for i, row in enumerate(result['rows']):
    _CheckRow(row, f'{where}: rows[{i}]')
    if (row['name'], row['label']) in seen:
      raise errors.ConfigError(f'{where}: rows[{i}]: a second row named {row["name"]!r} with label {row["label"]!r}')
    seen.add((row['name'], row['label']))


def _Form(result, where):
  """Module that knows the result's form."""
  form = result['form']
  if form not in _FORMS:
    raise errors.ConfigError(f'{where}: form {form!r}: no such form{event_files.DidYouMean(str(form), _FORMS)}')
  return importlib.import_module(_FORMS[form])


def _CheckRow(row, where):
  for field in row:
    if field not in _FIELDS:
      raise errors.ConfigError(f'{where}.{field}: no such field{event_files.DidYouMean(field, _FIELDS)}')
  for field, (kind, required, _) in _FIELDS.items():
    if field not in row:
      if required:
        raise errors.ConfigError(f'{where}: no {field}')
    elif not isinstance(row[field], kind) or isinstance(row[field], bool):
      raise errors.ConfigError(f'{where}.{field} = {row[field]!r}: wrong type')
  if not math.isfinite(row['value']):
    raise errors.ConfigError(f'{where}.value = {row["value"]}: not a number')
  for field in ('name', 'command'):
    if not row[field].strip():
      raise errors.ConfigError(f'{where}.{field} is empty')
  for field, keys in (('machine', _MACHINE), ('versions', _VERSIONS)):
    missing = [key for key in keys if key not in row[field]]
    if missing:
      raise errors.ConfigError(f'{where}.{field}: no {", ".join(missing)}')
  try:
    datetime.date.fromisoformat(row['date'])
  except ValueError as e:
    raise errors.ConfigError(f'{where}.date = {row["date"]!r}: expected YYYY-MM-DD') from e


def FormatValue(value):
  """A number as a table shows it: whole from 1,000 on, else three or four digits."""
  if isinstance(value, int) or abs(value) >= 1000:
    return f'{value:,.0f}'
  return f'{value:.3f}' if abs(value) < 10 else f'{value:.1f}'


def _Cell(row, field):
  value = row.get(field, '')
  if field == 'value':
    unit = row['unit']
    return FormatValue(value) + (f' {unit}' if unit else '')
  if field == 'command':
    return f'`{value}`'
  if field == 'machine':
    return this_machine.Describe(value)
  if field == 'versions':
    return f'{this_machine.DescribeVersions(value)}, commit {value["commit"]}'
  return str(value)


def Table(result, short=False):
  """Markdown of a result.

  Args:
    result: As Load returns. `columns` are the fields shown (default name, value).
      With `spread`, rows of one name become one row of the table, and each value of
      that field (a label, say) a column in place of `value`.
    short: Whether only what matters most is shown, of a form in _SHORT_FORMS.

  Returns:
    The table, and below it the origin of its figures, once for each that differs.
  """
  if 'form' in result:
    form = _Form(result, 'result')
    return form.Short(result) if short else form.Table(result)
  columns = list(result.get('columns') or ['name', 'value'])
  rows, spread = result['rows'], result.get('spread', '')
  headers = [_FIELDS[c][2] for c in columns]
  if spread and 'value' in columns:
    at = columns.index('value')
    keys = list(dict.fromkeys(row[spread] for row in rows))
    headers[at : at + 1] = [key or _FIELDS['value'][2] for key in keys]
    body = []
    for name in dict.fromkeys(row['name'] for row in rows):
      own = {row[spread]: row for row in rows if row['name'] == name}
      first = next(iter(own.values()))
      cells = [_Cell(first, c) for c in columns]
      cells[at : at + 1] = [_Cell(own[k], 'value') if k in own else '' for k in keys]
      body.append(cells)
    align = [':--'] * at + ['--:'] * len(keys) + [':--'] * (len(columns) - at - 1)
  else:
    body = [[_Cell(row, c) for c in columns] for row in rows]
    align = ['--:' if c == 'value' else ':--' for c in columns]
  lines = [headers, align, *body]
  table = '\n'.join('| ' + ' | '.join(c.replace('|', r'\|') for c in cells) + ' |' for cells in lines)
  return '\n'.join([table, '', *_Origins(rows, columns)]).rstrip()


def _Origins(rows, columns):
  """Lines with command, date, machine and versions, for the rows that share them."""
  fields = [f for f in ('command', 'note', 'date', 'machine', 'versions') if f not in columns]
  groups = {}
  for row in rows:
    origin = '; '.join(text for text in (_Cell(row, f) for f in fields) if text)
    groups.setdefault((row['label'], origin), []).append(row['name'])
  labels = [label for label, _ in groups]
  if len(labels) > 1 and len({origin for _, origin in groups}) == 1:
    groups = {('', origin): names for (_, origin), names in groups.items()}  # All columns are of one measurement.
  lines = []
  for (label, origin), names in groups.items():
    # A label with several origins needs to say which figures are whose.
    names = ', '.join(names) if labels.count(label) > 1 else ''
    lead = ': '.join(part for part in (label, names) if part)
    if origin:
      lines.append(f'- {lead}: {origin}.' if lead else f'- {origin}.')
  return lines


def Regenerate(text, directory, page):
  """Puts tables between their markers.

  Args:
    text: Markdown with pairs of `<!-- results:NAME:begin -->`, `<!-- results:NAME:end -->`; NAME/short: the short table.
    directory: Of the NAME.json.
    page: The text's file, for messages.

  Returns:
    (new text, names of the tables that differ, names of all tables).

  Raises:
    errors.ConfigError: A marker without its pair, or no such result or short table.
  """
  known = (
    [f[: -len('.json')] for f in sorted(os.listdir(directory)) if f.endswith('.json')]
    if os.path.isdir(directory)
    else []
  )
  markers = list(_MARKER.finditer(text))
  pieces, stale, names, position = [], [], [], 0
  for i in range(0, len(markers), 2):
    begin = markers[i]
    end = markers[i + 1] if i + 1 < len(markers) else None
    name = begin.group(1)
    if begin.group(2) != 'begin' or end is None or end.groups() != (name, 'end'):
      raise errors.ConfigError(
        f'{page} line {text.count(chr(10), 0, begin.start()) + 1}: {begin.group(0)} without its pair'
      )
    result = name.removesuffix(_SHORT)
    if result not in known:
      raise errors.ConfigError(
        f'{page}: results:{name}: no docs/results/{result}.json{event_files.DidYouMean(result, known)}'
      )
    loaded, short = Load(os.path.join(directory, result + '.json')), name.endswith(_SHORT)
    if short and loaded.get('form') not in _SHORT_FORMS:
      raise errors.ConfigError(f'{page}: results:{name}: no short table; expected one of {", ".join(_SHORT_FORMS)}')
    table = f'\n{Table(loaded, short)}\n'
    if text[begin.end() : end.start()] != table:
      stale.append(name)
    names.append(name)
    pieces += [text[position : begin.end()], table]
    position = end.start()
  return ''.join(pieces) + text[position:], stale, names
