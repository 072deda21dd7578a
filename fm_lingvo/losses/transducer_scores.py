"""Joint's logits -> log-probabilities of blank and of the next label, and the gradient.

M: nodes of the lattice, V: vocabulary with blank.
"""

import collections

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.losses import transducer_lattice

FACTORIZATIONS = ('rnnt', 'hat')

_LARGE_VOCAB = 128

# factorization: one of FACTORIZATIONS; blank_id: int; label_smoothing: share in [0, 1).
Options = collections.namedtuple('Options', ['factorization', 'blank_id', 'label_smoothing'])


def Scores(logits, next_labels, options):
  """Log-probabilities of blank and of the next label.

  Args:
    logits: [M, V].
    next_labels: int32 [M], none of them blank.
    options: An Options.

  Returns:
    ((blank, label), saved): [M] each, and what ScoresGradient needs: logits [M, V], the
    largest of each node, log of the sum of the powers relative to it, and blank's, [M] each.
    No softmax [M, V] is kept: computing it again takes less time than its memory.
  """
  blank_id, smoothing = options.blank_id, options.label_smoothing
  vocab = py_utils.GetShape(logits)[1]
  blank_logit = logits[:, blank_id]  # [M]
  if smoothing:
    mean = tf.reduce_sum(logits, axis=1) - blank_logit
    mean /= tf.cast(vocab - 1, logits.dtype)
  if options.factorization == 'hat':
    # The labels have a softmax of their own.
    logits += transducer_lattice.NEVER * tf.one_hot(blank_id, vocab, dtype=logits.dtype)
  top, log_total = _LogTotal(logits)
  # [M, V], [M, 1] -> [M, 1] -> [M]; of the logits as they come: their differences to the top are never kept.
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
  """Logits [M, V] -> (top, log of the sum of exp(logits - top)), [M] each.

  In a large vocabulary, to find the largest logit of each node takes as long as the sum, and is needed where a power or
  a sum is out of range alone: elsewhere top is 0.
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
  """Gradient [M, V] of Scores by its logits.

  Args:
    saved: What Scores gave.
    next_labels: int32 [M].
    upstream: Gradients by blank and label, [M] each.
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
  # Every label has its part of the smoothed share, the next one the rest too.
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
