"""Injects faults into real processes and counts which of them the project survives.

  python -m tests.faults                      # all kinds but soak, in full: hours on two cores
  python -m tests.faults checkpoints records  # some
  python -m tests.faults --fast               # the part that tests run
  python -m tests.faults soak --minutes=120

Each kind replaces its row of docs/results/faults.json (with --fast, of no file); docs/results/README.md describes them.
What must hold after a fault is in the modules beside this one. Exit code 0: all faults were survived; 1: some were not,
each is printed; 2: wrong usage.
"""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time

from fm_lingvo import errors
from tests.faults import suite as suite_lib
from tools.common import exit_codes
from tools.figures import results

# Name -> (module, its function, what the table calls it).
KINDS = {
  'kills': ('kills', 'Kills', 'SIGKILL at random moments of training, evaluation, checkpoint writing'),
  'signals': ('runs', 'Signals', 'SIGTERM and Ctrl-C, once and twice'),
  'disk': ('disk', 'Run', 'disk full, read-only or vanished folder: checkpoint, event file, preparation'),
  'checkpoints': ('checkpoints', 'Run', 'truncated, bit-flipped, empty, foreign checkpoint; a missing one named'),
  'records': ('records', 'Run', 'truncated, bit-flipped, missing shard; a manifest that disagrees'),
  'numbers': ('nonfinite', 'Run', 'NaN or Inf in a batch, a loss, a gradient'),
  'audio': ('audio', 'Run', 'malformed audio files, in preparation and in transcribe'),
  'gin': ('gin_inputs', 'Run', 'mutated Gin inputs and command lines'),
  'runs': ('runs', 'SecondTrainerAndChanges', 'two trainers on one run; a configuration changed before a resumption'),
  'surroundings': ('runs', 'Surroundings', 'clock jumps, full /tmp, read-only home, no locale, no network'),
  'untrusted': ('untrusted', 'Run', 'untrusted Gin file, manifest, archive, listing, tokenizer; open ports'),
  'determinism': ('kills', 'Determinism', 'not a fault: two --deterministic runs, bit by bit'),
  'soak': ('soak', 'Run', 'not a fault: memory, open files and threads in two hours of training'),
}
_SEEN = 12  # Survived faults whose message a row keeps.
_MIN_MINUTES = 0.5  # Of the soak.


def Row(kind, cases, seconds, flags=()):
  """A row of docs/results/faults.json.

  Args:
    kind: Of KINDS.
    cases: List of suite.Case.
    seconds: That all of them took.
    flags: Flags of the command, as far as they change what is injected.
  """
  lost = [case for case in cases if not case.survived]
  kept = lost + [case for case in cases if case.survived][:_SEEN]
  return {
    'kind': kind,
    'name': KINDS[kind][2],
    'injected': len(cases),
    'survived': len(cases) - len(lost),
    'seconds': round(seconds, 1),
    'seen': [{'fault': case.name, 'survived': case.survived, 'seen': _ShortenPaths(case.seen)} for case in kept],
    **results.Origin(' '.join(['python -m tests.faults', kind, *flags])),
  }


def _ShortenPaths(text):
  """A message in which absolute paths with more than two parts keep the last two: it was seen on another machine."""

  def Shorten(word):
    is_long = word.lstrip('\'"=').startswith(os.sep) and word.count(os.sep) > 2
    return os.path.join('...', *word.split(os.sep)[-2:]) if is_long else word

  return ' '.join(Shorten(word) for word in text.split())


def AddRow(path, row):
  """Puts a row into a file of results in place of its kind's; rows have the order of KINDS."""
  results.Merge(path, 'faults', [row], order=lambda row: list(KINDS).index(row['kind']))


def Main(argv):
  """Runs the suite; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='faults', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  number = dict(type=int, metavar='N')
  parser.add_argument('kinds', nargs='*', metavar='KIND', help=f'of {", ".join(KINDS)}')
  parser.add_argument('--fast', action='store_true', help='the part that tests run')
  parser.add_argument('--seed', default=1, **number, help='of random moments and mutations (default: 1)')
  parser.add_argument(
    '--count', default=2000, **number, help='malformed files and mutated inputs, at most 30 kills (default: 2000)'
  )
  parser.add_argument('--minutes', type=float, default=120.0, metavar='N', help='of the soak (default: 120)')
  parser.add_argument('--folder', help='for runs, which stay there (default: a temporary one, removed)')
  parser.add_argument(
    '--output', default=results.Path('faults'), metavar='FILE', help='default: docs/results/faults.json'
  )
  args = parser.parse_args(argv[1:])
  flags = [arg for arg in argv[1:] if arg.startswith(('--seed', '--count', '--minutes'))]
  return exit_codes.Report('faults', lambda: _Run(args, flags))


def _Run(args, flags):
  """Injects the kinds of faults that the arguments name; returns the exit code."""
  kinds = args.kinds or [kind for kind in KINDS if kind != 'soak']
  for kind in kinds:
    if kind not in KINDS:
      raise errors.ConfigError(f'{kind}: no such kind of fault; expected one of {", ".join(KINDS)}')
  if not args.minutes >= _MIN_MINUTES:
    raise errors.ConfigError(f'--minutes={args.minutes:g}: expected at least {_MIN_MINUTES}')
  folder = os.path.abspath(args.folder) if args.folder else tempfile.mkdtemp(prefix='faults-')
  lost = sum(_RunKind(kind, os.path.join(folder, kind), args, flags) for kind in kinds)
  if not args.folder:
    shutil.rmtree(folder)
  return 1 if lost else 0


def _RunKind(kind, folder, args, flags):
  """Injects the faults of a kind and prints what they did; returns how many were not survived."""
  module, function, _ = KINDS[kind]
  suite = suite_lib.Suite(folder, not args.fast, args.seed, args.count, args.minutes)
  started = time.monotonic()
  cases = list(getattr(importlib.import_module(f'tests.faults.{module}'), function)(suite))
  seconds = time.monotonic() - started
  survived = sum(case.survived for case in cases)
  print(f'{kind}: {survived} of {len(cases)} survived in {seconds:.0f} s', flush=True)
  for case in cases:
    if not case.survived or len(cases) <= 40:
      print(f'  {"" if case.survived else "NOT SURVIVED: "}{case.name}: {case.seen}', flush=True)
  if not args.fast:
    AddRow(args.output, Row(kind, cases, seconds, flags))
  return len(cases) - survived


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
