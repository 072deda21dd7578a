"""The fault suite: injects faults into real processes and counts which of them the project survives.

  python -m tools.faults                      # all kinds, in full: hours on two cores
  python -m tools.faults checkpoints records  # some
  python -m tools.faults --fast               # the part that tests run

Each kind replaces its row of docs/results/faults.json (with --fast, of no file); docs/results/README.md describes them. What
is called survived is in the modules beside this one, one for each kind. Exit code 0: all survived; 1: some did not, each is
printed; 2: wrong usage.
"""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time

from fm_lingvo import errors

from ..common import exit_codes
from . import outcome
from . import table

# Name -> (module, what the table calls it).
KINDS = {
  'kills': ('kill_faults', 'SIGKILL at random moments of training, evaluation, checkpoint writing'),
  'signals': ('signal_faults', 'SIGTERM and Ctrl-C, once and twice'),
  'disk': ('disk_faults', 'disk full, read-only or vanished folder: checkpoint, event file, preparation'),
  'checkpoints': ('checkpoint_faults', 'truncated, bit-flipped, empty, foreign checkpoint; a missing one named'),
  'records': ('record_faults', 'truncated, bit-flipped, missing shard; a manifest that disagrees'),
  'numbers': ('numeric_faults', 'NaN or Inf in a batch, a loss, a gradient'),
  'audio': ('audio_faults', 'malformed audio files, in preparation and in transcribe'),
  'gin': ('gin_faults', 'mutated Gin inputs and command lines'),
  'runs': ('run_faults', 'two trainers on one run; a configuration changed before a resumption'),
  'surroundings': ('surroundings_faults', 'clock jumps, full /tmp, read-only home, no locale, no network'),
  'untrusted': ('untrusted_faults', 'untrusted Gin file, manifest, archive, listing, tokenizer; open ports'),
  'determinism': ('determinism_faults', 'not a fault: two --deterministic runs, bit by bit'),
}


def Measure(name, size, folder):
  """Runs one kind; returns (list of outcome.Case, seconds)."""
  module = importlib.import_module(f'tools.faults.{KINDS[name][0]}')
  started = time.monotonic()
  os.makedirs(folder)
  cases = module.Run(folder, size)
  return cases, time.monotonic() - started


def Main(argv):
  """Runs the suite; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='faults', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('kinds', nargs='*', metavar='KIND', help=f'default: all of {", ".join(KINDS)}')
  parser.add_argument('--fast', action='store_true', help='the part that tests run')
  parser.add_argument('--seed', type=int, default=1, help='of random moments and mutations (default: 1)')
  parser.add_argument(
    '--count', type=int, default=2000, help='malformed files and mutated inputs, at most 30 kills (default: 2000)'
  )
  parser.add_argument('--folder', help='where runs go, which stay there (default: a temporary one, removed)')
  parser.add_argument('--output', default=table.PATH, metavar='FILE', help='default: docs/results/faults.json')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('faults', lambda: _Run(args, ['faults', *argv[1:]]))


def _Run(args, command):
  """Tries the kinds of faults that the arguments name; returns the exit code."""
  failed = 0
  for name in args.kinds or KINDS:
    if name not in KINDS:
      raise errors.ConfigError(f'{name}: no such kind of fault; expected one of {", ".join(KINDS)}')
  folder = os.path.abspath(args.folder) if args.folder else tempfile.mkdtemp(prefix='faults-')
  for name in args.kinds or KINDS:
    cases, seconds = Measure(name, outcome.Size(not args.fast, args.seed, args.count), os.path.join(folder, name))
    survived = sum(case.survived for case in cases)
    failed += len(cases) - survived
    print(f'{name}: {survived} of {len(cases)} survived in {seconds:.0f} s', flush=True)
    for case in cases:
      if not case.survived or len(cases) <= 40:
        print(f'  {"" if case.survived else "NOT SURVIVED: "}{case.name}: {case.seen}', flush=True)
    if not args.fast:
      table.Add(args.output, table.Row(name, KINDS[name][1], cases, seconds, command), list(KINDS))
  if not args.folder:
    shutil.rmtree(folder)
  return 1 if failed else 0


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
