"""The benchmark: ours beside its peers, interleaved in one run, each figure the median of at least five turns.

  python -m tools.benchmark                       # everything: make benchmark
  python -m tools.benchmark --rows=transducer     # some groups of rows; the other rows stay as they are
  python -m tools.benchmark --quick --output=FILE # tiny sizes, and no bars: a smoke test
  taskset -c 0 python -m tools.benchmark --clock=cpu --beside='a training on the other core'

writes docs/results/benchmark.json, a group of rows as soon as it is measured; `python -m tools.results pages` shows it
in docs/speed.md. Peers run from their published packages in an environment of their own, which the first run makes
(tools/bench/peers_env.py); with --quick they run only if it is there. Exit code 2: wrong usage, said in one line.
"""

import argparse
import os
import shlex
import sys
import time

from fm_lingvo import errors
from fm_lingvo.utils import suggest

from .bench import command_rows
from .bench import comparison
from .bench import curve_rows
from .bench import model_rows
from .bench import peers_env
from .bench import results
from .bench import tables
from .common import exit_codes

# Name of a group -> function of a comparison.Setting that yields its comparisons; in the order of the table.
GROUPS = {**model_rows.GROUPS, **curve_rows.GROUPS, **command_rows.GROUPS}
_CLOCKS = {'wall': 'seconds', 'cpu': 'cpu_seconds'}
_PEERS = ('torch', 'torchaudio', 'speechbrain', 'fast-rnnt', 'optimized-transducer', 'rnnt', 'imageio-ffmpeg')


def Measure(args: argparse.Namespace, setting: comparison.Setting, argv: list[str]) -> None:
  """Measures the groups asked for, and writes each into the file at once."""
  origin = results.Origin(shlex.join(['python', '-m', 'tools.benchmark', *argv]), args.commit)
  origin['machine'].update(
    threads=setting.threads, beside=args.beside, clock={'wall': 'wall clock', 'cpu': 'processor time'}[args.clock]
  )
  origin['versions']['peers'] = setting.peers.Versions(_PEERS)
  for group in args.rows:
    print(group, file=sys.stderr, flush=True)
    started = time.monotonic()
    rows: list[dict] = []
    for one in GROUPS[group](setting):
      for row in comparison.Run(setting, one, rows):
        rows.append({**row, 'group': group, **origin})
    if setting.quick:
      rows = [{**row, 'bar': '', 'met': None} for row in rows]  # Bars are for the real sizes.
    Write(args.output, group, rows)
    print(f'{group}: {(time.monotonic() - started) / 60:.1f} min', file=sys.stderr, flush=True)


def Write(path: str, group: str, rows: list) -> None:
  """Puts rows of a group in the place of those that the file has of it."""
  groups, names = [*GROUPS], [row['name'] for row in rows]

  def _Order(row):
    rank = groups.index(row['group']) if row['group'] in groups else len(groups)
    return rank, names.index(row['name']) if row['name'] in names else -1

  results.Merge(path, 'benchmark', rows, keep=lambda row: row['group'] != group, order=_Order)


def _Groups(text):
  names = text.split(',')
  for name in names:
    if name not in GROUPS:
      raise argparse.ArgumentTypeError(
        f'{name}: no such group{suggest.Hint(name, GROUPS)}; there are {", ".join(GROUPS)}'
      )
  return names


def Main(argv: list[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='benchmark', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--rows', type=_Groups, default=list(GROUPS), metavar='A,B', help=f'some of {", ".join(GROUPS)}')
  parser.add_argument('--rounds', type=int, default=5, help='turns of every process, whose median counts (default: 5)')
  parser.add_argument(
    '--threads',
    type=int,
    default=len(os.sched_getaffinity(0)),
    help='of every process (default: as many as there are cores for this one)',
  )
  parser.add_argument(
    '--clock',
    choices=sorted(_CLOCKS),
    default='wall',
    help='wall: wall clock; cpu: processor time, which other work on the machine does not change (default: wall)',
  )
  parser.add_argument('--quick', action='store_true', help='tiny sizes, two turns: a smoke test')
  parser.add_argument('--beside', default='', metavar='TEXT', help='other work that the machine had meanwhile')
  parser.add_argument('--commit', default='', help="of the code measured; default: git's")
  parser.add_argument(
    '--output',
    default=results.Path('benchmark'),
    metavar='FILE',
    help='default: docs/results/benchmark.json; required with --quick',
  )
  args = parser.parse_args(argv[1:])

  def _Run():
    if min(args.rounds, args.threads) < 1:
      raise errors.ConfigError('--rounds and --threads: expected >= 1')
    if args.quick and args.output == parser.get_default('output'):
      raise errors.ConfigError('--quick: expected --output=FILE, its figures are not for docs/results')
    peers = peers_env.Find() if args.quick else peers_env.Make()
    rounds = 2 if args.quick else args.rounds
    Measure(args, comparison.Setting(peers, args.threads, rounds, _CLOCKS[args.clock], args.quick), argv[1:])
    print(tables.Table(results.Load(args.output)))

  return exit_codes.Report('benchmark', _Run)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
