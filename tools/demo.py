"""`make demo`: prepares the demo data, pretrains for a few minutes and prints the results."""

import argparse
import math
import os
import re
import subprocess
import sys
import time

from fm_lingvo.run_files import metrics_log
from fm_lingvo.utils import files as file_system


def _Run(*args):
  """Runs a module of the project with its output on the terminal; returns the seconds it took."""
  started = time.time()
  try:
    code = subprocess.run([sys.executable, '-m', *args], check=False).returncode
  except KeyboardInterrupt:  # The module was interrupted too, and prints it.
    sys.exit(130)
  if code:
    sys.exit(f'demo: python -m {args[0]} ended with exit code {code}')
  return time.time() - started


def _Train(data_dir, minutes):
  """Pretrains; returns (run directory, seconds)."""
  command = [
    sys.executable,
    '-m',
    'fm_lingvo.trainer',
    '--model=asr.BestRqPretrain',
    f'--gin.BestRqPretrain.data_dir={data_dir}',
    f'--gin.task.train.max_minutes={minutes}',
    '--gin.BestRqPretrain.max_steps=1000000',
  ]
  print('$ ' + ' '.join(['trainer'] + command[3:]), flush=True)
  started, logdir = time.time(), None
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    ended = False
    while not ended:
      try:
        for line in process.stdout:
          print(line, end='', flush=True)
          found = re.match(r'run directory: (.*)', line)
          logdir = found.group(1) if found else logdir
        ended = True
      except KeyboardInterrupt:
        pass  # The trainer was interrupted too: it saves a checkpoint and prints it.
  if process.returncode:
    print(f'demo: the trainer ended with exit code {process.returncode}', file=sys.stderr)
    sys.exit(process.returncode)
  return logdir, time.time() - started


def _Report(logdir):
  """Yields lines about the last evaluation of each data set, and whether the model has learnt."""
  rows = metrics_log.ReadMetrics(os.path.join(logdir, 'metrics.jsonl'))
  last = {row['dataset']: row for row in rows}
  yield (
    f'steps: {last["train"]["step"]}, at {last["train"]["throughput/audio_seconds_per_second"]:.0f} s of audio a second'
  )
  better = []
  for name, row in last.items():
    if name == 'train':
      continue
    accuracy = row['unlabeled/masked_accuracy']
    majority = row['unlabeled/majority_accuracy']
    better.append(accuracy > majority)
    yield (
      f'{name} ({row["unlabeled/audio_seconds"] / 60:.1f} min held out): masked '
      f'accuracy {accuracy:.1%}, {accuracy / majority:.2f} times that of always '
      f'guessing the most frequent code ({majority:.1%}); cross-entropy '
      f'{row["unlabeled/cross_entropy"]:.2f} nats, unigram entropy '
      f'{row["unlabeled/unigram_entropy"]:.2f}; codes in use '
      f'{row["unlabeled/code_coverage"]:.0%}, perplexity '
      f'{row["unlabeled/code_perplexity"]:.0f}'
    )
  if all(better):
    yield 'It has learnt: it beats guessing on all held-out speech.'
  else:
    yield 'It has not learnt enough to beat guessing on all held-out speech; make demo MINUTES=10 trains longer.'


def _Minutes(text):
  try:
    minutes = float(text)
  except ValueError:
    minutes = 0.0
  if not 0 < minutes < math.inf:
    raise argparse.ArgumentTypeError(f'{text}: expected a number > 0')
  return minutes


def _Parser():
  parser = argparse.ArgumentParser(prog='demo', description=__doc__)
  parser.add_argument('--minutes', type=_Minutes, default=4.5, help='minutes of training, > 0 (default: 4.5)')
  parser.add_argument('--data_only', action='store_true', help='only prepare the data')
  parser.add_argument(
    '--data_dir', type=file_system.ExpandUser, default='data/demo', help='folder of the demo data (default: data/demo)'
  )
  return parser


def Main(argv):
  """Runs the demo; exits if a part of it fails."""
  args = _Parser().parse_args(argv[1:])
  started = time.time()
  data_seconds = _Run('tools.prepare_data', '--importer=demo', f'--output={args.data_dir}')
  if args.data_only:
    return
  logdir, train_seconds = _Train(args.data_dir, args.minutes)
  print(
    '\nWhat the demo did: prepared speech under '
    f'{args.data_dir} ({data_seconds:.0f} s), pretrained a small Conformer on '
    f'it with BEST-RQ ({train_seconds:.0f} s, including start-up and evaluation).'
  )
  for line in _Report(logdir):
    print('  ' + line)
  print(f'  run: {logdir} (config.gin replays it, metrics.jsonl has all metrics)')
  print(f'  whole command: {time.time() - started:.0f} s')
  print('To look at it: make tensorboard, then open http://localhost:6006')


if __name__ == '__main__':
  Main(sys.argv)
