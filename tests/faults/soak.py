"""Hours of training, evaluations and checkpoints of a tiny model: memory, open files and threads stay flat."""

import signal
import statistics
import time

import psutil

from tests.faults import suite as suite_lib
from tests.faults import tiny_run

_SAMPLE_SECONDS = 2.0
# What is sampled -> by which factor it may grow.
_MAX_GROWTH = {'memory_mb': 1.03, 'files': 1.0, 'threads': 1.0}


def Compare(samples):
  """Compares the middle fifth of the samples with the last fifth: what start-up and the first epochs take is no leak.

  Args:
    samples: List of dicts with the keys of _MAX_GROWTH, in order, at least ten.

  Returns:
    dict: name -> (median of the middle, median of the end, whether it has grown).
  """
  fifth = len(samples) // 5
  compared = {}
  for name, growth in _MAX_GROWTH.items():
    before, after = (
      statistics.median(sample[name] for sample in part) for part in (samples[2 * fifth : 3 * fifth], samples[-fifth:])
    )
    compared[name] = before, after, after > before * growth
  return compared


def Run(suite):
  """Trains for suite.minutes after the first evaluation; yields a Case for what is sampled, and for the run's end."""
  run, samples = tiny_run.TinyRun(suite.folder, 'run'), []
  intervals = dict(save_interval_steps=50, eval_interval_steps=100, summary_interval_steps=10)
  with run.Start(evaluated=['DevHuman'], max_steps=10**7, **intervals) as child:
    child.WaitFor(r'step 100: DevHuman')
    process, end = psutil.Process(child.pid), time.monotonic() + 60 * suite.Pick(suite.minutes, 0.5)
    while child.alive and time.monotonic() < end:
      with process.oneshot():
        sample = process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()
      samples.append(dict(zip(_MAX_GROWTH, sample)))
      time.sleep(_SAMPLE_SECONDS)
    went_on = child.alive
    child.Kill(signal.SIGTERM)
    done = child.Wait(120)
  for name, (before, after, grown) in Compare(samples).items():
    yield suite_lib.Case(name, not grown, f'{before:.1f} in the middle, {after:.1f} at the end, {len(samples)} samples')
  yield suite_lib.Ended('ends with SIGTERM', done, 128 + signal.SIGTERM, 'SIGTERM: checkpoint at step', went_on)
