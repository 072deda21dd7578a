"""The transducer's loss: exact sum over all alignments, in plain TensorFlow.

B: utterances, T: frames, U: labels, V: vocabulary with blank, J: joint width,
C: frames of a chunk, M = B * C * (U + 1): nodes.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.losses import transducer_lattice
from fm_lingvo.losses import transducer_scores

FACTORIZATIONS = transducer_scores.FACTORIZATIONS

# Floats of [B, C, U + 1, J + V] that a chunk may have: 64 MB.
_CHUNK_FLOATS = 16 * 2**20


def TransducerLoss(logits, labels, logit_lengths, label_lengths, blank_id=0, fastemit_lambda=0.0):
  """RNN-T loss (Graves, arXiv 1211.3711) of full logits.

  Args:
    logits: float [B, T, U + 1, V], unnormalised; float64 is kept, all else is
      computed in float32. Padding may hold anything, NaN included.
    labels: int32 [B, U], each != blank_id; padding may hold anything.
    logit_lengths: int32 [B], frames in use, 0 to T.
    label_lengths: int32 [B], labels in use, 0 to U.
    blank_id: Id of blank, 0 to V - 1.
    fastemit_lambda: FastEmit's weight, >= 0 (arXiv 2010.11148, eq. 9): labels' arcs
      have (1 + lambda) times their gradient. The value returned has no such term.

  Returns:
    [B] in nats, differentiable by `logits`. Rows without frames and labels have loss
    0, those with labels but no frame -lattice.NEVER; neither has a gradient.
  """
  options = transducer_scores.Options('rnnt', blank_id, 0.0)
  next_labels = _NextLabels(labels, label_lengths, blank_id)

  @tf.custom_gradient
  def _FullScores(logits):
    batch, time, width, vocab = py_utils.GetShape(logits)
    inside = transducer_lattice.Inside(time, logit_lengths)[:, :, tf.newaxis]  # [B, T, 1]
    inside &= transducer_lattice.Inside(width, label_lengths + 1)[:, tf.newaxis]  # [B, T, U + 1]
    # [B, T, U + 1, V] -> [M, V] and [B, U + 1] -> [B, T, U + 1] -> [M]
    flat = tf.reshape(logits, [batch * time * width, vocab])
    rows = tf.tile(next_labels[:, tf.newaxis], [1, time, 1])
    rows = tf.reshape(rows, [batch * time * width])
    scores, saved = transducer_scores.Scores(flat, rows, options)
    # Here, not before: a clean copy of all logits would be as large as they are.
    zero = tf.zeros([], logits.dtype)
    scores = [tf.where_v2(inside, tf.reshape(x, [batch, time, width]), zero) for x in scores]

    def _Gradient(*upstream):  # [B, T, U + 1] twice
      gradient = transducer_scores.ScoresGradient(
        saved, rows, [tf.reshape(g, [batch * time * width]) for g in upstream], options
      )
      gradient = tf.reshape(gradient, [batch, time, width, vocab])  # of [M, V]
      return tf.where_v2(inside[..., tf.newaxis], gradient, zero)

    return scores, _Gradient

  blank, label = _FullScores(_Float(logits))
  return transducer_lattice.FullSum(blank, label, logit_lengths, label_lengths, 1.0 + fastemit_lambda)


def JointLoss(
  enc,
  pred,
  w,
  b,
  labels,
  logit_lengths,
  label_lengths,
  *,
  factorization='rnnt',
  blank_id=0,
  label_smoothing=0.0,
  fastemit_lambda=0.0,
  chunk_frames=None,
  product_dtype=None,
):
  """Transducer loss of logits = tanh(enc_t + pred_u) w + b, without all logits at once.

  The joint network runs over C frames at a time and, for all chunks but the last, once
  more in the backward pass, so that memory grows with C, not with T.

  Args:
    enc: float [B, T, J], encoded frames, projected. float64 is kept, all else is
      computed in float32. Padding may hold anything, NaN included.
    pred: float [B, U + 1, J], predictions after 0 to U labels, projected.
    w: float [J, V].
    b: float [V].
    labels: int32 [B, U], each != blank_id; padding may hold anything.
    logit_lengths: int32 [B], frames in use, 0 to T.
    label_lengths: int32 [B], labels in use, 0 to U.
    factorization: rnnt: one softmax over V; hat: a sigmoid for blank and a softmax
      over labels (Variani et al., arXiv 2003.07705, section 3).
    blank_id: Id of blank, 0 to V - 1.
    label_smoothing: Share eps in [0, 1): a label's log-probability becomes (1 - eps)
      times its own plus eps times the mean over all labels. Ours: the usual one is
      for a cross-entropy, which a transducer has not.
    fastemit_lambda: See TransducerLoss.
    chunk_frames: Frames C of a chunk, >= 1; None takes as many as 16M floats allow.
    product_dtype: Dtype of the products with w, forward and backward, and of the
      hidden layer that is kept for them; None: that of the rest.

  Returns:
    [B] in nats, differentiable by enc, pred, w and b; as TransducerLoss.

  Raises:
    ConfigError: If an option is outside of its range.
  """
  _Check(factorization, label_smoothing, fastemit_lambda, chunk_frames)
  enc, pred, w, b = [_Float(x) for x in (enc, pred, w, b)]
  enc = _ZeroBehind(enc, logit_lengths)
  pred = _ZeroBehind(pred, label_lengths + 1)
  next_labels = _NextLabels(labels, label_lengths, blank_id)
  blank, label = _ChunkedScores(
    enc,
    pred,
    w,
    b,
    next_labels,
    chunk_frames or _ChunkFrames(enc, pred, w),
    transducer_scores.Options(factorization, blank_id, label_smoothing),
    product_dtype or enc.dtype,
  )
  return transducer_lattice.FullSum(blank, label, logit_lengths, label_lengths, 1.0 + fastemit_lambda)


def _Check(factorization, label_smoothing, fastemit_lambda, chunk_frames):
  """Raises ConfigError for the first option that is outside of its range."""
  if factorization not in FACTORIZATIONS:
    raise errors.ConfigError(f'factorization = {factorization!r}: expected one of ' + ', '.join(FACTORIZATIONS))
  if not 0 <= label_smoothing < 1:
    raise errors.ConfigError(f'label_smoothing = {label_smoothing}: expected a share in [0, 1)')
  if fastemit_lambda < 0:
    raise errors.ConfigError(f'fastemit_lambda = {fastemit_lambda}: expected >= 0')
  if chunk_frames is not None and chunk_frames < 1:
    raise errors.ConfigError(f'chunk_frames = {chunk_frames}: expected >= 1, or None for as many as fit')


def _Float(x):
  """float64 as it is, all else in float32."""
  x = tf.convert_to_tensor(x)
  return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _ZeroBehind(x, lengths):
  """x [B, N, J] with 0 behind its lengths [B], whatever stood there."""
  inside = transducer_lattice.Inside(py_utils.GetShape(x)[1], lengths)[..., tf.newaxis]
  return tf.where_v2(inside, x, tf.zeros([], x.dtype))


def _NextLabels(labels, label_lengths, blank_id):
  """The label that follows u labels, int32 [B, U + 1]; some legal one behind the last.

  Args:
    labels: int32 [B, U].
    label_lengths: int32 [B].
    blank_id: Id of blank.
  """
  inside = transducer_lattice.Inside(py_utils.GetShape(labels)[1], label_lengths)
  other = 0 if blank_id else 1
  labels = tf.where_v2(inside, tf.cast(labels, tf.int32), other)
  return tf.pad(labels, [[0, 0], [0, 1]], constant_values=other)


def _ChunkFrames(enc, pred, w):
  """Frames whose joint has _CHUNK_FLOATS floats, >= 1: an int where shapes are static."""
  batch, _, depth = py_utils.GetShape(enc)
  floats = batch * py_utils.GetShape(pred)[1] * (depth + py_utils.GetShape(w)[1])
  if isinstance(floats, int):
    return max(1, _CHUNK_FLOATS // max(1, floats))
  return tf.maximum(1, _CHUNK_FLOATS // tf.maximum(1, floats))


def _ChunkedScores(enc, pred, w, b, next_labels, chunk_frames, options, product_dtype):
  """Log-probabilities of blank and of the next label, a chunk of frames at a time.

  What the last chunk's gradient needs is kept, so that what fits into one chunk is
  computed once; all other chunks are computed again in the backward pass.

  Args:
    enc: [B, T, J].
    pred: [B, U + 1, J].
    w: [J, V].
    b: [V].
    next_labels: int32 [B, U + 1].
    chunk_frames: Most frames of a chunk, an int or an int32 scalar.
    options: A transducer_scores.Options.
    product_dtype: See JointLoss.

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
      """Scores [2, B, C, U + 1] of chunk i, and what its gradient needs."""
      hidden = tf.tanh(split[i][:, :, tf.newaxis] + pred[:, tf.newaxis])
      # [B, C, U + 1, J] -> [M, J]
      hidden = tf.reshape(hidden, [batch * size * width, depth])
      hidden = tf.cast(hidden, product_dtype)
      logits = tf.cast(tf.matmul(hidden, w), enc.dtype) + b
      scores, saved = transducer_scores.Scores(logits, rows, options)
      # 2 x [M] -> [2, M] -> [2, B, C, U + 1]
      return tf.reshape(tf.stack(scores), [2, batch, size, width]), (hidden, saved)

    def _Backward(upstream, hidden, saved):
      """Gradients by a chunk of enc and by pred, w and b; upstream [2, B, C, U + 1]."""
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

      def _Again(i, *sums):
        by_enc, *more = _Backward(upstream[i], *_Forward(i)[1])
        return by_enc, [x + y for x, y in zip(sums, more)]

      by_enc, *sums = _Backward(upstream[chunks - 1], *kept)
      parts, sums = _Loop(chunks, enc.dtype, _Again, sums)
      # [chunks, B, C, J] -> [B, chunks, C, J] -> [B, chunks * C, J] -> [B, T, J]
      by_enc = tf.transpose(parts.write(chunks - 1, by_enc).stack(), [1, 0, 2, 3])
      by_enc = tf.reshape(by_enc, [batch, chunks * size, depth])[:, :time]
      return [by_enc] + list(sums)

    return tf.unstack(scores), _Gradient

  return _AllScores(enc, pred, w, b)


def _Split(time, chunk_frames):
  """(chunks, frames of each): as few as cover `time`, >= 1, and of equal size."""
  if isinstance(time, int) and isinstance(chunk_frames, int):
    chunks = max(1, -(-time // chunk_frames))
    return chunks, max(1, -(-time // chunks))
  chunks = tf.maximum(1, -(-time // chunk_frames))
  return chunks, tf.maximum(1, -(-time // chunks))


def _Loop(chunks, dtype, body, sums):
  """Runs body on all chunks but the last, one after the other.

  Args:
    chunks: How many chunks there are, an int or an int32 scalar.
    dtype: Of what body returns.
    body: (i, *sums) -> (a tensor to keep, new sums).
    sums: List of tensors.

  Returns:
    (TensorArray of `chunks` with the tensors kept, the last sums).
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
