"""Scores of a transducer's joint network, computed in chunks of frames, so that memory does not grow with the length.

B: utterances, T: frames, U: labels, V: vocabulary with blank, J: joint width,
C: frames per chunk, M = B * C * (U + 1): nodes.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.losses import transducer_scores

# Maximum number of floats in [B, C, U + 1, J + V] of a chunk: 64 MB.
_CHUNK_FLOATS = 16 * 2**20


def Frames(enc, pred, w):
  """Returns the number of frames, >= 1, whose joint has _CHUNK_FLOATS floats; an int if shapes are static."""
  batch, _, depth = py_utils.GetShape(enc)
  floats = batch * py_utils.GetShape(pred)[1] * (depth + py_utils.GetShape(w)[1])
  if isinstance(floats, int):
    return max(1, _CHUNK_FLOATS // max(1, floats))
  return tf.maximum(1, _CHUNK_FLOATS // tf.maximum(1, floats))


def Scores(enc, pred, w, b, next_labels, chunk_frames, options, product_dtype):
  """Computes the log-probabilities of blank and of the next label, chunk by chunk.

  Intermediate values are saved for the gradient of the last chunk only, so that a batch that
  fits into one chunk is computed once; all other chunks are recomputed in the backward pass.

  Args:
    enc: [B, T, J].
    pred: [B, U + 1, J].
    w: [J, V].
    b: [V].
    next_labels: int32 [B, U + 1].
    chunk_frames: Maximum number of frames per chunk, an int or an int32 scalar.
    options: A transducer_scores.Options.
    product_dtype: See transducer_loss.JointLoss.

  Returns:
    (blank, label), [B, T, U + 1] each.
  """

  @tf.custom_gradient
  def _AllScores(enc, pred, w, b):
    w = tf.cast(w, product_dtype)
    batch, time, depth = py_utils.GetShape(enc)
    width = py_utils.GetShape(pred)[1]
    chunks, size = _Split(time, chunk_frames)
    # [B, T, J] -> [B, chunks * C, J] -> [B, chunks, C, J] -> [chunks, B, C, J]
    split = tf.pad(enc, [[0, 0], [0, chunks * size - time], [0, 0]])
    split = tf.reshape(split, [batch, chunks, size, depth])
    split = tf.transpose(split, [1, 0, 2, 3])
    # [B, U + 1] -> [B, C, U + 1] -> [M]
    rows = tf.tile(next_labels[:, tf.newaxis], [1, size, 1])
    rows = tf.reshape(rows, [batch * size * width])

    def _Forward(i):
      """Returns the scores [2, B, C, U + 1] of chunk i, and the values that its gradient needs."""
      hidden = tf.tanh(split[i][:, :, tf.newaxis] + pred[:, tf.newaxis])
      # [B, C, U + 1, J] -> [M, J]
      hidden = tf.reshape(hidden, [batch * size * width, depth])
      hidden = tf.cast(hidden, product_dtype)
      logits = tf.cast(tf.matmul(hidden, w), enc.dtype) + b
      scores, saved = transducer_scores.Scores(logits, rows, options)
      # 2 x [M] -> [2, M] -> [2, B, C, U + 1]
      return tf.reshape(tf.stack(scores), [2, batch, size, width]), (hidden, saved)

    def _Backward(upstream, hidden, saved):
      """Returns the gradients with respect to a chunk of enc, pred, w and b; upstream [2, B, C, U + 1]."""
      upstream = tf.unstack(tf.reshape(upstream, [2, batch * size * width]))
      by_logits = transducer_scores.ScoresGradient(saved, rows, upstream, options)  # [M, V]
      factor = tf.cast(by_logits, product_dtype)
      by_hidden = tf.cast(tf.matmul(factor, w, transpose_b=True), enc.dtype)  # [M, J]
      by_sum = tf.raw_ops.TanhGrad(y=tf.cast(hidden, enc.dtype), dy=by_hidden)
      by_sum = tf.reshape(by_sum, [batch, size, width, depth])
      return (
        tf.reduce_sum(by_sum, axis=2),
        tf.reduce_sum(by_sum, axis=1),
        tf.cast(tf.matmul(hidden, factor, transpose_a=True), enc.dtype),
        tf.reduce_sum(by_logits, axis=0),
      )

    done, _ = _Loop(chunks, enc.dtype, lambda i: (_Forward(i)[0], []), [])
    with tf.control_dependencies([done.flow]):  # One chunk at a time.
      last = tf.identity(chunks - 1)
    scores, kept = _Forward(last)
    # [chunks, 2, B, C, U + 1] -> [2, B, chunks, C, U + 1]
    scores = tf.transpose(done.write(chunks - 1, scores).stack(), [1, 2, 0, 3, 4])
    scores = tf.reshape(scores, [2, batch, chunks * size, width])[:, :, :time]

    def _Gradient(*upstream):  # [B, T, U + 1] twice
      # [2, B, chunks * C, U + 1] -> [2, B, chunks, C, U + 1] -> [chunks, 2, B, ...]
      upstream = tf.pad(tf.stack(upstream), [[0, 0], [0, 0], [0, chunks * size - time], [0, 0]])
      upstream = tf.reshape(upstream, [2, batch, chunks, size, width])
      upstream = tf.transpose(upstream, [2, 0, 1, 3, 4])

      def _Recompute(i, *sums):
        by_enc, *more = _Backward(upstream[i], *_Forward(i)[1])
        return by_enc, [x + y for x, y in zip(sums, more)]

      by_enc, *sums = _Backward(upstream[chunks - 1], *kept)
      parts, sums = _Loop(chunks, enc.dtype, _Recompute, sums)
      # [chunks, B, C, J] -> [B, chunks, C, J] -> [B, chunks * C, J] -> [B, T, J]
      by_enc = tf.transpose(parts.write(chunks - 1, by_enc).stack(), [1, 0, 2, 3])
      by_enc = tf.reshape(by_enc, [batch, chunks * size, depth])[:, :time]
      return [by_enc] + list(sums)

    return tf.unstack(scores), _Gradient

  return _AllScores(enc, pred, w, b)


def _Split(time, chunk_frames):
  """Returns (chunks, frames per chunk), >= 1: the smallest number of equal chunks that cover `time`."""
  if isinstance(time, int) and isinstance(chunk_frames, int):
    chunks = max(1, -(-time // chunk_frames))
    return chunks, max(1, -(-time // chunks))
  chunks = tf.maximum(1, -(-time // chunk_frames))
  return chunks, tf.maximum(1, -(-time // chunks))


def _Loop(chunks, dtype, body, sums):
  """Runs `body` on all chunks but the last, one after another.

  Args:
    chunks: Number of chunks, an int or an int32 scalar.
    dtype: Dtype of the tensors that body returns.
    body: (i, *sums) -> (a tensor to collect, new sums).
    sums: List of tensors.

  Returns:
    (TensorArray of size `chunks` with the collected tensors, the last sums).
  """
  array = tf.TensorArray(dtype, size=chunks)
  if isinstance(chunks, int) and chunks == 1:
    return array, sums

  def _Body(i, array, *sums):
    kept, sums = body(i, *sums)
    return i + 1, array.write(i, kept), *sums

  _, array, *sums = tf.while_loop(
    lambda i, *unused: i < chunks - 1, _Body, [0, array, *sums], maximum_iterations=chunks - 1, parallel_iterations=1
  )
  return array, sums
