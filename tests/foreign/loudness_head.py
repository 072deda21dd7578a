"""A head without labels from outside the library: it implements Corrupt and Loss, and no more."""

from lingvo import compat as tf
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.heads import base_head


class LoudnessHead(base_head.BaseHead):
  """Tells the mean of a frame's clean features from half of its mel bins."""

  def __init__(self, params):
    super().__init__(params)
    self.CreateChild(
      'proj',
      layers.FCLayer.Params().Set(input_dim=self.params.input_dim, output_dim=1, activation='NONE', has_bias=True),
    )

  def Corrupt(self, theta, features, paddings):
    half = self.params.num_bins // 2
    kept = tf.concat([tf.ones([half]), tf.zeros([self.params.num_bins - half])], axis=0)
    return py_utils.NestedMap(features=features * kept, target=tf.reduce_mean(features, axis=2))

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    batch_size, frames = py_utils.GetShape(paddings)
    target = tf.reduce_mean(tf.reshape(corrupted.target, [batch_size, frames, self.params.downsample_factor]), axis=2)
    error = tf.abs(tf.squeeze(self.proj.FProp(theta.proj, encoded), 2) - target)  # [B, N]
    total = tf.reduce_sum(1.0 - paddings)
    return {'loss': (tf.reduce_sum(error * (1.0 - paddings)) / tf.maximum(total, 1.0), total)}, {}
