"""Forward-backward algorithm over a transducer's lattice, by antidiagonals.

B: utterances, T: frames, U: labels, D >= T + U: antidiagonals, d = t + u, a
multiple of S = _STRIDE.

At node (t, u), t frames have been read and u labels emitted. A blank leads to (t + 1, u), a
label to (t, u + 1). Every path crosses every antidiagonal once, so that one step of
the recursion is a vector operation over [B, U + 1].
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.utils import labels as labels_lib

# A loss of -NEVER means that an utterance has no path.
NEVER = labels_lib.NEVER

# Antidiagonals per iteration of the loop, whose overhead exceeds the cost of its arithmetic.
_STRIDE = 8


def FullSum(blank, label, frames, labels, label_scale=1.0):
  """Computes the negative log of the summed probability of all paths.

  Graves, arXiv 1211.3711, section 2.4. The scores are normalised in the forward and
  the backward recursion, and the occupations of the arcs that leave an antidiagonal
  to a sum of 1. The gradient stays accurate for long utterances, where
  alpha + beta - log Z would suffer from cancellation in float32.

  Args:
    blank: float [B, T, U + 1], log-probability of blank at each node.
    label: float [B, T, U + 1], log-probability of the next label at each node; its
      last column is unused.
    frames: int32 [B], number of frames, 0 to T.
    labels: int32 [B], number of labels, 0 to U.
    label_scale: Factor on the gradient of `label` only, > 0.

  Returns:
    Loss [B] in nats, differentiable with respect to `blank` and `label`. It is 0
    without frames and labels, and -NEVER without frames but with labels. The gradient
    is 0 outside the lattice and for utterances without a path.
  """

  @tf.custom_gradient
  def _Loss(blank, label, frames, labels):
    arcs = _Skew(blank, label, frames, labels)  # [2, B, D, U + 1]
    alpha, beta, total = _Recursion(arcs, labels)
    total = NanWhereAny(arcs, [0, 2, 3], total)
    # Not ~(total <= ...): the graph optimiser rewrites that to >, which is false for NaN.
    possible = (total > 0.1 * NEVER) | tf.math.is_nan(total)  # [B]

    def _Gradient(upstream):
      upstream += 0.0 * total  # NaN stays NaN.
      stay, move = _Occupations(arcs, alpha, beta)  # [B, D, U + 1] each
      occupied = _Unskew(tf.stack([stay, move]), py_utils.GetShape(blank)[1])
      # Virtual frames after an utterance have occupations, too, but no gradient.
      inside = Inside(tf.shape(blank)[1], frames)
      inside &= possible[:, tf.newaxis]  # [B, T]
      occupied = tf.where_v2(inside[:, :, tf.newaxis], occupied * -upstream[:, tf.newaxis, tf.newaxis], 0.0)
      return occupied[0], label_scale * occupied[1], None, None

    return tf.where_v2(possible, 0.0 - total, -NEVER), _Gradient

  return _Loss(blank, label, frames, labels)


def Inside(size, lengths):
  """Returns whether a position is below the length: lengths [B] -> bool [B, size]."""
  return tf.range(size)[tf.newaxis] < lengths[:, tf.newaxis]


def NanWhereAny(scores, axis, total):
  """Makes totals [B] NaN where any score is NaN, since maxima ignore NaN."""
  broken = tf.reduce_any(tf.math.is_nan(scores), axis=axis)  # [B]
  return tf.where_v2(broken, tf.constant(float('nan'), total.dtype), total)


def Roll(scores, by):
  """Rolls [B, S] along S, by > 0; tf.roll takes twice as long on a CPU."""
  return tf.concat([scores[:, -by:], scores[:, :-by]], axis=1)


def _Skew(blank, label, frames, labels):
  """Arranges arcs by antidiagonal. [B, T, U + 1] twice -> [2, B, D, U + 1].

  After its last frame an utterance continues to the last antidiagonal with virtual
  blanks of probability 1, so that all utterances end on the same one.
  """
  batch, time, width = py_utils.GetShape(blank)
  diagonals = (time + width - 1 + _STRIDE - 1) // _STRIDE * _STRIDE
  # 2 x [B, T, U + 1] -> [2, B, U + 1, T] -> [2, B, U + 1, D + 1]
  arcs = tf.transpose(tf.stack([blank, label]), [0, 1, 3, 2])
  arcs = tf.pad(arcs, [[0, 0], [0, 0], [0, 0], [0, diagonals + 1 - time]])
  # Rows of D instead of D + 1 move row u by u to the right: column t + u holds t.
  # [2, B, U + 1, D + 1] -> [2, B, (U + 1) * (D + 1)] -> [2, B, (U + 1) * D]
  arcs = tf.reshape(arcs, [2, batch, width * (diagonals + 1)])
  arcs = arcs[:, :, : width * diagonals]
  # [2, B, (U + 1) * D] -> [2, B, U + 1, D] -> [2, B, D, U + 1]
  arcs = tf.reshape(arcs, [2, batch, width, diagonals])
  arcs = tf.transpose(arcs, [0, 1, 3, 2])

  u = tf.range(width)[tf.newaxis, tf.newaxis]  # [1, 1, U + 1]
  t = tf.range(diagonals)[tf.newaxis, :, tf.newaxis] - u  # [1, D, U + 1]
  frames = frames[:, tf.newaxis, tf.newaxis]
  labels = labels[:, tf.newaxis, tf.newaxis]
  done = tf.equal(u, labels)
  inside = (t >= 0) & (t < frames)
  # The blank of the last frame ends an utterance; it is allowed only after all labels.
  stay = inside & (done | ((u < labels) & (t < frames - 1)))
  virtual = tf.where_v2((t >= frames) & done, 0.0, NEVER)
  return tf.stack(
    [
      tf.where_v2(stay, arcs[0], tf.cast(virtual, arcs.dtype)),
      tf.where_v2(inside & (u < labels), arcs[1], NEVER),
    ]
  )


def _Unskew(arcs, time):
  """Inverse of _Skew. [2, B, D, U + 1] -> [2, B, T, U + 1]."""
  _, batch, diagonals, width = py_utils.GetShape(arcs)
  # [2, B, D, U + 1] -> [2, B, U + 1, D] -> [2, B, (U + 1) * D]
  arcs = tf.transpose(arcs, [0, 1, 3, 2])
  arcs = tf.reshape(arcs, [2, batch, width * diagonals])
  # -> [2, B, (U + 1) * (D + 1)] -> [2, B, U + 1, D + 1] -> [2, B, T, U + 1]
  arcs = tf.pad(arcs, [[0, 0], [0, 0], [0, width]])
  arcs = tf.reshape(arcs, [2, batch, width, diagonals + 1])
  return tf.transpose(arcs[:, :, :, :time], [0, 1, 3, 2])


def _Recursion(arcs, labels):
  """Computes the forward and backward scores in one loop.

  The backward recursion is the forward recursion on the lattice with t and u reversed.
  Both are stacked along the batch.

  Args:
    arcs: [2, B, D, U + 1], log-probabilities of blanks and of labels.
    labels: int32 [B], number of labels.

  Returns:
    (alpha [D, B, U + 1], beta [D, B, U + 1], total [B]): the forward score of
    antidiagonal d and the backward score of d + 1, each up to a constant per
    antidiagonal, and the log of the summed probability of all paths.
  """
  _, batch, diagonals, width = py_utils.GetShape(arcs)
  # The best arc of each antidiagonal becomes 0, so that scores stay small.
  shift = tf.reduce_max(arcs, axis=[0, 3], keepdims=True)  # [1, B, D, 1]
  arcs = tf.transpose(arcs - shift, [0, 2, 1, 3])  # [2, D, B, U + 1]
  # The arc of a label is stored at the node where it arrives.
  move = tf.pad(arcs[1, :, :, :-1], [[0, 0], [0, 0], [1, 0]], constant_values=NEVER)
  reversed_arcs = tf.reverse(arcs, [1, 3])
  # 2 x [D, 2 B, U + 1] -> [D, 2, 2 B, U + 1] -> [D / S, 2 S, 2 B, U + 1]
  both = tf.stack([tf.concat([arcs[0], reversed_arcs[0]], axis=1), tf.concat([move, reversed_arcs[1]], axis=1)], axis=1)
  turns = diagonals // _STRIDE
  both = tf.reshape(both, [turns, 2 * _STRIDE, 2 * batch, width])
  start = tf.concat([tf.zeros_like(labels), width - 1 - labels], axis=0)
  scores = tf.where_v2(tf.equal(tf.range(width), start[:, tf.newaxis]), tf.zeros([], arcs.dtype), NEVER)  # [2 B, U + 1]
  arrays = [
    tf.TensorArray(arcs.dtype, size=turns, element_shape=shape)
    for shape in (both.shape[1:], [_STRIDE] + both.shape[2:])
  ]
  both = arrays[0].unstack(both)

  def _Iteration(i, scores, kept):
    stays_and_moves = tf.unstack(both.read(i), num=2 * _STRIDE)
    turn = []
    for stay, move in zip(stays_and_moves[::2], stays_and_moves[1::2]):
      turn.append(scores)
      if len(turn) == 1:
        scores -= tf.reduce_max(scores, axis=1, keepdims=True)
      stay += scores
      # The value that Roll wraps around meets an impossible arc.
      move += Roll(scores, 1)
      high, low = tf.maximum(stay, move), tf.minimum(stay, move)
      scores = high + tf.nn.softplus(low - high)
    return i + 1, scores, kept.write(i, tf.stack(turn))

  _, last, kept = tf.while_loop(
    lambda i, *unused: i < turns, _Iteration, [0, scores, arrays[1]], maximum_iterations=turns
  )
  kept = kept.stack()  # [D / S, S, 2 B, U + 1]
  total = (
    tf.reduce_sum(shift, axis=[0, 2, 3])
    + tf.reduce_sum(tf.reduce_max(kept[:, 0, :batch], axis=2), axis=0)
    + tf.reduce_max(last[:batch], axis=1)
  )
  # [D / S, S, 2 B, U + 1] -> [D, 2 B, U + 1]
  kept = tf.reshape(kept, [diagonals, 2 * batch, width])
  kept -= tf.reduce_max(kept, axis=2, keepdims=True)
  return kept[:, :batch], tf.reverse(kept[:, batch:], [0, 2]), total


def _Occupations(arcs, alpha, beta):
  """Computes the probability that a path takes an arc: (blanks, labels), [B, D, U + 1] each.

  Args:
    arcs: [2, B, D, U + 1].
    alpha: [D, B, U + 1], see _Recursion.
    beta: [D, B, U + 1].
  """
  alpha = tf.transpose(alpha, [1, 0, 2])  # [B, D, U + 1]
  beta = tf.transpose(beta, [1, 0, 2])
  stay = alpha + arcs[0] + beta
  move = alpha + arcs[1] + tf.pad(beta[:, :, 1:], [[0, 0], [0, 0], [0, 1]], constant_values=NEVER)
  top = tf.reduce_max(tf.maximum(stay, move), axis=2, keepdims=True)
  stay, move = tf.exp(stay - top), tf.exp(move - top)
  total = tf.reduce_sum(stay + move, axis=2, keepdims=True)
  return stay / total, move / total
