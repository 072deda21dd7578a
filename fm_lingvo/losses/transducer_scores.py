"""Log-probabilities of blank and of the next label from the joint network's logits, and their gradient.

M: nodes of the lattice, V: vocabulary with blank.
"""

import collections

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.losses import transducer_lattice

FACTORIZATIONS = ('rnnt', 'hat')

_LARGE_VOCAB = 128

# factorization: one of FACTORIZATIONS; blank_id: int; label_smoothing: weight in [0, 1).
Options = collections.namedtuple('Options', ['factorization', 'blank_id', 'label_smoothing'])


def Scores(logits, next_labels, options):
  """Computes the log-probabilities of blank and of the next label.

  Args:
    logits: [M, V].
    next_labels: int32 [M], never blank.
    options: An Options.

  Returns:
    ((blank, label), saved): [M] each, and the values that ScoresGradient needs: logits
    [M, V], the largest logit of each node, the log-sum-exp relative to it, and the logit
    of blank, [M] each. The softmax [M, V] is not saved: recomputing it is faster than
    writing it to memory.
  """
  blank_id, smoothing = options.blank_id, options.label_smoothing
  vocab = py_utils.GetShape(logits)[1]
  blank_logit = logits[:, blank_id]  # [M]
  if smoothing:
    mean = tf.reduce_sum(logits, axis=1) - blank_logit
    mean /= tf.cast(vocab - 1, logits.dtype)
  if options.factorization == 'hat':
    # The softmax is over labels only.
    logits += transducer_lattice.NEVER * tf.one_hot(blank_id, vocab, dtype=logits.dtype)
  top, log_total = _LogTotal(logits)
  # [M, V], [M, 1] -> [M, 1] -> [M]; gathers from the logits, since logits - top is not stored.
  label = tf.gather(logits, next_labels[:, tf.newaxis], batch_dims=1)[:, 0] - top
  if smoothing:
    label = (1 - smoothing) * label + smoothing * (mean - top)
  label -= log_total
  if options.factorization == 'hat':
    blank = -tf.nn.softplus(-blank_logit)
    label -= tf.nn.softplus(blank_logit)
  else:
    blank = blank_logit - top - log_total
  return (blank, label), (logits, top, log_total, blank_logit)


def _LogTotal(logits):
  """Returns (top, log(sum(exp(logits - top)))), [M] each, for logits [M, V].

  For a large vocabulary, finding the largest logit of each node takes as long as the sum. It is needed only if a sum is
  out of range; otherwise top is 0.
  """

  def _Relative():
    top = tf.reduce_max(logits, axis=1)
    return top, tf.math.log(tf.reduce_sum(tf.exp(logits - top[:, tf.newaxis]), axis=1))

  vocab = py_utils.GetShape(logits)[1]
  if isinstance(vocab, int) and vocab < _LARGE_VOCAB:
    return _Relative()
  total = tf.reduce_sum(tf.exp(logits), axis=1)
  return tf.cond(
    tf.reduce_all((total > 1e-20) & (total < 1e20)), lambda: (tf.zeros_like(total), tf.math.log(total)), _Relative
  )


def ScoresGradient(saved, next_labels, upstream, options):
  """Computes the gradient [M, V] of Scores with respect to its logits.

  Args:
    saved: The second result of Scores.
    next_labels: int32 [M].
    upstream: Gradients with respect to blank and label, [M] each.
    options: An Options.
  """
  logits, top, log_total, blank_logit = saved
  blank, label = upstream
  smoothing = options.label_smoothing
  vocab = py_utils.GetShape(logits)[1]
  if options.factorization == 'hat':
    share = label
    blank = blank * tf.sigmoid(-blank_logit) - label * tf.sigmoid(blank_logit)
  else:
    share = blank + label
  ids = tf.range(vocab)[tf.newaxis]
  zero = tf.zeros([], logits.dtype)
  # Every label gets an equal part of the smoothing weight; the next label also gets the rest.
  rest = label * (smoothing / tf.cast(vocab - 1, logits.dtype)) if smoothing else zero
  gradient = tf.where_v2(
    tf.equal(ids, next_labels[:, tf.newaxis]),
    ((1 - smoothing) * label + rest)[:, tf.newaxis],
    rest[:, tf.newaxis] if smoothing else zero,
  )
  softmax = tf.exp((logits - top[:, tf.newaxis]) - log_total[:, tf.newaxis])
  gradient -= softmax * share[:, tf.newaxis]
  onehot = tf.one_hot(options.blank_id, vocab, dtype=logits.dtype)
  return gradient + (blank - rest)[:, tf.newaxis] * onehot
