"""The tables of docs/results/benchmark.json."""

from ..common import this_machine
from . import tables

# Rows on the front page, by the beginnings of their names; all are speeds beside the best peer's.
_FRONT = (
  'BEST-RQ training step, base (12 x 512, V 8192, B 8 x 8 s), float32',
  'transducer loss + gradient, W2',
  'greedy decoding, base (P 640, J 640, V 1024), B 16',
)


def Table(result: dict) -> str:
  """Markdown: a row for each question, then curves, notes, peers without figures, and where the figures are from."""
  rows = result['rows']
  table = tables.Markdown(
    ['', 'ours', 'best peer', 'ratio', 'bar', 'met'],
    [[row['name'], _Figure(row, 'ours'), _Figure(row, 'peer'), *_Verdict(row)] for row in rows],
    'lrrrrl',
  )
  return '\n'.join([table, '', *_Curves(rows), *_Notes(rows), *_Failed(rows), *tables.Origins(rows)])


def Short(result: dict) -> str:
  """Markdown: ratio, bar and verdict of the rows that have a bar, and where they are from."""
  rows = [row for row in result['rows'] if row['bar']]
  table = tables.Markdown(['', 'ratio', 'bar', 'met'], [[row['name'], *_Verdict(row)] for row in rows], 'lrrl')
  return '\n'.join([table, '', *tables.Origins(rows)])


def Lines(result: dict) -> str:
  """Markdown list: how many bars are met, and the rows of _FRONT with their verdicts."""
  barred = [row for row in result['rows'] if row['bar']]
  met = sum(row['met'] is True for row in barred)
  machine = this_machine.Describe(barred[0]['machine'])
  lines = [f'- `make benchmark`: {met} of {len(barred)} bars met, on {machine}.']
  for row in barred:
    if row['name'].startswith(_FRONT):
      verdict = 'met' if row['met'] else '**missed**'
      lines.append(
        f'- {row["name"]}: {_Number(row["ratio"])} times as fast as {row["peer_is"]} (bar {row["bar"]}: {verdict}).'
      )
  return '\n'.join(lines)


def _Verdict(row):
  """Cells of ratio, bar, and whether it is met."""
  return [_Number(row['ratio']), row['bar'], {True: 'yes', False: '**no**', None: 'reported'}[row['met']]]


def _Number(value):
  if value is None:
    return ''
  return f'{value:.1e}' if 0 < abs(value) < 1e-3 else f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.3g}'


def _Figure(row, field):
  """A figure with its unit and, in brackets, which of ours or of the peers it is."""
  if row[field] is None:
    return ''
  who = row.get(f'{field}_is', '').removeprefix('ours, ')
  return _WithUnit(row[field], row['unit']) + (f' ({who})' if who else '')


def _WithUnit(value, unit):
  """A number; seconds below 1 as ms, GB below 1 as MB."""
  smaller = {'s': 'ms', 'GB': 'MB'}
  if unit in smaller and abs(value) < 1:
    value, unit = 1000 * value, smaller[unit]
  return f'{_Number(value)} {unit}'.rstrip()


def _Grouped(found):
  """From (text, name of a row) pairs, (text, rows) for each text: its first row and how many more have it."""
  names = {}
  for text, name in found:
    names.setdefault(text, []).append(name)
  return [(text, own[0] + (f', and {len(own) - 1} more' if len(own) > 1 else '')) for text, own in names.items()]


def _Curves(rows):
  """Lines with the points of the curves."""
  found = []
  for row in rows:
    curve = row.get('curve', {})
    if curve.get('points'):
      points = [
        f'{_Number(point["x"])}: {", ".join(_Value(*item) for item in point.items() if item[0] != "x")}'
        for point in curve['points']
      ]
      found.append((f'by {curve["over"]}: {"; ".join(points)}', row['name']))
  return [f'- {names}, {text}.' for text, names in _Grouped(found)]


def _Value(name, value):
  """A figure at a point of a curve."""
  unit = {'seconds': 's', 'peak_gb': 'GB'}.get(name)
  return _WithUnit(value, unit) if unit else f'{name} {_Number(value)}'


def _Notes(rows):
  """Lines with the notes."""
  return [f'- {names}: {note}.' for note, names in _Grouped((row['note'], row['name']) for row in rows if row['note'])]


def _Failed(rows):
  """Lines with the processes that gave no figures, and why."""
  found = [
    (f'{name} ({one["failed"]})', row['name'])
    for row in rows
    for name, one in row.get('workers', {}).items()
    if 'failed' in one
  ]
  return [f'- without figures: {text} in {names}.' for text, names in _Grouped(found)]
