"""Parts of Lingvo's Conformer block in forms that a CPU computes faster, to the same values.

docs/speed.md has what each saves. Variables and Params are Lingvo's.

B: utterances, T: encoded frames, N: heads, H: width of a head, D: model width,
L: relative distances = 2T - 1.
"""

from fm_lingvo import subparams
from lingvo import compat as tf
from lingvo.core import attention_util
from lingvo.core import layers
from lingvo.core import py_utils


class _Projection:
  """Mixed into Lingvo's projections: one product for a batch, activations in float32.

  Lingvo multiplies utterance by utterance, and adds up a gradient by the weights for
  each. In bfloat16 a CPU takes several times as long for a sigmoid as in float32. On a
  TPU Lingvo's way is the faster one, and is kept.
  """

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
    activate = super()._ApplyActivationFunction
    if py_utils.use_tpu() or out.dtype != tf.bfloat16:
      return activate(out)
    return tf.cast(activate(tf.cast(out, tf.float32)), tf.bfloat16)


class PositionalAttenLogits(attention_util.PositionalAttenLogits):
  """Lingvo's, with relative positions shifted by copies of whole rows.

  Lingvo reads each row of distances from its end to its start, number by number.
  """

  def RelPositionBias(self, content, abs_pos_emb, skip_term_b=False):
    """Transformer-XL's logits by position (arXiv 1901.02860, section 3.3).

    Args:
      content: [B, T, N, H]; [N, H] if skip_term_b.
      abs_pos_emb: [L, N, H], row l of the distance l - (T - 1) from query to key.
      skip_term_b: Whether they do not depend on the query.

    Returns:
      [B, N, T, T], the product of query i and row i - j + T - 1 at (i, j); [N, T, T] if
      skip_term_b.
    """
    if skip_term_b:
      return super().RelPositionBias(content, abs_pos_emb, skip_term_b)
    batch, time, heads, _ = py_utils.GetShape(content)
    # Column l is that of row L - 1 - l: what query i has for key j is in column j - i + T - 1.
    x = tf.einsum('BTNH,LNH->BNTL', content, tf.reverse(abs_pos_emb, [0]))
    # From column T - 1 of the first query on, in rows that are one shorter, it is in column j.
    row = max(2 * time - 2, 1) if isinstance(time, int) else tf.maximum(2 * time - 2, 1)
    # [B, N, T, L] -> [B * N, T * L] -> [B * N, T * row]
    x = tf.reshape(x, [batch * heads, time * (2 * time - 1)])
    x = tf.slice(x, [0, time - 1], [batch * heads, time * row])
    # -> [B * N * T, row] -> [B * N * T, T] -> [B, N, T, T]
    x = tf.slice(tf.reshape(x, [batch * heads * time, row]), [0, 0],
                 [batch * heads * time, time])
    return tf.reshape(x, [batch, heads, time, time])


_FORMS = {attention_util.PositionalAttenLogits: PositionalAttenLogits}
_FORMS.update({cls: type(cls.__name__, (_Projection, cls), {})
               for cls in (layers.ProjectionLayer, layers.FCLayer)})


def Use(p):
  """Puts the layers of this module into the Params `p` of a Conformer block."""
  for _, _, layer in subparams.All(p):
    cls = subparams.Class(layer)
    if cls in _FORMS:
      layer.cls = _FORMS[cls]
    if issubclass(cls, layers.LayerNorm):
      layer.use_defun = False  # The same operations, without a function and its gradient to be traced for each norm.
