"""`make demo`: pretrains for minutes on the demo data, then adapts the model that the project ships to a new domain.

  python -m tools.demo
  python -m tools.demo --minutes=0.5 --adapt_minutes=0

The first half prepares the demo data, pretrains a small Conformer with BEST-RQ and prints the results. The second half
recognises speech of a domain that the shipped model has not heard, adapts its adapters and decoder on a few labels, and
prints the word error rates before and after. Exit code: that of the part that fails; 130: Ctrl-C.
"""

import argparse
import math
import sys
import time

from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes
from .demos import adaptation
from .demos import commands
from .demos import pretraining


def _Minutes(text):
  try:
    minutes = float(text)
  except ValueError:
    minutes = -1.0
  if not 0 <= minutes < math.inf:
    raise argparse.ArgumentTypeError(f'{text}: expected a number >= 0')
  return minutes


def _Parser():
  parser = command_line.Parser('demo', __doc__)
  parser.add_argument(
    '--minutes', type=_Minutes, default=2.0, help='minutes of pretraining, 0: leave it out (default: 2)'
  )
  parser.add_argument(
    '--adapt_minutes', type=_Minutes, default=3.0, help='most minutes of adaptation, 0: leave it out (default: 3)'
  )
  parser.add_argument('--data_only', action='store_true', help='only prepare the data of the first half')
  parser.add_argument(
    '--data_dir', type=file_system.ExpandUser, default='data/demo', help='folder of the demo data (default: data/demo)'
  )
  return parser


def _Pretrain(args):
  seconds = commands.Run('tools.prepare_data', '--importer=demo', f'--output={args.data_dir}')
  if args.data_only or not args.minutes:
    return
  logdir, train_seconds = pretraining.Pretrain(args.data_dir, args.minutes)
  print(
    f'\nPretraining: prepared speech under {args.data_dir} ({seconds:.0f} s), pretrained a small Conformer on it '
    f'with BEST-RQ ({train_seconds:.0f} s, including start-up and evaluation).'
  )
  for line in pretraining.Report(logdir):
    print('  ' + line)
  print(f'  run: {logdir} (config.gin replays it, metrics.jsonl has all metrics)\n', flush=True)


def _Adapt(args):
  data_dir = f'{args.data_dir}/adaptation'
  adaptation.Prepare(data_dir)
  before = adaptation.Before(data_dir)
  logdir, seconds = adaptation.Adapt(data_dir, args.adapt_minutes)
  print(f'\nAdaptation of the model that the project ships ({seconds:.0f} s, including start-up and evaluation):')
  print(f'  {adaptation.Size(logdir)}')
  for line in adaptation.Report(before, logdir):
    print('  ' + line)
  print(f'  run: {logdir}')


def _Run(args):
  started = time.time()
  _Pretrain(args)
  if args.data_only:
    return
  if args.adapt_minutes:
    _Adapt(args)
  print(f'\nThe whole demo: {time.time() - started:.0f} s')
  print('To look at it: make tensorboard, then open http://localhost:6006')


def Main(argv: list[str]) -> int:
  """Runs the demo; returns the exit code, and exits with that of a part that fails."""
  args = _Parser().parse_args(argv[1:])
  return exit_codes.Report('demo', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
