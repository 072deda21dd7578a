"""Layer normalisation (arXiv 1607.06450) with a gradient of fewer operations than Lingvo's."""

from lingvo import compat as tf
from lingvo.core import layers


class LayerNorm(layers.LayerNorm):
  """Lingvo's layer, with means as sums times 1 / D: the gradient of a mean divides a tensor of the input's size.

  It computes in its fprop_dtype; the output has the dtype of the input. Never as a function of its own, whose calls
  converters of exported graphs refuse: of Lingvo's params for the form of the computation none has an effect.
  """

  def FProp(self, theta, inputs):
    """Normalises each frame.

    Args:
      theta: NestedMap of this layer's variables.
      inputs: [..., D] of any float dtype.

    Returns:
      [..., D] of the same dtype.
    """
    p = self.params
    with tf.name_scope(p.name):
      x = self._CastToFPropDtype(inputs)
      scale, bias = self._GetScaleAndBias(theta)
      x -= self._Mean(x)
      inverse = tf.math.rsqrt(self._Mean(tf.square(x)) + p.epsilon)
      return tf.cast(x * inverse * (scale if p.direct_scale else 1.0 + scale) + bias, inputs.dtype)

  def _Mean(self, x):
    """[..., D] -> [..., 1]."""
    return tf.reduce_sum(x, -1, keepdims=True) * (1.0 / self.params.input_dim)
