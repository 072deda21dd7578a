"""Injects faults into real processes and counts which of them the project survives.

  python -m tests.faults                      # all kinds, in full: hours on two cores
  python -m tests.faults checkpoints records  # some
  python -m tests.faults --fast               # the part that tests run

Each kind replaces its row of docs/results/faults.json (with --fast, of no file); docs/results/README.md describes them. What
must hold after a fault is in the modules beside this one. Exit code 0: all faults were survived; 1: some were not, each is
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
from tests.faults import suite as suite_lib
from tools import exit_codes
from tools.bench import results

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
}
_SEEN = 12  # Survived faults whose message a row keeps.


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
      'kind': kind, 'name': KINDS[kind][2], 'injected': len(cases), 'survived': len(cases) - len(lost),
      'seconds': round(seconds, 1),
      'seen': [{'fault': case.name, 'survived': case.survived, 'seen': _ShortenPaths(case.seen)} for case in kept],
      **results.Origin(' '.join(['python -m tests.faults', kind, *flags]))}


def _ShortenPaths(text):
  """A message in which long absolute paths keep their last two parts: it was seen on another machine."""
  return ' '.join(os.path.join('...', *word.split(os.sep)[-2:])
                  if word.lstrip('\'"=').startswith(os.sep) and word.count(os.sep) > 2 else word for word in text.split())


def AddRow(path, row):
  """Puts a row into a file of results in place of its kind's; rows have the order of KINDS."""
  results.Merge(path, 'faults', [row], order=lambda row: list(KINDS).index(row['kind']))


def Main(argv):
  """Runs the suite; returns the exit code."""
  parser = argparse.ArgumentParser(
      prog='faults', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('kinds', nargs='*', metavar='KIND', help=f'default: all of {", ".join(KINDS)}')
  parser.add_argument('--fast', action='store_true', help='the part that tests run')
  parser.add_argument('--seed', type=int, default=1, help='of random moments and mutations (default: 1)')
  parser.add_argument('--count', type=int, default=2000,
                      help='malformed files and mutated inputs, at most 30 kills (default: 2000)')
  parser.add_argument('--folder', help='for runs, which stay there (default: a temporary one, removed)')
  parser.add_argument('--output', default=results.Path('faults'), metavar='FILE', help='default: docs/results/faults.json')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('faults', lambda: _Run(args, [a for a in argv[1:] if a.startswith(('--seed', '--count'))]))


def _Run(args, flags):
  """Injects the kinds of faults that the arguments name; returns the exit code."""
  kinds, failed = args.kinds or list(KINDS), 0
  for kind in kinds:
    if kind not in KINDS:
      raise errors.ConfigError(f'{kind}: no such kind of fault; expected one of {", ".join(KINDS)}')
  folder = os.path.abspath(args.folder) if args.folder else tempfile.mkdtemp(prefix='faults-')
  for kind in kinds:
    module, function, _ = KINDS[kind]
    started = time.monotonic()
    cases = list(getattr(importlib.import_module(f'tests.faults.{module}'), function)(
        suite_lib.Suite(os.path.join(folder, kind), not args.fast, args.seed, args.count)))
    seconds = time.monotonic() - started
    survived = sum(case.survived for case in cases)
    failed += len(cases) - survived
    print(f'{kind}: {survived} of {len(cases)} survived in {seconds:.0f} s', flush=True)
    for case in cases:
      if not case.survived or len(cases) <= 40:
        print(f'  {"" if case.survived else "NOT SURVIVED: "}{case.name}: {case.seen}', flush=True)
    if not args.fast:
      AddRow(args.output, Row(kind, cases, seconds, flags))
  if not args.folder:
    shutil.rmtree(folder)
  return 1 if failed else 0


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
