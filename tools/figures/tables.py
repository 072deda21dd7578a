"""Results (results.py) as Markdown tables, and the parts that tables of other forms are made of."""

from collections.abc import Callable
from collections.abc import Iterable

from fm_lingvo.utils import suggest

from ..common import this_machine
from . import kept_figures
from . import results

_COLUMNS = 6  # A table with more is turned.


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


def Figures(result: results.Row) -> str:
  """Markdown of a result of the form `figures`: value, interval and unit, and where they are from."""
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


def Faults(result: results.Row) -> str:
  """Markdown of a result of the form `faults`: how many of each kind were injected and survived."""
  rows = result['rows']
  table = Markdown(
    ['fault', 'injected', 'survived', 'seconds'],
    [[row['name'], *(f'{row[field]:,.0f}' for field in ('injected', 'survived', 'seconds'))] for row in rows],
  )
  return '\n'.join([table, '', *Origins(rows)])


def FaultsLines(result: results.Row) -> str:
  """Markdown list item: how many faults were injected and survived."""
  rows = result['rows']
  injected, survived = (sum(row[field] for row in rows) for field in ('injected', 'survived'))
  return f'- Faults of {len(rows)} kinds: {survived:,.0f} of {injected:,.0f} survived.'
