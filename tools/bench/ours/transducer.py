"""Our transducer loss and its gradient, timed: on full logits, or with the joint network chunk by chunk.

Sizes: batch, frames, labels, vocab; `xla`, whether XLA compiles it; `depth` J > 0: from the joint network's inputs,
else from logits; `gradient_folder`: where the gradient is written, if given.
"""

import tempfile

import numpy as np
from lingvo import compat as tf

from fm_lingvo.losses import transducer_loss

from .. import inputs
from . import graph


def SetUp(sizes):
  """See worker.py. The fact `loss` is the sum over the batch, `gradient` a file of the logits' gradient."""
  joint = bool(sizes.get('depth'))
  *arrays, labels = inputs.Joint(sizes) if joint else inputs.Transducer(sizes)
  lengths = [tf.fill([sizes['batch']], sizes[k]) for k in ('frames', 'labels')]
  variables = [graph.Variable(x) for x in arrays]
  del arrays

  def _LossAndGradients(*tensors):
    if joint:
      enc, pred, w = tensors
      losses = transducer_loss.JointLoss(enc, pred, w, tf.zeros(w.shape[1]), labels, *lengths)
    else:
      losses = transducer_loss.TransducerLoss(*tensors, labels, *lengths)
    loss = tf.reduce_sum(losses)
    return [loss, *tf.gradients(loss, tensors)]

  run, fetch = graph.Step(_LossAndGradients, variables, sizes)
  facts = {'loss': lambda: float(fetch(0))}
  if 'gradient_folder' in sizes:
    facts['gradient'] = lambda: _Save(sizes['gradient_folder'], fetch(1))
  return run, facts


def _Save(folder, array):
  """Path of a new file with an array."""
  with tempfile.NamedTemporaryFile(dir=folder, suffix='.npy', delete=False) as f:
    np.save(f, array)
  return f.name
