"""A small metrics.jsonl as the trainer writes it, for tests of what reads it."""

import os
import time

from fm_lingvo.run_files import metrics_log


def Write(run, dataset, rows, wall_time=None):
  """Appends rows of a data set.

  Args:
    run: Folder of the run; made if it is not there.
    dataset: train, or an evaluated data set's name, such as DevHuman.
    rows: List of (step, dict metric -> value).
    wall_time: Of the rows, in seconds since the epoch; default: now.
  """
  os.makedirs(run, exist_ok=True)
  for step, values in rows:
    metrics_log.AppendRow(
      os.path.join(run, 'metrics.jsonl'), {'dataset': dataset, 'step': step, 'time': wall_time or time.time(), **values}
    )


def Metrics(accuracy=0.1, majority=0.08, branch='unlabeled'):
  """What an evaluation of BEST-RQ writes."""
  values = {
    'masked_accuracy': accuracy,
    'majority_accuracy': majority,
    'cross_entropy': 4.5,
    'unigram_entropy': 5.0,
    'code_perplexity': 150.0,
    'code_coverage': 0.9,
  }
  return {'loss': 4.5, **{f'{branch}/{k}': v for k, v in values.items()}}


def WriteRun(run, wall_time=None):
  """A run of 100 steps, with metrics of training and an evaluation every 50."""
  speed = {'learning_rate': 1e-3, 'throughput/steps_per_second': 2.0, 'throughput/audio_seconds_per_second': 40.0}
  for step, accuracy in ((50, 0.05), (100, 0.12)):
    Write(run, 'train', [(step, {**Metrics(), **speed})], wall_time)
    Write(run, 'DevHuman', [(step, Metrics(accuracy))], wall_time)
