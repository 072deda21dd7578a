"""Mixed precision: what computes in bfloat16, and what stays float32.

Variables, gradients and optimizer are float32: Lingvo casts a layer's variables to its
`fprop_dtype` anew in each step. So a product has the dtype of its weight; Product gives
it back in float32, in which biases, softmax, losses and lattices are computed. Front
end and quantizer are float32 always.
"""

from lingvo import compat as tf
from lingvo.core import batch_major_attention
from lingvo.core import layers

from fm_lingvo.layers import subparams
from fm_lingvo.utils import suggest

_DTYPES = {'float32': tf.float32, 'bfloat16': tf.bfloat16}


def SetComputeDtype(task_params, name, path):
  """Makes a task compute in a dtype: all its layers that have none of their own.

  Args:
    task_params: Params of the task.
    name: float32 or bfloat16.
    path: Of the knob, for the message.

  Raises:
    errors.ConfigError: There is no such dtype.
  """
  suggest.CheckChoice(path, name, _DTYPES)
  if name != 'float32':  # Which unset means.
    task_params.fprop_dtype = _DTYPES[name]


def Product(x, w):
  """x [..., K] times w [K, L] in the dtype of w -> float32 [..., L]."""
  return tf.cast(tf.tensordot(tf.cast(x, w.dtype), w, 1), tf.float32)


class LayerNorm(layers.LayerNorm):
  """Lingvo's in float32, mean and variance too; the output is of its input's dtype."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.fprop_dtype = tf.float32
    return p

  def FProp(self, theta, inputs):
    """Args: inputs [..., D] of any float dtype. Returns: the same shape and dtype."""
    return tf.cast(super().FProp(theta, inputs), inputs.dtype)


class _AttentionInFloat32:
  """Mixed into Lingvo's attentions: what 8 bits of mantissa are too few for.

  Softmax is float32; Lingvo's global attention does that itself, its local and
  chunk-wise ones do not. So are the angles of relative positions: from 256 on not even
  the positions are bfloat16 numbers.
  """

  def CreateChild(self, name, params):
    if name == 'pos_emb':
      params = params.Copy().Set(fprop_dtype=tf.float32)
    super().CreateChild(name, params)

  def _AttenLogits(self, *args, **kwargs):
    return tf.cast(super()._AttenLogits(*args, **kwargs), tf.float32)


def KeepFloat32(p):
  """Keeps norms, softmax and positions float32 in the Params `p` of a Conformer block."""
  for _, name, layer in subparams.All(p):
    cls = subparams.Class(layer)
    if name == 'conv_norm_layer_tpl':  # The convolution casts its output itself.
      layer.fprop_dtype = tf.float32
    elif cls is layers.LayerNorm:
      layer.Set(cls=LayerNorm, fprop_dtype=tf.float32)
    elif issubclass(cls, batch_major_attention.MultiHeadedAttention) and not issubclass(cls, _AttentionInFloat32):
      layer.cls = type(cls.__name__, (_AttentionInFloat32, cls), {})
