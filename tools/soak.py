"""A long run whose memory and open files must stay flat: training, evaluations and checkpoints of a tiny experiment.

  python -m tools.soak --minutes=120

Samples the process's resident memory, open file descriptors and threads, and compares the middle fifth of the samples with the
last one: what start-up and the first epochs take is no leak. Exit code 0: flat; 1: one of them grew, or the run ended by
itself; 2: wrong usage; 130: Ctrl-C. Prints a line a minute and, last, JSON.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time

import psutil

from fm_lingvo import errors

from .common import exit_codes
from .faults import processes

_SAMPLE_SECONDS = 2.0
# How much more than in the middle is flat.
_MORE = {'memory_mb': 1.03, 'files': 1.0, 'threads': 1.0}


def Sample(process):
  """dict of what is watched, of a psutil.Process."""
  return {'memory_mb': process.memory_info().rss / 2**20, 'files': process.num_fds(), 'threads': process.num_threads()}


def Compare(samples):
  """What grew between the middle fifth and the last fifth of the samples.

  Args:
    samples: List of dicts as Sample's, in order, at least ten.

  Returns:
    (figures, grown): dict name -> (median of the middle, median of the end); names of those that grew.
  """
  fifth = len(samples) // 5
  middle, end = samples[2 * fifth : 3 * fifth], samples[-fifth:]
  figures = {
    name: (statistics.median(s[name] for s in middle), statistics.median(s[name] for s in end)) for name in _MORE
  }
  return figures, [name for name, (before, after) in figures.items() if after > before * _MORE[name]]


def Soak(minutes, folder):
  """Runs for so many minutes from the first checkpoint on.

  Returns:
    (samples, steps, done): list of Sample's dicts; steps trained; processes.Done.
  """
  from .faults import tiny  # TensorFlow, which is to keep quiet.

  data, run = os.path.join(folder, 'data'), os.path.join(folder, 'run')
  tiny.WriteData(data)
  command = tiny.Command(
    run,
    data,
    evaluated=['DevHuman'],
    max_steps=10**7,
    save_interval_steps=50,
    eval_interval_steps=100,
    summary_interval_steps=10,
  )
  samples = []
  with processes.Started(command, folder) as child:
    child.WaitFor(r'step 100: DevHuman')
    watched, deadline, told = psutil.Process(child.pid), time.monotonic() + 60 * minutes, 0
    while child.alive and time.monotonic() < deadline:
      samples.append(Sample(watched))
      if len(samples) * _SAMPLE_SECONDS >= 60 * told:
        told += 1
        print(' '.join(f'{name} {value:.0f}' for name, value in samples[-1].items()), flush=True)
      time.sleep(_SAMPLE_SECONDS)
    ended_itself = not child.alive
    child.Kill(signal.SIGTERM)
    done = child.Wait(120)
  return samples, tiny.Steps(run)[-1], not ended_itself and done.code == 128 + signal.SIGTERM and done.is_clean


def Main(argv):
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='soak', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--minutes', type=float, default=120.0, help='default: 120')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('soak', lambda: _Run(args.minutes))


def _Run(minutes):
  """Soaks and says what grew; returns the exit code."""
  if not minutes * 60 >= 10 * _SAMPLE_SECONDS:
    raise errors.ConfigError(f'--minutes={minutes:g}: expected at least {10 * _SAMPLE_SECONDS / 60:.2g}')
  with tempfile.TemporaryDirectory(prefix='soak-') as folder:
    samples, steps, clean = Soak(minutes, folder)
  figures, grown = Compare(samples)
  print(
    json.dumps(
      {
        'minutes': minutes,
        'steps': steps,
        'samples': len(samples),
        'ended_well': clean,
        'grown': grown,
        **{name: {'middle': round(a, 1), 'end': round(b, 1)} for name, (a, b) in figures.items()},
      }
    )
  )
  return 1 if grown or not clean else 0


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
