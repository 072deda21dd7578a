"""Trains a tiny model for a long time: memory, open files and threads must stay flat through steps, evaluations and checkpoints.

  python -m tests.faults.soak --minutes=120

Compares the middle fifth of the samples with the last one: what start-up and the first epochs take is no leak. Prints a line a
minute and, last, JSON. Exit code 0: flat; 1: something grew, or the run ended early; 2: wrong usage; 130: Ctrl-C.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time

from fm_lingvo import errors
import psutil
from tests.faults import tiny_run
from tools import exit_codes

_SAMPLE_SECONDS = 2.0
# What is sampled -> by which factor it may grow.
_MAX_GROWTH = {'memory_mb': 1.03, 'files': 1.0, 'threads': 1.0}


def Compare(samples):
  """What grew between the middle fifth and the last fifth of the samples.

  Args:
    samples: List of dicts with the keys of _MAX_GROWTH, in order, at least ten.

  Returns:
    (figures, grown): dict name -> (median of the middle, median of the end); names of those that grew.
  """
  fifth = len(samples) // 5
  middle, end = samples[2 * fifth:3 * fifth], samples[-fifth:]
  figures = {name: (statistics.median(s[name] for s in middle), statistics.median(s[name] for s in end)) for name in _MAX_GROWTH}
  return figures, [name for name, (before, after) in figures.items() if after > before * _MAX_GROWTH[name]]


def Soak(minutes, folder):
  """Trains for so many minutes after the first evaluation.

  Returns:
    (samples, steps, ended_well): as of Compare; steps trained; whether the run went on until its SIGTERM, and ended cleanly.
  """
  run, samples = tiny_run.TinyRun(folder, 'run'), []
  with run.Start(evaluated=['DevHuman'], max_steps=10**7, save_interval_steps=50, eval_interval_steps=100,
                 summary_interval_steps=10) as child:
    child.WaitFor(r'step 100: DevHuman')
    process, deadline, printed = psutil.Process(child.pid), time.monotonic() + 60 * minutes, 0
    while child.alive and time.monotonic() < deadline:
      samples.append({'memory_mb': process.memory_info().rss / 2**20, 'files': process.num_fds(),
                      'threads': process.num_threads()})
      if len(samples) * _SAMPLE_SECONDS >= 60 * printed:
        printed += 1
        print(' '.join(f'{name} {value:.0f}' for name, value in samples[-1].items()), flush=True)
      time.sleep(_SAMPLE_SECONDS)
    went_on = child.alive
    child.Kill(signal.SIGTERM)
    done = child.Wait(120)
  return samples, run.Steps()[-1], went_on and done.code == 128 + signal.SIGTERM and done.is_clean


def Main(argv):
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
      prog='soak', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--minutes', type=float, default=120.0, help='default: 120')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('soak', lambda: _Run(args.minutes))


def _Run(minutes):
  """Soaks and prints what grew; returns the exit code."""
  if not minutes * 60 >= 10 * _SAMPLE_SECONDS:
    raise errors.ConfigError(f'--minutes={minutes:g}: expected at least {10 * _SAMPLE_SECONDS / 60:.2g}')
  with tempfile.TemporaryDirectory(prefix='soak-') as folder:
    samples, steps, ended_well = Soak(minutes, folder)
  figures, grown = Compare(samples)
  print(json.dumps({'minutes': minutes, 'steps': steps, 'samples': len(samples), 'ended_well': ended_well, 'grown': grown,
                    **{name: {'middle': round(a, 1), 'end': round(b, 1)} for name, (a, b) in figures.items()}}))
  return 1 if grown or not ended_well else 0


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
