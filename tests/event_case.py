"""Small event files as the trainer writes them, for tests of what reads them."""

import os
import time

from absl import flags
from tensorboard.compat.proto import event_pb2
from tensorboard.compat.proto import summary_pb2
from tensorboard.summary.writer import event_file_writer

if not flags.FLAGS.is_parsed():
  flags.FLAGS(['test'])  # pytest does not; absltest.main parses again.


def WriteScalars(folder, rows, wall_time=None):
  """Writes one new event file.

  Args:
    folder: Where to.
    rows: List of (step, dict tag -> value).
    wall_time: Of the events, in seconds since the epoch; default: now.
  """
  summaries = [
    (
      step,
      summary_pb2.Summary(
        value=[summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
      ),
    )
    for step, values in rows
  ]
  WriteSummaries(folder, summaries, wall_time)


def WriteSummaries(folder, summaries, wall_time=None):
  """As WriteScalars, from a list of (step, Summary of TensorBoard or TensorFlow)."""
  writer = event_file_writer.EventFileWriter(folder)
  for step, summary in summaries:
    own = summary_pb2.Summary.FromString(summary.SerializeToString())
    writer.add_event(event_pb2.Event(wall_time=wall_time or time.time(), step=step, summary=own))
  writer.close()


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
  """A run of 100 steps, summarised every 50 and evaluated at the end."""
  speed = {'learning_rate': 1e-3, 'throughput/steps_per_second': 2.0, 'throughput/audio_seconds_per_second': 40.0}
  WriteScalars(os.path.join(run, 'train'), [(step, {**Metrics(), **speed}) for step in (50, 100)], wall_time)
  WriteScalars(os.path.join(run, 'eval_devhuman'), [(50, Metrics(0.05)), (100, Metrics(0.12))], wall_time)
