"""What breaks inside a process: each function patches it and is called before its program starts.

Only faults that no file and no signal can bring about are made like this.
"""

import time


def BadWaveforms(utt_id, value):
  """Makes the waveforms of an utterance NaN or Inf, whenever it is in a batch."""
  from lingvo import compat as tf

  from fm_lingvo.data import batcher

  original = batcher.Batches.Finish

  def Finish(self, batch):
    live, tensors = original(self, batch)
    bad = tf.equal(tensors.utt_ids, utt_id)[:, tf.newaxis]
    tensors.waveforms = tf.where_v2(bad, tf.constant(float(value)), tensors.waveforms)
    return live, tensors

  batcher.Batches.Finish = Finish


def BadLoss(first, last, value):
  """Makes the loss NaN or Inf from step `first` to `last`, counted from 0."""
  _AtSteps(first, last, lambda tf, loss: loss + tf.constant(float(value)))


def BadGradient(first, last):
  """Makes gradients NaN, while the loss stays finite, from step `first` to `last`."""

  def Poisoned(tf, loss):

    @tf.custom_gradient
    def Same(x):
      return tf.identity(x), lambda grad: grad * float('nan')

    return Same(loss)

  _AtSteps(first, last, Poisoned)


def _AtSteps(first, last, function):
  from lingvo import compat as tf
  from lingvo.core import py_utils

  from fm_lingvo import hydra

  original = hydra.HydraTask.ComputeLoss

  def ComputeLoss(self, theta, predictions, input_batch):
    metrics, tensors = original(self, theta, predictions, input_batch)
    loss, weight = metrics['loss']
    if not self.do_eval:
      step = py_utils.GetGlobalStep()
      now = tf.logical_and(step >= first, step <= last)
      metrics['loss'] = tf.cond(now, lambda: function(tf, loss), lambda: loss), weight
    return metrics, tensors

  hydra.HydraTask.ComputeLoss = ComputeLoss


def ClockJumps(seconds, every):
  """Sets the clock of the process back and forth: each `every`-th reading by `seconds`, back first."""
  original, readings = time.time, [0]

  def Time():
    readings[0] += 1
    return original() + seconds * ((readings[0] // every) % 3 - 1)

  time.time = Time


def FileSizeLimit(num_bytes):
  """No file may grow past a size, as on a full disk: writing more fails."""
  import resource
  import signal

  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))
