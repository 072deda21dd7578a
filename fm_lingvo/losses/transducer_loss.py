"""Transducer loss: the exact sum over all alignments, in plain TensorFlow.

B: utterances, T: frames, U: labels, V: vocabulary with blank, J: joint width, M = B * T * (U + 1): nodes.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.losses import transducer_chunks
from fm_lingvo.losses import transducer_lattice
from fm_lingvo.losses import transducer_scores

FACTORIZATIONS = transducer_scores.FACTORIZATIONS


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
  blank, label = transducer_chunks.Scores(
    enc,
    pred,
    w,
    b,
    next_labels,
    chunk_frames or transducer_chunks.Frames(enc, pred, w),
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
