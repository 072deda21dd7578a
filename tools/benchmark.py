"""The benchmark: ours beside its peers, interleaved in one run, each figure the median of at least five turns.

  python -m tools.benchmark                       # everything: make benchmark
  python -m tools.benchmark --rows=transducer     # some groups of rows; the other rows stay as they are
  python -m tools.benchmark --quick --output=FILE # sizes of seconds, no bar that counts: a smoke test
  taskset -c 0 python -m tools.benchmark --clock=cpu --beside='a training on the other core'

writes docs/results/benchmark.json, a row as soon as it is measured; `python -m tools.results pages` shows it in
docs/speed.md. Peers run from their published packages in an environment of their own, which the first run makes
(tools/bench/peers_env.py); with --quick they run only if it is there. Exit code 2: wrong usage, said in one line.
"""

import argparse
import datetime
import importlib
import json
import os
import shlex
import sys
import time

from fm_lingvo import errors
from tools import event_files
from tools import exit_codes
from tools.common import this_machine
from tools.bench import party
from tools.bench import peers_env
from tools.bench import rows
from tools.bench import table

# Name of a group of rows -> (module, function of it that takes a rows.Setting), in the order of the table.
GROUPS = {
    'step_tiny': ('tools.bench.rows_step', 'RunTiny'),
    'step_base': ('tools.bench.rows_step', 'RunBase'),
    'quantizer': ('tools.bench.rows_quantizer', 'Run'),
    'transducer': ('tools.bench.rows_transducer', 'Run'),
    'transducer_large': ('tools.bench.rows_transducer', 'RunLarge'),
    'decoding': ('tools.bench.rows_decoding', 'Run'),
    'stages': ('tools.bench.rows_stages', 'Run'),
    'curves': ('tools.bench.rows_curves', 'Run'),
    'pipeline': ('tools.bench.rows_pipeline', 'Run'),
    'prepare': ('tools.bench.rows_prepare', 'Run'),
    'start': ('tools.bench.rows_start', 'Run'),
    'first_step': ('tools.bench.rows_start', 'RunFirstStep'),
}
_CLOCKS = {'wall': 'seconds', 'cpu': 'cpu_seconds'}
_PEERS = ('torch', 'torchaudio', 'speechbrain', 'fast-rnnt', 'optimized-transducer', 'rnnt', 'imageio-ffmpeg')


def Measure(args, setting, command):
  """Measures the groups asked for, each row into the file at once."""
  origin = _Origin(args, setting, command)
  for name in args.rows:
    print(name, file=sys.stderr, flush=True)
    started = time.monotonic()
    module, function = GROUPS[name]
    found = []
    for row in getattr(importlib.import_module(module), function)(setting):
      if setting.quick:
        row = {**row, 'bar': '', 'met': None}  # They are of the real sizes.
      found.append({**row, 'group': name, **origin})
      Write(args.output, name, found, whole=False)
    Write(args.output, name, found)
    print(f'{name}: {(time.monotonic() - started) / 60:.1f} min', file=sys.stderr, flush=True)


def Write(path, group, new, whole=True):
  """Puts rows of a group in the place of those that the file has of it: of all, or, unless `whole`, of those of their names."""
  kept, names = [], {row['name'] for row in new}
  if os.path.exists(path):
    with open(path, encoding='utf-8') as f:
      kept = [row for row in json.load(f)['rows']
              if row['name'] not in names and not (whole and row['group'] == group)]
  order = [*GROUPS]
  rank = lambda row: order.index(row['group']) if row['group'] in order else len(order)
  result = {'form': 'benchmark', 'rows': sorted(kept + new, key=rank)}
  table.Check(result, path)
  os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
  with open(path + '.tmp', 'w', encoding='utf-8') as f:
    f.write(json.dumps(result, indent=1, ensure_ascii=False) + '\n')
  os.replace(path + '.tmp', path)


def _Origin(args, setting, command):
  """Fields that all rows of a run share."""
  clock = {'seconds': 'wall clock', 'cpu_seconds': 'processor time'}[setting.clock]
  versions = this_machine.Versions(party.ROOT, args.commit)
  return {
      'command': shlex.join(['python', '-m', 'tools.benchmark', *command]), 'date': datetime.date.today().isoformat(),
      'machine': {**this_machine.Machine(), 'threads': setting.threads, 'clock': clock, 'beside': args.beside},
      'versions': {**versions, 'peers': setting.peers.Versions(_PEERS)},
  }


def _Groups(text):
  names = text.split(',')
  for name in names:
    if name not in GROUPS:
      raise argparse.ArgumentTypeError(
          f'{name}: no such group{event_files.DidYouMean(name, GROUPS)}; there are {", ".join(GROUPS)}')
  return names


def Main(argv):
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
      prog='benchmark', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--rows', type=_Groups, default=list(GROUPS), metavar='A,B', help=f'some of {", ".join(GROUPS)}')
  parser.add_argument('--rounds', type=int, default=5, help='turns of every party, whose median counts (default: 5)')
  parser.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)),
                      help='of every process (default: as many as there are cores for this one)')
  parser.add_argument('--clock', choices=sorted(_CLOCKS), default='wall',
                      help='wall: time that passes; cpu: the processor\'s, which other work on the machine does not '
                      'change (default: wall)')
  parser.add_argument('--quick', action='store_true', help='tiny sizes, two turns: a smoke test')
  parser.add_argument('--beside', default='', metavar='TEXT', help='other work that the machine had meanwhile')
  parser.add_argument('--commit', default='', help='of the code measured; default: git\'s')
  parser.add_argument('--output', default=os.path.join(party.ROOT, 'docs', 'results', 'benchmark.json'), metavar='FILE',
                      help='default: docs/results/benchmark.json; required with --quick')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('benchmark', lambda: _Run(args, argv[1:], parser.get_default('output')))


def _Run(args, given, committed):
  """Measures and prints what the arguments ask for; `committed` is the file for figures of full size."""
  if min(args.rounds, args.threads) < 1:
    raise errors.ConfigError('--rounds and --threads: expected >= 1')
  if args.quick and args.output == committed:
    raise errors.ConfigError('--quick: expected --output=FILE, its figures are not for docs/results')
  setting = rows.Setting(peers_env.Find() if args.quick else peers_env.Make(), args.threads, 2 if args.quick else args.rounds,
                         _CLOCKS[args.clock], args.quick)
  Measure(args, setting, given)
  with open(args.output, encoding='utf-8') as f:
    print(table.Table(json.load(f)))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
