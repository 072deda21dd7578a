"""Measured results, docs/results/NAME.json: the fields of their rows; reading, checking, merging and writing them.

A result is {"form": FORM, "rows": [...]}. Every row has the fields of ORIGIN and those of its form.
docs/results/README.md says what they mean. tables.py shows results in Markdown.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import math
import os
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

from fm_lingvo import errors
from fm_lingvo.utils import suggest

from ..common import this_machine

ROOT = this_machine.ROOT
Row = dict[str, Any]

# Kind of a field -> (types of its values, what a message calls them). A number is any that is finite.
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
  'text': ((str,), 'text'),
  'number': ((float,), 'a finite number'),
  'number_or_null': ((float, type(None)), 'a finite number or null'),
  'whole': ((int,), 'a whole number'),
  'flag': ((bool,), 'true or false'),
  'flag_or_null': ((bool, type(None)), 'true, false or null'),
  'object': ((dict,), 'an object'),
  'list': ((list,), 'a list'),
}


def _Fields(**names: str) -> dict[str, str]:
  """Name of a field -> its kind, from kind = 'NAME NAME ...'."""
  return {name: kind for kind, text in names.items() for name in text.split()}


# Where a row's figures are from.
ORIGIN = _Fields(text='command date', object='machine versions')
_ORIGIN_PARTS = {
  'machine': ('cpu', 'cores', 'memory_gb', 'system'),
  'versions': ('python', 'tensorflow', 'lingvo', 'commit'),
}
_COSTS = 'seconds cpu_seconds peak_gb idle_gb'
_RATES = ('target_wer', 'target_cer', 'source_wer', 'source_cer')


@dataclasses.dataclass(frozen=True)
class Form:
  """The rows of a result."""

  key: tuple[str, ...]  # Fields that together identify a row.
  fields: dict[str, str]  # Name -> kind; beside those of ORIGIN.
  optional: dict[str, str] = dataclasses.field(default_factory=dict)
  problem: Callable[[Row], str] = lambda row: (
    ''
  )  # What is wrong with a row whose fields have their kinds; '' if nothing is.
  extra: tuple[str, ...] = ()  # Fields of the result beside `form` and `rows`.


def _CostProblem(row: Row) -> str:
  for field in () if 'stopped' in row else _COSTS.split():
    if row.get(field, -1) < 0:
      return f'.{field} = {row.get(field)!r}: expected a number >= 0'
  return ''


def _BenchmarkProblem(row: Row) -> str:
  if row['met'] not in ((True, False) if row['bar'] else (None,)):
    return f'.met = {row["met"]!r}: expected true or false with a bar, null without'
  for point in row.get('curve', {}).get('points', []):
    if 'x' not in point or not all(_IsA('number', value) for value in point.values()):
      return f'.curve: {point!r}: expected numbers, x among them'
  return ''


def _FaultsProblem(row: Row) -> str:
  if 0 <= row['survived'] <= row['injected'] and row['injected']:
    return ''
  return f': survived = {row["survived"]} of injected = {row["injected"]}'


def _RecipeProblem(row: Row) -> str:
  for field, value in row.items():
    if isinstance(value, (int, float)) and value < 0:
      return f'.{field} = {value!r}: expected a number >= 0'
  if row['target_label_fraction'] > 1 or row['trained_params'] > row['total_params']:
    return ': a part is larger than its whole'
  for rate in _RATES:
    if row[f'{rate}_low'] > row[f'{rate}_high']:
      return f'.{rate}_low = {row[f"{rate}_low"]}: above {rate}_high'
  return ''


FORMS = {
  'figures': Form(
    key=('name', 'label'),
    fields=_Fields(text='name label unit', number='value'),
    optional=_Fields(text='run note'),
  ),
  'cost': Form(
    key=('name', 'label'),
    fields=_Fields(text='name label size attention', whole='audio_seconds utterances', flag='remat backward warm'),
    optional=_Fields(number=_COSTS, text='stopped'),
    problem=_CostProblem,
  ),
  'benchmark': Form(
    key=('name',),
    fields=_Fields(text='name group unit bar note', number_or_null='ours peer ratio', flag_or_null='met'),
    optional=_Fields(text='ours_is peer_is', object='workers curve'),
    problem=_BenchmarkProblem,
  ),
  'faults': Form(
    key=('kind',),
    fields=_Fields(text='kind name', whole='injected survived', number='seconds', list='seen'),
    problem=_FaultsProblem,
  ),
  'recipe': Form(
    key=('name', 'seed'),
    fields=_Fields(
      text='name title group stamp',
      whole='seed target_utterances target_dropped total_params trained_params cores steps',
      number='target_label_fraction target_label_minutes hours hours_with_parents '
      + ' '.join(f'{rate}{end}' for rate in _RATES for end in ('', '_low', '_high')),
    ),
    problem=_RecipeProblem,
    extra=('comparisons',),
  ),
}


def Path(name: str, root: str = ROOT) -> str:
  """File of the result `name`."""
  return os.path.join(root, 'docs', 'results', f'{name}.json')


def Origin(command: str, commit: str = '', date: str = '', root: str = ROOT) -> Row:
  """The fields of ORIGIN for figures measured now, here.

  Args:
    command: That gives the figures.
    commit: Of the code; default: git's.
    date: YYYY-MM-DD; default: today.
    root: Of the checkout.

  Raises:
    errors.ConfigError: Git does not know the commit and none is given.
  """
  return {
    'command': command,
    'date': date or datetime.date.today().isoformat(),
    'machine': this_machine.Machine(),
    'versions': this_machine.Versions(root, commit),
  }


def Load(path: str) -> Row:
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


def Rows(path: str) -> list[Row]:
  """Rows of a result's file, of an older form too; none if there is no file.

  Raises:
    errors.ConfigError: The file is no result.
  """
  if not os.path.exists(path):
    return []
  with open(path, encoding='utf-8') as f:
    try:
      return [dict(row) for row in json.load(f)['rows']]
    except (ValueError, KeyError, TypeError) as e:
      raise errors.ConfigError(f'{path}: not a file of results: {e!r}') from e


def Write(path: str, form: str, rows: list[Row], **extra: Any) -> Row:
  """Writes a result, whole or not at all; returns it.

  Raises:
    errors.ConfigError: It does not have the form.
  """
  result = {'form': form, 'rows': rows, **extra}
  Check(result, path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  temporary = f'{path}.{os.getpid()}.tmp'
  with open(temporary, 'w', encoding='utf-8') as f:
    f.write(json.dumps(result, indent=2, ensure_ascii=False) + '\n')
  os.replace(temporary, path)
  return result


def Merge(
  path: str,
  form: str,
  rows: list[Row],
  *,
  keep: Callable[[Row], bool] = lambda row: True,
  order: Callable[[Row], Any] | None = None,
  extra: Callable[[list[Row]], Row] = lambda rows: {},
) -> Row:
  """Puts rows into a file, in place of those with the same key. Several processes may do so at a time.

  Args:
    path: Of the file; it is made if it is not there.
    form: Of the result, a name in FORMS.
    rows: The new rows; those of keys that the file does not have come last.
    keep: Whether a row of the file that is not replaced stays. It may be of an older form.
    order: Sort key of the rows, if they have an order.
    extra: Makes the result's further fields from all rows.

  Returns:
    The whole result.

  Raises:
    errors.ConfigError: The file or a row does not have the form.
  """

  def _Key(row):
    return tuple(row.get(field) for field in FORMS[form].key)

  folder = os.path.dirname(os.path.abspath(path))
  os.makedirs(folder, exist_ok=True)
  with _Locked(folder):
    new = {_Key(row): row for row in rows}
    if len(new) < len(rows):
      raise errors.ConfigError(f'{os.path.basename(path)}: two new rows of the same {", ".join(FORMS[form].key)}')
    merged = [new.pop(_Key(row), row) for row in Rows(path) if _Key(row) in new or keep(row)] + [*new.values()]
    if order:
      merged.sort(key=order)
    return Write(path, form, merged, **extra(merged))


@contextlib.contextmanager
def _Locked(folder: str) -> Iterator[None]:
  """Context in which no other process holds the lock of the same folder."""
  handle = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(handle, fcntl.LOCK_EX)
    yield
  finally:
    os.close(handle)


def Check(result: Row, path: str) -> None:
  """Raises errors.ConfigError unless a result has its form; `path` is named in the message."""
  where = os.path.basename(path)
  if not isinstance(result, dict) or not isinstance(result.get('rows'), list):
    raise errors.ConfigError(f'{where}: expected an object with a list `rows`')
  suggest.CheckChoice(f'{where}: form', result.get('form'), [*FORMS])
  form = FORMS[result['form']]
  _CheckNames(result, ('form', 'rows', *form.extra), f'{where}: ')
  seen = set()
  for i, row in enumerate(result['rows']):
    at = f'{where}: rows[{i}]'
    _CheckRow(row, form, at)
    key = tuple(row[field] for field in form.key)
    if key in seen:
      raise errors.ConfigError(f'{at}: a second row of ' + ', '.join(f'{f} {v!r}' for f, v in zip(form.key, key)))
    seen.add(key)


def _CheckNames(names, known, where):
  """Raises errors.ConfigError at a field that is not known."""
  for name in names:
    if name not in known:
      raise errors.ConfigError(
        f'{where}{name}: no such field{suggest.Hint(name, known) or "; expected " + ", ".join(known)}'
      )


def _CheckRow(row, form, where):
  required = {**form.fields, **ORIGIN}
  _CheckNames(row, [*required, *form.optional], f'{where}.')
  missing = [field for field in required if field not in row]
  if missing:
    raise errors.ConfigError(f'{where}: no {", ".join(missing)}')
  for field, kind in {**required, **form.optional}.items():
    if field in row and not _IsA(kind, row[field]):
      raise errors.ConfigError(f'{where}.{field} = {row[field]!r}: expected {_KINDS[kind][1]}')
  for field in ('name', 'command'):
    if not row[field].strip():
      raise errors.ConfigError(f'{where}.{field} is empty')
  for field, parts in _ORIGIN_PARTS.items():
    missing = [part for part in parts if part not in row[field]]
    if missing:
      raise errors.ConfigError(f'{where}.{field}: no {", ".join(missing)}')
  try:
    datetime.date.fromisoformat(row['date'])
  except ValueError as e:
    raise errors.ConfigError(f'{where}.date = {row["date"]!r}: expected YYYY-MM-DD') from e
  problem = form.problem(row)
  if problem:
    raise errors.ConfigError(where + problem)


def _IsA(kind: str, value: Any) -> bool:
  """Whether a value is of a kind; no number is a flag."""
  types = _KINDS[kind][0]
  if isinstance(value, bool):
    return bool in types
  if isinstance(value, (int, float)) and float in types:
    return math.isfinite(value)
  return isinstance(value, types)
