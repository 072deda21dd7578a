"""The form of docs/results/benchmark.json, and its table."""

import math
import os

from fm_lingvo import errors

from ..common import this_machine

_FIELDS = ('name', 'ours', 'peer', 'ratio', 'bar', 'met', 'unit', 'note', 'command', 'date', 'machine', 'versions')


def Check(result, path):
  """Raises errors.ConfigError unless `result` has the form."""
  where, seen = os.path.basename(path), set()
  for i, row in enumerate(result['rows']):
    at = f'{where}: rows[{i}]'
    missing = [field for field in _FIELDS if field not in row]
    if missing:
      raise errors.ConfigError(f'{at}: no {", ".join(missing)}')
    for field in ('ours', 'peer', 'ratio'):
      value = row[field]
      if value is not None and (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
      ):
        raise errors.ConfigError(f'{at}.{field} = {value!r}: expected a number or null')
    if row['met'] not in ((True, False) if row['bar'] else (None,)):
      raise errors.ConfigError(f'{at}.met = {row["met"]!r}: expected true or false with a bar, null without')
    for point in row.get('curve', {}).get('points', []):
      if 'x' not in point or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in point.values()):
        raise errors.ConfigError(f'{at}.curve: {point!r}: expected numbers, x among them')
    if row['name'] in seen:
      raise errors.ConfigError(f'{at}: a second row of {row["name"]!r}')
    seen.add(row['name'])


def Table(result):
  """Markdown: a row a question, then curves, what to know, who was missing, and where the figures are from."""
  lines = ['| | ours | best peer | ratio | bar | met |', '| :-- | --: | --: | --: | --: | :-- |']
  rows = result['rows']
  lines += [f'| {row["name"]} | {_Figure(row, "ours")} | {_Figure(row, "peer")} | {_Verdict(row)} |' for row in rows]
  lines.append('')
  lines += _Curves(rows)
  lines += _Notes(rows)
  lines += _Absent(rows)
  lines += _Origins(rows)
  return '\n'.join(lines)


def Short(result):
  """Markdown: ratio, bar and verdict of the rows that have a bar, and where they are from."""
  rows = [row for row in result['rows'] if row['bar']]
  lines = ['| | ratio | bar | met |', '| :-- | --: | --: | :-- |']
  lines += [f'| {row["name"]} | {_Verdict(row)} |' for row in rows]
  return '\n'.join([*lines, '', *_Origins(rows)])


def _Verdict(row):
  """Cells of ratio, bar, and whether it is met."""
  met = {True: 'yes', False: '**no**', None: 'reported'}[row['met']]
  return f'{_Number(row["ratio"])} | {row["bar"]} | {met}'


def _Number(value):
  if value is None:
    return ''
  return f'{value:.1e}' if 0 < abs(value) < 1e-3 else f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def _Figure(row, field):
  """A figure with its unit, and whose it is."""
  if row[field] is None:
    return ''
  who = row.get(f'{field}_is', '').removeprefix('ours, ')
  return _WithUnit(row[field], row['unit']) + (f' ({who})' if who else '')


def _WithUnit(value, unit):
  """A number in a unit that suits it."""
  for small, least in (('ms', 's'), ('MB', 'GB')):
    if unit == least and abs(value) < 1:
      value, unit = 1000 * value, small
      break
  return f'{_Number(value)} {unit}'.rstrip()


def _Curves(rows):
  """A line a curve, once for each: its points' figures, in the order of x."""
  where = {}
  for row in rows:
    if row.get('curve', {}).get('points'):
      over, points = row['curve']['over'], row['curve']['points']
      text = '; '.join(
        f'{_Number(p["x"])}: ' + ', '.join(_Point(name, p[name]) for name in p if name != 'x') for p in points
      )
      where.setdefault(f'by {over}: {text}', []).append(row['name'])
  return [f'- {_In(names)}, {text}.' for text, names in where.items()]


def _Point(name, value):
  unit = {'seconds': 's', 'peak_gb': 'GB'}.get(name)
  return _WithUnit(value, unit) if unit else f'{name} {_Number(value)}'


def _Notes(rows):
  """Lines of what a reader must know, once for each note."""
  where = {}
  for row in rows:
    if row['note']:
      where.setdefault(row['note'], []).append(row['name'])
  return [f'- {_In(names)}: {note}.' for note, names in where.items()]


def _In(names):
  """The first of the rows that something holds for, and how many more there are."""
  return names[0] + (f', and {len(names) - 1} more' if len(names) > 1 else '')


def _Absent(rows):
  """Lines of parties that gave no figure, once for each reason."""
  where = {}
  for row in rows:
    for name, one in row.get('parties', {}).items():
      if 'failed' in one:
        where.setdefault((name, one['failed']), []).append(row['name'])
  return [f'- without figures: {name} ({reason}) in {_In(names)}.' for (name, reason), names in where.items()]


def _Origins(rows):
  """Lines with command, date, machine and versions, each once."""
  return list(dict.fromkeys(_Origin(row) for row in rows))


def _Origin(row):
  machine, versions = row['machine'], row['versions']
  peers = ', '.join(f'{name} {version}' for name, version in versions['peers'].items())
  return (
    f'- `{row["command"]}`; {row["date"]}; {machine["threads"]} thread(s), {machine["clock"]}, on '
    f'{this_machine.Describe(machine)}{"; " + machine["beside"] if machine.get("beside") else ""}; '
    f'{this_machine.DescribeVersions(versions)}, commit {versions["commit"]}; {peers}.'
  )
