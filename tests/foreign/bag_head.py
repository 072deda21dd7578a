"""A head with labels from outside the library: it predicts labels without an order, and decodes the likeliest."""

import numpy as np
from lingvo import compat as tf
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.heads import labeled_head


class BagHead(labeled_head.LabeledHead):
  """Predicts an utterance's labels, in any order, from the mean of its frames; fits that mean's offset to data."""

  def __init__(self, params):
    super().__init__(params)
    self.CreateChild(
      'proj',
      layers.FCLayer.Params().Set(
        input_dim=self.params.input_dim, output_dim=self.tokenizer.vocab_size, activation='NONE', has_bias=True
      ),
    )

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    self.CreateVariable(
      'frames', py_utils.WeightParams([], py_utils.WeightInit.Constant(0.0), tf.float32), trainable=False
    )

  @classmethod
  def FitReason(cls, p):
    return 'frames'

  def Fit(self, sess, batches, loaded):
    if self.vars.frames.op.name in loaded:
      return ''
    self.vars.frames.load(np.float32(np.mean([(1 - paddings).sum(axis=1).mean() for _, paddings in batches(2)])), sess)
    return 'frames of an utterance fitted on 2 batches'

  def _LogProbs(self, theta, encoded, paddings):
    seen = (1.0 - paddings)[:, :, tf.newaxis]
    mean = tf.reduce_sum(encoded * seen, axis=1) / tf.maximum(theta.frames, 1.0)  # [B, D]
    return tf.nn.log_softmax(self.proj.FProp(theta.proj, mean))  # [B, V]

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    log_probs = self._LogProbs(theta, encoded, paddings)
    used = tf.sequence_mask(batch.label_lengths, tf.shape(batch.labels)[1], tf.float32) * batch.weights[:, tf.newaxis]
    total = tf.reduce_sum(used)
    nll = -tf.gather(log_probs, batch.labels, batch_dims=1)  # [B, U]
    return {'loss': (tf.reduce_sum(nll * used) / tf.maximum(total, 1.0), total)}, {}

  def Decode(self, theta, encoded, paddings):
    scores, labels = tf.math.top_k(
      self._LogProbs(theta, encoded, paddings)[:, 3:], 1
    )  # [B, 1], none of blank and signs.
    labels = labels[:, :, tf.newaxis] + 3
    return py_utils.NestedMap(
      labels=labels, lengths=tf.ones_like(labels)[:, :, 0], scores=scores, frames=tf.zeros_like(labels)
    )
