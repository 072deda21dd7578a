"""The flags with which a tool keeps what it measured in docs/results/NAME.json: --add, --label, --note."""

import argparse
import shlex
from collections.abc import Iterable

from fm_lingvo import errors

from . import results

Figure = tuple[str, float, str]  # Name, value, unit: '' for none.
LOW, HIGH = ', low end of its interval', ', high end of its interval'  # Ends of names; tables show them with the value.


def AddFlags(parser: argparse.ArgumentParser) -> None:
  """Adds the flags."""
  group = parser.add_argument_group('figures that are kept, in a checkout')
  group.add_argument('--add', default='', metavar='NAME', help='write the figures to docs/results/NAME.json')
  group.add_argument('--label', default='', help='their column in the table, such as the name of the model')
  group.add_argument('--note', default='', help='anything that a reader must know')


def WithInterval(name: str, value: float, low: float, high: float, unit: str) -> list[Figure]:
  """Returns a value with its confidence interval as three figures."""
  return [(name, value, unit), (name + LOW, low, unit), (name + HIGH, high, unit)]


def Start(tool: str, args: argparse.Namespace) -> None:
  """Checks the flags, and notes the code that is measured; call it before anything is.

  Args:
    tool: Name of the module in tools/.
    args: The flags; `args.given` is the command line without the program. It gets `origin`.

  Raises:
    errors.ConfigError: Git does not know the commit, or --label or --note is there without --add.
  """
  for flag in ('label', 'note'):
    if getattr(args, flag) and not args.add:
      raise errors.ConfigError(f'--{flag}: only with --add=NAME')
  args.origin = results.Origin(f'python -m tools.{tool} {shlex.join(args.given)}') if args.add else {}


def Keep(args: argparse.Namespace, figures: Iterable[Figure], part: str = '') -> None:
  """Writes figures to the file of --add, if it is there; those of the same name and label are replaced.

  Args:
    args: The flags, after Start.
    figures: The figures.
    part: What the label has behind that of --label.

  Raises:
    errors.ConfigError: The file is no such result.
    errors.RunError: It cannot be written.
  """
  if not args.add:
    return
  common = {
    'label': ', '.join(filter(None, [args.label, part])),
    **args.origin,
    **({'note': args.note} if args.note else {}),
  }
  rows = [{'name': name, 'value': _Rounded(value), 'unit': unit, **common} for name, value, unit in figures]
  path = results.Path(args.add)
  with errors.Writing(path):
    results.Merge(path, 'figures', rows)


def _Rounded(value: float) -> float:
  return value if isinstance(value, int) else float(f'{value:.4g}')  # Counts stay exact.
