"""Forms of measured results: the fields of their rows, what they may hold, and the check of a result."""

import dataclasses
import datetime
import math
import os
from collections.abc import Callable
from typing import Any

from fm_lingvo import errors
from fm_lingvo.utils import suggest

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
