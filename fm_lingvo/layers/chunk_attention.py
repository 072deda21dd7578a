"""Lingvo's chunk-wise attention, with streaming that has left context.

B: utterances, T: encoded frames of a step, W: chunk size, U: chunks of a step = T / W, L: left context with the current
frame, C: frames that a chunk attends to = L - 1 + W, N: heads, H: width of a head, D: model width.
"""

from lingvo import compat as tf
from lingvo.core import batch_major_attention
from lingvo.core import py_utils

from fm_lingvo.layers import subparams


class _Streams:
  """Mixin for Lingvo's ChunkwiseSelfAttention: keys and values of L - 1 frames are carried over."""

  def zero_state(self, batch_size):
    """Returns a NestedMap of key and value [B, L - 1, N, H], and masks [B, L - 1], False on frames before the first."""
    p = self.params
    shape = [batch_size, p.left_context - 1, p.num_heads, p.hidden_dim // p.num_heads]
    dtype = py_utils.FPropDtype(p)
    return py_utils.NestedMap(
      key=tf.zeros(shape, dtype), value=tf.zeros(shape, dtype), masks=tf.zeros(shape[:2], tf.bool)
    )

  def StreamStep(self, theta, query_vec, query_paddings, input_vec, input_paddings, state0):
    """Attends within the next chunks, and to the frames before them.

    Args:
      theta: This layer's variables.
      query_vec: [B, T, D], T a multiple of W.
      query_paddings: [B, T], 1 on padding.
      input_vec: [B, T, D], as query_vec.
      input_paddings: [B, T].
      state0: State from the step before or from zero_state.

    Returns:
      ([B, T, D], paddings [B, T], the new state).
    """
    p = self.params
    batch, time = py_utils.GetShape(query_vec, 2)
    width, before = p.chunk_size, p.left_context - 1
    query = self.query.FProp(theta.query, query_vec)  # [B, T, N, H]
    if p.enable_query_scale:
      if p.enable_per_dim_scale:
        query = self.per_dim_scale.FProp(theta.per_dim_scale, query)
      else:
        query *= (p.hidden_dim // p.num_heads) ** -0.5
    key = tf.concat([state0.key, self.key.FProp(theta.key, input_vec)], axis=1)  # [B, L - 1 + T, N, H]
    value = tf.concat([state0.value, self.value.FProp(theta.value, input_vec)], axis=1)
    masks = tf.concat([state0.masks, tf.equal(input_paddings, 0)], axis=1)  # [B, L - 1 + T]

    seen = tf.range(0, time, width)[:, tf.newaxis] + tf.range(before + width)  # [U, C], indices of frames.

    def _Chunks(x):  # [B, L - 1 + T, ...] -> [B, U, C, ...]
      return tf.gather(x, seen, axis=1)

    heads = py_utils.GetShape(query)[2:]  # [N, H]
    queries = tf.reshape(query, [batch, time // width, width, *heads])  # [B, T, N, H] -> [B, U, W, N, H]
    logits = self._AttenLogits(theta, queries, _Chunks(key))  # [B, N, U, W, C]
    hidden = ~_Chunks(masks)[:, tf.newaxis, :, tf.newaxis]  # [B, 1, U, 1, C]
    logits = py_utils.ApplyPadding(hidden, logits, batch_major_attention.GetDtypeMin(logits.dtype))
    probs = py_utils.Softmax(logits, extra_logit=p.atten_extra_logit)
    encoded = tf.einsum('BNUWC,BUCNH->BUWNH', probs, _Chunks(value))
    # [B, U, W, N, H] -> [B, T, N, H] -> [B, T, D]
    encoded = self.post.FProp(theta.post, tf.reshape(encoded, [batch, time, *heads]))
    state1 = py_utils.NestedMap(key=key[:, time:], value=value[:, time:], masks=masks[:, time:])
    return encoded, query_paddings, state1

  def StreamStepAddSkipConnection(self, input_to_add, output, state0, state1):
    """See Lingvo's LocalSelfAttention; no frame of a chunk waits for the next one."""
    del state0
    return input_to_add + output, state1


_REPLACEMENTS = {
  cls: type(cls.__name__, (_Streams, cls), {})
  for cls in (batch_major_attention.ChunkwiseSelfAttention, batch_major_attention.ChunkwiseSelfAttentionXL)
}


def Use(p):
  """Replaces the chunk-wise attention in the Params `p` of a Conformer block by that of this module."""
  for _, _, layer in subparams.All(p):
    if subparams.Class(layer) in _REPLACEMENTS:
      layer.cls = _REPLACEMENTS[layer.cls]
