"""NaN and Inf in a batch, a loss or a gradient: the step is skipped, counted and named, and changes no weight."""

import functools
import json
import pathlib

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import hydra
from fm_lingvo.data import batcher
from tests.faults import suite as suite_lib
from tests.faults import tiny_run

_UTTERANCE = 'train0-3'  # Its waveform is not finite in the faults of a batch.


def _BadWaveforms(value):
  """Patch: the waveform of _UTTERANCE is NaN or Inf in every batch."""
  original = batcher.Batches.Finish

  def Finish(self, batch):
    live, tensors = original(self, batch)
    bad = tf.equal(tensors.utt_ids, _UTTERANCE)[:, tf.newaxis]
    tensors.waveforms = tf.where_v2(bad, tf.constant(float(value)), tensors.waveforms)
    return live, tensors

  batcher.Batches.Finish = Finish


def _BadLoss(first, last, value):
  """Patch: the loss is NaN or Inf in the training steps from `first` to `last`, counted from 0."""
  _ChangeLoss(first, last, lambda loss: loss + tf.constant(float(value)))


def _BadGradient(first, last):
  """Patch: gradients are NaN in the training steps from `first` to `last`, while the loss is finite."""
  _ChangeLoss(first, last, tf.custom_gradient(lambda loss: (tf.identity(loss), lambda grad: grad * float('nan'))))


def _ChangeLoss(first, last, function):
  original = hydra.HydraTask.ComputeLoss

  def ComputeLoss(self, theta, predictions, input_batch):
    metrics, tensors = original(self, theta, predictions, input_batch)
    loss, weight = metrics['loss']
    if not self.do_eval:
      step = py_utils.GetGlobalStep()
      now = tf.logical_and(step >= first, step <= last)
      metrics['loss'] = tf.cond(now, lambda: function(loss), lambda: loss), weight
    return metrics, tensors

  hydra.HydraTask.ComputeLoss = ComputeLoss


# Name -> (patch, the steps that must be skipped; None: those with _UTTERANCE).
FAULTS = {
  'NaN in a batch': (functools.partial(_BadWaveforms, 'nan'), None),
  'Inf in a batch': (functools.partial(_BadWaveforms, 'inf'), None),
  'NaN in the loss': (functools.partial(_BadLoss, 1, 2, 'nan'), [2, 3]),
  'Inf in the loss': (functools.partial(_BadLoss, 1, 1, 'inf'), [2]),
  'NaN in the gradient': (functools.partial(_BadGradient, 2, 3), [3, 4]),
}


def Run(suite):
  """Trains with each fault; yields a Case for each."""
  for name, (patch, steps) in suite.Faults(FAULTS, 'NaN in a batch'):
    run = tiny_run.TinyRun(suite.folder, name)
    done = run.Train(patch=patch, max_steps=8, save_interval_steps=1)
    yield suite_lib.Ended(name, done, 0, 'skipped, loss', _SkippedOnly(run, steps))
  if suite.full:
    run = tiny_run.TinyRun(suite.folder, 'limit')
    done = run.Train('task.train.max_skipped_steps = 2', max_steps=8, patch=functools.partial(_BadLoss, 2, 99, 'nan'))
    yield suite_lib.Ended(
      'NaN in every loss: ends past the limit',
      done,
      1,
      'max_skipped_steps = 2: 3 steps',
      run.Steps()[-1] == 5 and run.IsFinite(5),
    )


def _SkippedOnly(run, steps):
  """Whether exactly the right steps were skipped, changed no weight, and were counted and named."""
  rows = [json.loads(line) for line in pathlib.Path(run.folder, 'skipped.jsonl').read_text().splitlines()]
  skipped = [row['step'] for row in rows]
  named = all(_UTTERANCE in str(row['utt_ids']) if steps is None else row['utt_ids'] for row in rows)
  saved = run.Steps()
  # A checkpoint differs from the one before in more than its step, unless its step was skipped.
  right = all(
    (run.Differing(step, run, step - 1) == ['global_step']) == (step in skipped) for step in saved if step - 1 in saved
  )
  return (
    (skipped == steps if steps else bool(skipped))
    and named
    and right
    and (run.Metrics()[-1]['skipped_steps'] == len(rows) and run.IsFinite(saved[-1]))
  )
