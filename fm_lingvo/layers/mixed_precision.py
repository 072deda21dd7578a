"""Mixed precision: matrix products in bfloat16, everything sensitive in float32.

Variables, gradients and optimizer are float32; Lingvo casts a layer's variables to its
`fprop_dtype` in each step. Product's result is rounded to the weight's dtype, then cast to
float32. Biases are rounded by Lingvo's cast, then added in float32. Softmax, losses and
lattices are computed in float32; front end and quantizer are always float32.
"""

from lingvo import compat as tf
from lingvo.core import batch_major_attention
from lingvo.core import layers

from fm_lingvo.layers import subparams
from fm_lingvo.utils import suggest

_DTYPES = {'float32': tf.float32, 'bfloat16': tf.bfloat16}


def SetComputeDtype(task_params, name, path):
  """Sets the compute dtype of a task, for all layers without a dtype of their own.

  Args:
    task_params: Params of the task.
    name: float32 or bfloat16.
    path: Path of the knob, for the message.

  Raises:
    errors.ConfigError: The dtype is not supported.
  """
  suggest.CheckChoice(path, name, _DTYPES)
  if name != 'float32':  # None, the default, means float32.
    task_params.fprop_dtype = _DTYPES[name]


def Product(x, w):
  """Multiplies x [..., K] with w [K, L] in the dtype of w; returns float32 [..., L]."""
  x = tf.cast(x, w.dtype)
  # For a matrix, tensordot has a dozen operations more, which count in the steps of a search.
  return tf.cast(tf.matmul(x, w) if x.shape.rank == 2 else tf.tensordot(x, w, 1), tf.float32)


class _AttentionInFloat32:
  """Mixin for Lingvo's attentions: float32 where the 8-bit mantissa of bfloat16 is too short.

  The softmax is float32: Lingvo's global attention does this itself, its local and
  chunk-wise attentions do not. The angles of relative positions are float32, too:
  bfloat16 cannot represent all positions above 256.
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
    elif issubclass(cls, layers.LayerNorm):
      layer.fprop_dtype = tf.float32
    elif issubclass(cls, batch_major_attention.MultiHeadedAttention) and not issubclass(cls, _AttentionInFloat32):
      layer.cls = type(cls.__name__, (_AttentionInFloat32, cls), {})
