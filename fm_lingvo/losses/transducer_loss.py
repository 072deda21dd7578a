"""Transducer loss: the exact sum over all alignments, in plain TensorFlow.

B: utterances, T: frames, U: labels, V: vocabulary with blank, J: joint width,
C: frames per chunk, M = B * C * (U + 1): nodes.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.losses import transducer_lattice
from fm_lingvo.losses import transducer_scores

FACTORIZATIONS = transducer_scores.FACTORIZATIONS

# Maximum number of floats in [B, C, U + 1, J + V] of a chunk: 64 MB.
_CHUNK_FLOATS = 16 * 2**20


def TransducerLoss(logits, labels, logit_lengths, label_lengths, blank_id=0, fastemit_lambda=0.0):
  """Computes the RNN-T loss (Graves, arXiv 1211.3711) from full logits.

  Args:
    logits: float [B, T, U + 1, V], unnormalised; computed in float64 if given, else
      in float32. Padding may have any value, even NaN.
    labels: int32 [B, U], each != blank_id; padding may have any value.
    logit_lengths: int32 [B], number of frames, 0 to T.
    label_lengths: int32 [B], number of labels, 0 to U.
    blank_id: Id of blank, 0 to V - 1.
    fastemit_lambda: FastEmit's weight, >= 0 (arXiv 2010.11148, eq. 9): the gradient
      of labels is multiplied by 1 + lambda. The returned value is not changed.

  Returns:
    Loss [B] in nats, differentiable with respect to `logits`. It is 0 for rows without
    frames and labels, and -transducer_lattice.NEVER for rows with labels but without
    frames; both have no gradient.
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
    # Masks the scores and not the logits, whose masked copy would be as large as they are.
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
  """Computes the transducer loss of logits = tanh(enc_t + pred_u) w + b, in chunks of frames.

  The joint network processes C frames at a time. All chunks but the last are recomputed in
  the backward pass, so that memory grows with C, not with T.

  Args:
    enc: float [B, T, J], projected encoded frames. Computed in float64 if given, else
      in float32. Padding may have any value, even NaN.
    pred: float [B, U + 1, J], projected predictions after 0 to U labels.
    w: float [J, V].
    b: float [V].
    labels: int32 [B, U], each != blank_id; padding may have any value.
    logit_lengths: int32 [B], number of frames, 0 to T.
    label_lengths: int32 [B], number of labels, 0 to U.
    factorization: rnnt: one softmax over V; hat: a sigmoid for blank and a softmax
      over labels (Variani et al., arXiv 2003.07705, section 3).
    blank_id: Id of blank, 0 to V - 1.
    label_smoothing: Weight eps in [0, 1): a label's log-probability becomes (1 - eps)
      times its own plus eps times the mean over all labels. This is our own variant,
      since the usual one is defined for a cross-entropy.
    fastemit_lambda: See TransducerLoss.
    chunk_frames: Frames C per chunk, >= 1; None: as many as fit in 16M floats.
    product_dtype: Dtype of the products with w, forward and backward, and of the
      hidden layer that is saved for them; None: the dtype of the computation.

  Returns:
    Loss [B] in nats as of TransducerLoss, differentiable with respect to enc, pred, w and b.

  Raises:
    errors.ConfigError: An option is out of range.
  """
  _Check(factorization, label_smoothing, fastemit_lambda, chunk_frames)
  enc, pred, w, b = [_Float(x) for x in (enc, pred, w, b)]
  enc = _ZeroPadding(enc, logit_lengths)
  pred = _ZeroPadding(pred, label_lengths + 1)
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
  """Raises ConfigError for the first option that is out of range."""
  if factorization not in FACTORIZATIONS:
    raise errors.ConfigError(f'factorization = {factorization!r}: expected one of ' + ', '.join(FACTORIZATIONS))
  if not 0 <= label_smoothing < 1:
    raise errors.ConfigError(f'label_smoothing = {label_smoothing}: expected a share in [0, 1)')
  if fastemit_lambda < 0:
    raise errors.ConfigError(f'fastemit_lambda = {fastemit_lambda}: expected >= 0')
  if chunk_frames is not None and chunk_frames < 1:
    raise errors.ConfigError(f'chunk_frames = {chunk_frames}: expected >= 1, or None for as many as fit')


def _Float(x):
  """Returns x as a tensor: float64 unchanged, all other dtypes as float32."""
  x = tf.convert_to_tensor(x)
  return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def _ZeroPadding(x, lengths):
  """Sets x [B, N, J] to 0 beyond lengths [B], even where it is NaN."""
  inside = transducer_lattice.Inside(py_utils.GetShape(x)[1], lengths)[..., tf.newaxis]
  return tf.where_v2(inside, x, tf.zeros([], x.dtype))


def _NextLabels(labels, label_lengths, blank_id):
  """Returns the label that follows u labels, int32 [B, U + 1]; after the last an arbitrary valid label.

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
  """Returns the number of frames, >= 1, whose joint has _CHUNK_FLOATS floats; an int if shapes are static."""
  batch, _, depth = py_utils.GetShape(enc)
  floats = batch * py_utils.GetShape(pred)[1] * (depth + py_utils.GetShape(w)[1])
  if isinstance(floats, int):
    return max(1, _CHUNK_FLOATS // max(1, floats))
  return tf.maximum(1, _CHUNK_FLOATS // tf.maximum(1, floats))


def _ChunkedScores(enc, pred, w, b, next_labels, chunk_frames, options, product_dtype):
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
