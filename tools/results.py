"""Adds measured figures to docs/results/NAME.json and generates the tables in README.md and docs/*.md from them.

  python -m tools.results add pretrain --run=runs/X --label='5 minutes' --command='trainer ...'
  python -m tools.results add pretrain --name='first step after' --value=14.2 --unit=s --command='...'
  python -m tools.results pages            # writes the tables; with --check, only compares

docs/results/README.md describes the rows. Exit codes: 0 done, 1 a table is stale (--check) or a file cannot be written,
2 wrong usage or an invalid file, with a one-line message.
"""

import datetime
import os
import sys

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .figures import benchmark_table
from .figures import pages
from .figures import results
from .figures import run_figures
from .figures import tables
from .recipe import tables as recipe_tables

# Form of a result -> how the pages show it.
SHOWN = {
  'figures': pages.Shown(tables.Figures),
  'faults': pages.Shown(tables.Faults, lines=tables.FaultsLines),
  'benchmark': pages.Shown(benchmark_table.Table, benchmark_table.Short, benchmark_table.Lines),
  'recipe': pages.Shown(recipe_tables.Table, recipe_tables.Short),
}


def Add(name: str, rows: list, root: str = results.ROOT) -> None:
  """Adds rows of figures; they replace rows with the same name and label.

  Rows of an earlier run with the same label are removed, so that a label never mixes two runs.

  Args:
    name: Name of the result.
    rows: See docs/results/README.md.
    root: Folder of the checkout.

  Raises:
    errors.ConfigError: A row or the file is malformed.
    errors.RunError: The file cannot be written.
  """
  labels_of_runs = {row['label'] for row in rows if row.get('run')}
  results.Merge(
    results.Path(name, root), 'figures', rows, keep=lambda row: not (row.get('run') and row['label'] in labels_of_runs)
  )


def _Add(args):
  """The command `add`."""
  by_hand = [args.name is not None, args.value is not None, args.unit is not None]
  if bool(args.run) == any(by_hand) or any(by_hand) != all(by_hand):
    raise errors.ConfigError('add: expected either --run=RUN, or --name, --value and --unit')
  date, figures, optional = args.date, [(args.name, args.value, args.unit)], {'note': args.note}
  if args.run:
    figures, end = run_figures.Measure(args.run, [d for d in args.datasets.split(',') if d], args.branch)
    date = date or datetime.date.fromtimestamp(end).isoformat()
    optional['run'] = os.path.basename(os.path.normpath(args.run))
  common = {
    'label': args.label,
    **results.Origin(args.command, args.commit, date, args.root),
    **{field: text for field, text in optional.items() if text},
  }
  rows = []
  for name, value, unit in figures:
    value = float(f'{value:.6g}')  # No measurement has more significant digits.
    rows.append({'name': name, 'value': int(value) if value.is_integer() else value, 'unit': unit, **common})
  Add(args.result, rows, args.root)
  for row in rows:
    print(f'{row["name"]}: {tables.Number(row["value"])} {row["unit"]}')
  print(
    f'wrote {os.path.relpath(results.Path(args.result, args.root), args.root)}; next: python -m tools.results pages'
  )


def _Pages(args):
  """The command `pages`."""
  changed, count = pages.Pages(args.root, SHOWN, args.check)
  if args.check and changed:
    print(f'stale: {", ".join(changed)}; run python -m tools.results pages', file=sys.stderr)
    return 1
  print(f'{count} table(s), ' + ('current' if args.check else f'changed: {", ".join(changed) or "none"}'))
  return 0


def Main(argv: list[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('results', __doc__)
  parser.add_argument('--root', type=file_system.ExpandUser, default=results.ROOT, help='checkout to work on')
  commands = parser.add_subparsers(required=True)
  add = commands.add_parser('add', help='append or replace rows')
  add.set_defaults(run_command=_Add)
  add.add_argument('result', metavar='NAME', help='docs/results/NAME.json')
  add.add_argument('--run', type=file_system.ExpandUser, default='', help='folder of a run to measure')
  add.add_argument('--datasets', default='eval_devhuman', help='its evaluated data sets, comma-separated')
  add.add_argument('--branch', default='', help="first part of the metrics' names (default: the only one)")
  add.add_argument('--label', default='', help='what was run, if the result has several runs')
  add.add_argument('--name', help='name of a figure measured by hand')
  add.add_argument('--value', type=float, help='value of a figure measured by hand')
  add.add_argument('--unit', help='unit of a figure measured by hand; may be empty')
  add.add_argument('--command', required=True, help='command that gave the figures')
  add.add_argument('--date', default='', help='YYYY-MM-DD (default: date of the run, or today)')
  add.add_argument('--commit', default='', help='commit of the measured code (default: as git reports it)')
  add.add_argument('--note', default='', help='what else a reader must know')
  write = commands.add_parser('pages', help='write the tables in README.md and docs/*.md')
  write.set_defaults(run_command=_Pages)
  write.add_argument('--check', action='store_true', help='only compare')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('results', lambda: args.run_command(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
