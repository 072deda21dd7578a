"""Results (results.py) as Markdown tables, and the pages that show them between their markers."""

import glob
import importlib
import os
import re
from collections.abc import Callable
from collections.abc import Iterable

from fm_lingvo import errors
from fm_lingvo.utils import suggest

from ..common import this_machine
from . import kept_figures
from . import results

# Form -> module with Table(result) and Short(result); tables of the other forms are made here.
_MODULES = {'benchmark': '.benchmark_table', 'recipe': '..recipe.tables'}
_SHORT = '/short'
_LINES = '/lines'
_COLUMNS = 6  # A table with more is turned.
_MARKER = re.compile(r'<!-- results:([^\s:]+):(begin|end) -->')


def Table(result: results.Row, short: bool = False) -> str:
  """Markdown of a result: its tables, and below them where the figures are from.

  Args:
    result: As results.Load returns.
    short: Whether only what matters most is shown.

  Raises:
    errors.ConfigError: Results of this form have no short table.
  """
  form = result['form']
  if form in _MODULES:
    module = importlib.import_module(_MODULES[form], __package__)
    return module.Short(result) if short else module.Table(result)
  if short:
    raise errors.ConfigError(f'form {form}: no short table; expected one of {", ".join(_MODULES)}')
  return {'figures': _Figures, 'faults': _Faults}[form](result)


def Lines(result: results.Row) -> str:
  """A few Markdown list items of a result, for the front page.

  Raises:
    errors.ConfigError: Results of this form have none.
  """
  rows = result['rows']
  if result['form'] == 'faults':
    injected, survived = (sum(row[field] for row in rows) for field in ('injected', 'survived'))
    return f'- Faults of {len(rows)} kinds: {survived:,.0f} of {injected:,.0f} survived.'
  if result['form'] == 'benchmark':
    return importlib.import_module(_MODULES['benchmark'], __package__).Lines(result)
  raise errors.ConfigError(f'form {result["form"]}: no lines; expected one of benchmark, faults')


def Markdown(headers: list[str], rows: Iterable[list[str]], align: str = '') -> str:
  """A Markdown table.

  Args:
    headers: Of the columns.
    rows: Lists of as many cells.
    align: `l` or `r` for each column; default: the first left, the others right.
  """
  align = align or 'l' + 'r' * (len(headers) - 1)
  lines = [headers, [':--' if side == 'l' else '--:' for side in align], *rows]
  return '\n'.join('| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |' for cells in lines)


def Number(value: float) -> str:
  """A number as tables of figures show it: whole from 1,000 on, else three or four digits."""
  if isinstance(value, int) or abs(value) >= 1000:
    return f'{value:,.0f}'
  return f'{value:.3f}' if abs(value) < 10 else f'{value:.1f}'


def Origins(
  rows: list[results.Row],
  lead: Callable[[results.Row], str] = lambda row: '',
  *,
  command: Callable[[results.Row], str] = lambda row: row['command'],
  span: bool = False,
  names: bool = False,
) -> list[str]:
  """Lines that say where figures are from: a line for rows with the same lead, date, machine and versions.

  Args:
    rows: Of a result.
    lead: What a row's line begins with, such as its label.
    command: The command to show for a row; a line lists those of its rows.
    span: Whether rows that differ in date and commit alone share a line, with all their commits.
    names: Whether a line is of rows with the same command and note, whatever their leads; it names the rows where
      another line has one of its leads, too.
  """
  groups: dict[tuple, list[results.Row]] = {}
  for row in rows:
    day = () if span else (row['date'], row['versions']['commit'])
    how = (command(row), row.get('note', '')) if names else ()
    groups.setdefault((_Machine(row), day, how, () if names else lead(row)), []).append(row)
  leads = [dict.fromkeys(map(lead, part)) for part in groups.values()]
  machines, lines = {key[0] for key in groups}, []
  shared = len(groups) > 2 and len(machines) == 1  # Then it is said once, in a last line.
  for (machine, *_), part, own in zip(groups, groups.values(), leads):
    commands = ', '.join(dict.fromkeys(f'`{command(row)}`' for row in part))
    dates, commits = (sorted({*found}) for found in zip(*((row['date'], row['versions']['commit']) for row in part)))
    said = [
      commands,
      part[0].get('note', '') if names else '',
      ' to '.join(dict.fromkeys([dates[0], dates[-1]])),
      f'{"" if shared else f"{machine}, "}commit {", ".join(commits)}',
      ', '.join(f'{name} {version}' for name, version in part[0]['versions'].get('peers', {}).items()),
    ]
    is_shared = any(sum(one in others for others in leads) > 1 for one in own)
    listed = suggest.Some([row['name'] for row in part], 3) if names and is_shared else ''
    lines.append('- ' + ': '.join(filter(None, [', '.join(own), listed, '; '.join(filter(None, said))])) + '.')
  return [*lines, f'- All on {machines.pop()}.'] if shared else lines


