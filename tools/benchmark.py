"""Measures this project against its peers: interleaved in one run, each figure the median of at least five rounds.

  python -m tools.benchmark                       # everything: make benchmark
  python -m tools.benchmark --rows=transducer     # some groups of rows; other rows keep their figures
  python -m tools.benchmark --quick --output=FILE # tiny sizes, and no bars: a smoke test
  taskset -c 0 python -m tools.benchmark --clock=cpu --beside='a training on the other core'

It writes each group of rows to docs/results/benchmark.json as soon as it is measured; `python -m tools.results pages`
updates the table in docs/speed.md. Peers run from their published packages in a separate environment, which the first
run creates (tools/bench/peers_env.py); with --quick they run only if it exists. Exit code 2: wrong usage, with a
one-line message.
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
from .bench import recognition_rows
from .common import command_line
from .common import exit_codes
from .common import flag_types
from .figures import benchmark_table
from .figures import results

# Name of a group -> function that takes a comparison.Setting and yields comparisons; in the order of the table.
GROUPS = {**model_rows.GROUPS, **curve_rows.GROUPS, **recognition_rows.GROUPS, **command_rows.GROUPS}
_WITHOUT_PEERS = (*recognition_rows.GROUPS, 'pipeline', 'prepare_segments', 'start')
_CLOCKS = {'wall': 'seconds', 'cpu': 'cpu_seconds'}
_PEERS = ('torch', 'torchaudio', 'speechbrain', 'fast-rnnt', 'optimized-transducer', 'rnnt', 'imageio-ffmpeg')


def Measure(args: argparse.Namespace, setting: comparison.Setting, argv: list[str]) -> None:
  """Measures the groups in args.rows and writes each one to the file when it is done."""
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
  """Replaces the rows of a group in the file."""
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
  parser = command_line.Parser('benchmark', __doc__)
  parser.add_argument('--rows', type=_Groups, default=list(GROUPS), metavar='A,B', help=f'some of {", ".join(GROUPS)}')
  parser.add_argument('--rounds', type=int, default=5, help='rounds per process; the median counts (default: 5)')
  parser.add_argument(
    '--threads',
    type=int,
    default=len(os.sched_getaffinity(0)),
    help='threads of each process (default: the number of cores that this process may use)',
  )
  parser.add_argument(
    '--clock',
    choices=sorted(_CLOCKS),
    default='wall',
    help='wall: wall clock; cpu: processor time, which depends less on other work on the machine (default: wall)',
  )
  parser.add_argument('--quick', action='store_true', help='tiny sizes, two rounds: a smoke test')
  parser.add_argument('--beside', default='', metavar='TEXT', help='other work on the machine during the measurement')
  parser.add_argument('--commit', default='', help='commit of the measured code (default: as git reports it)')
  parser.add_argument(
    '--output',
    type=flag_types.LocalPath,
    default=results.Path('benchmark'),
    metavar='FILE',
    help='default: docs/results/benchmark.json; required with --quick',
  )
  args = parser.parse_args(argv[1:])

  def _Run():
    if min(args.rounds, args.threads) < 1:
      raise errors.ConfigError('--rounds and --threads: expected >= 1')
    if args.quick and args.output == parser.get_default('output'):
      raise errors.ConfigError('--quick: expected --output=FILE; its figures do not belong in docs/results')
    alone = all(group in _WITHOUT_PEERS for group in args.rows)
    peers = peers_env.Find() if args.quick or alone else peers_env.Make()
    rounds = 2 if args.quick else args.rounds
    Measure(args, comparison.Setting(peers, args.threads, rounds, _CLOCKS[args.clock], args.quick), argv[1:])
    print(benchmark_table.Table(results.Load(args.output)))

  return exit_codes.Report('benchmark', _Run)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
