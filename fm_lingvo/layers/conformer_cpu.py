"""Parts of Lingvo's Conformer block in forms that are faster on a CPU, with the same results.

docs/speed.md has the gain of each. Variables and Params are those of Lingvo.

B: utterances, T: encoded frames, N: heads, H: width of a head, D: model width,
L: relative distances = 2T - 1.
"""

from lingvo import compat as tf
from lingvo.core import attention_util
from lingvo.core import conformer_layer
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.layers import layer_norm
from fm_lingvo.layers import subparams


@tf.custom_gradient
def Swish(x):
  """Returns x * sigmoid(x) of any shape; stores x alone for the gradient, as TensorFlow does.

  TensorFlow's function has a factor in the sigmoid, and a gradient of eight operations on the largest activations of a
  block; this one has five.
  """

  def _Gradient(dy):
    with tf.control_dependencies([dy]):  # Or it would be merged with the sigmoid below, and stored.
      sigmoid = tf.sigmoid(x)
    # d(x s)/dx = s + x s (1 - s), of which SigmoidGrad computes s (1 - s) times its second argument.
    return dy * sigmoid + tf.raw_ops.SigmoidGrad(y=sigmoid, dy=dy * x)

  return x * tf.sigmoid(x), _Gradient


class _LConvLayer(conformer_layer.LConvLayer):
  """Lingvo's layer with Swish, and with our LayerNorm, which its constructor would not know as one."""

  def CreateChild(self, name, params):
    if name == 'norm' and params.cls is layers.LayerNorm:
      params = params.Copy().Set(cls=layer_norm.LayerNorm)
    super().CreateChild(name, params)

  def _ApplyActivation(self, inputs, act_name):
    return Swish(inputs) if act_name == 'SWISH' else super()._ApplyActivation(inputs, act_name)


class _BatchedProjection:
  """Mixin for Lingvo's projections: one matrix product per batch, activations in float32, padded frames as others.

  Lingvo multiplies each utterance separately, and sums a gradient of the weights for
  each. On a CPU a sigmoid in bfloat16 takes several times as long as in float32. On a
  TPU Lingvo's form is faster and is kept. Lingvo sets the padded frames to 0 after each
  projection; attention and convolution, the only layers that see other frames, do so anyway.
  """

  def FProp(self, theta, inputs, paddings=None):
    """Args: inputs [..., D]; paddings [..., 1]. Returns: [..., D']."""
    return super().FProp(theta, inputs, paddings if self.params.batch_norm else None)

  def _ApplyProjectionKernel(self, w, b, inputs, **kwargs):
    project = super()._ApplyProjectionKernel
    if py_utils.use_tpu() or inputs.shape.rank != 3:
      return project(w, b, inputs, **kwargs)
    batch, time, depth = py_utils.GetShape(inputs)
    # [B, T, D] -> [B * T, D]
    flat = project(w, b, tf.reshape(inputs, [batch * time, depth]), **kwargs)
    # [B * T, D'] -> [B, T, D']
    return tf.reshape(flat, [batch, time, py_utils.GetShape(flat)[1]])

  def _ApplyActivationFunction(self, out):
    activate = Swish if self.params.activation == 'SWISH' else super()._ApplyActivationFunction
    if py_utils.use_tpu() or out.dtype != tf.bfloat16:
      return activate(out)
    return tf.cast(activate(tf.cast(out, tf.float32)), tf.bfloat16)


class ProjectionLayer(_BatchedProjection, layers.ProjectionLayer):
  """Lingvo's layer."""


class FCLayer(_BatchedProjection, layers.FCLayer):
  """Lingvo's layer."""


class PositionalAttenLogits(attention_util.PositionalAttenLogits):
  """Lingvo's layer, with the relative shift computed by copying whole rows.

  Lingvo gathers the reversed rows of distances element by element.
  """

  def RelPositionBias(self, content, abs_pos_emb, skip_term_b=False):
    """Computes the positional logits of Transformer-XL (arXiv 1901.02860, section 3.3).

    Args:
      content: [B, T, N, H]; [N, H] if skip_term_b.
      abs_pos_emb: [L, N, H]; row l is for the distance l - (T - 1) from query to key.
      skip_term_b: Whether the logits do not depend on the query.

    Returns:
      [B, N, T, T], at (i, j) the product of query i and row i - j + T - 1; [N, T, T] if
      skip_term_b.
    """
    if skip_term_b:
      return super().RelPositionBias(content, abs_pos_emb, skip_term_b)
    batch, time, heads, _ = py_utils.GetShape(content)
    # Column l is for row L - 1 - l: the logit of query i and key j is in column j - i + T - 1.
    x = tf.einsum('BTNH,LNH->BNTL', content, tf.reverse(abs_pos_emb, [0]))
    # Starting at column T - 1 of the first query, with rows of one column less, it is in column j.
    row = max(2 * time - 2, 1) if isinstance(time, int) else tf.maximum(2 * time - 2, 1)
    # [B, N, T, L] -> [B * N, T * L] -> [B * N, T * row]
    x = tf.reshape(x, [batch * heads, time * (2 * time - 1)])
    x = tf.slice(x, [0, time - 1], [batch * heads, time * row])
    # -> [B * N * T, row] -> [B * N * T, T] -> [B, N, T, T]
    x = tf.slice(tf.reshape(x, [batch * heads * time, row]), [0, 0], [batch * heads * time, time])
    return tf.reshape(x, [batch, heads, time, time])


_REPLACEMENTS = {
  attention_util.PositionalAttenLogits: PositionalAttenLogits,
  conformer_layer.LConvLayer: _LConvLayer,
  layers.FCLayer: FCLayer,
  layers.LayerNorm: layer_norm.LayerNorm,
  layers.ProjectionLayer: ProjectionLayer,
}


def Use(p):
  """Replaces layers in the Params `p` of a Conformer block by those of this module."""
  for _, name, layer in subparams.All(p):
    cls = subparams.Class(layer)
    if cls in _REPLACEMENTS and name != 'conv_norm_layer_tpl':
      layer.cls = _REPLACEMENTS[cls]