def _Machine(row):
  """Machine and versions of a row but the commit, in words; with threads and clock, if the row says them."""
  machine = row['machine']
  how = f'{machine["threads"]} thread(s), {machine["clock"]}, on ' if 'threads' in machine else ''
  beside = f'; {machine["beside"]}' if machine.get('beside') else ''
  return f'{how}{this_machine.Describe(machine)}{beside}; {this_machine.DescribeVersions(row["versions"])}'


def _Pivot(rows, cell):
  """Table with a row for each name and a column for each label, or the other way round if these are many."""
  cells = {(row['name'], row['label'] or 'value'): cell(row) for row in rows}
  names, labels = (list(dict.fromkeys(found)) for found in zip(*cells))
  if len(labels) > max(_COLUMNS, len(names)):
    return Markdown(['', *names], [[label, *(cells.get((name, label), '') for name in names)] for label in labels])
  return Markdown(['', *labels], [[name, *(cells.get((name, label), '') for label in labels)] for name in names])


def _Figures(result):
  """Of figures: value, interval and unit."""
  if not result['rows']:
    return 'Not measured yet.'
  numbers = {(row['name'], row['label']): Number(row['value']) for row in result['rows']}
  rows = [row for row in result['rows'] if not row['name'].endswith((kept_figures.LOW, kept_figures.HIGH))]

  def _Cell(row):
    name, label = row['name'], row['label']
    ends = [numbers.get((name + end, label)) for end in (kept_figures.LOW, kept_figures.HIGH)]
    interval = f' ({ends[0]} to {ends[1]})' if all(ends) else ''
    return f'{numbers[name, label]}{interval} {row["unit"]}'.rstrip()

  one_origin = len(Origins(rows, names=True)) == 1
  origins = Origins(rows, (lambda row: '') if one_origin else (lambda row: row['label']), names=True)
  return '\n'.join([_Pivot(rows, _Cell), '', *origins])


def _Faults(result):
  """Of kinds of faults: how many were injected and survived."""
  rows = result['rows']
  table = Markdown(
    ['fault', 'injected', 'survived', 'seconds'],
    [[row['name'], *(f'{row[field]:,.0f}' for field in ('injected', 'survived', 'seconds'))] for row in rows],
  )
  return '\n'.join([table, '', *Origins(rows)])


def Regenerate(text: str, directory: str, page: str) -> tuple[str, list[str], list[str]]:
  """Puts tables between their markers.

  Args:
    text: Markdown with pairs of `<!-- results:NAME:begin -->` and `<!-- results:NAME:end -->`; NAME/short: the short
      table; NAME/lines: Lines.
    directory: Of the NAME.json.
    page: The text's file, for messages.

  Returns:
    (new text, names of the tables that differ, names of all tables).

  Raises:
    errors.ConfigError: A marker without its pair, or no such result or short table.
  """
  known = sorted(
    os.path.basename(path).removesuffix('.json') for path in glob.glob(os.path.join(glob.escape(directory), '*.json'))
  )
  markers = list(_MARKER.finditer(text))
  pieces, stale, names, position = [], [], [], 0
  for begin, end in zip(markers[::2], [*markers[1::2], None]):
    name, which = begin.groups()
    if which != 'begin' or end is None or end.groups() != (name, 'end'):
      line = text.count('\n', 0, begin.start()) + 1
      raise errors.ConfigError(f'{page} line {line}: {begin.group(0)} without its pair')
    result = name.removesuffix(_SHORT).removesuffix(_LINES)
    if result not in known:
      raise errors.ConfigError(f'{page}: results:{name}: no docs/results/{result}.json{suggest.Hint(result, known)}')
    loaded = results.Load(os.path.join(directory, f'{result}.json'))
    try:
      table = f'\n{Lines(loaded) if name.endswith(_LINES) else Table(loaded, name.endswith(_SHORT))}\n'
    except errors.ConfigError as e:
      raise errors.ConfigError(f'{page}: results:{name}: {e}') from e
    if text[begin.end() : end.start()] != table:
      stale.append(name)
    names.append(name)
    pieces += [text[position : begin.end()], table]
    position = end.start()
  return ''.join(pieces) + text[position:], stale, names


def Pages(root: str, check: bool = False) -> tuple[list[str], int]:
  """Writes the tables of README.md and docs/*.md.

  Args:
    root: Of the checkout.
    check: Only compare.

  Returns:
    (`PAGE: TABLE` of each that changed or, with `check`, is stale; how many tables there are).

  Raises:
    errors.ConfigError: See Regenerate; or there is no README.md.
  """
  changed, count = [], 0
  for path in [os.path.join(root, 'README.md'), *sorted(glob.glob(os.path.join(glob.escape(root), 'docs', '*.md')))]:
    page = os.path.relpath(path, root)
    if not os.path.exists(path):
      raise errors.ConfigError(f'{page}: no such file')
    with open(path, encoding='utf-8') as f:
      text = f.read()
    new, stale, names = Regenerate(text, os.path.join(root, 'docs', 'results'), page)
    count += len(names)
    changed += [f'{page}: {table}' for table in stale]
    if new != text and not check:
      with open(path, 'w', encoding='utf-8') as f:
        f.write(new)
  return changed, count
