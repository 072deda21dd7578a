"""CTC loss (connectionist temporal classification): the exact sum over all paths, in plain TensorFlow.

B: utterances, N: frames, U: labels, V: vocabulary with blank, S = 2 U + 1: states,
R = S + 2: states including two unreachable ones.

State 2 u is the blank after u labels, state 2 u + 1 the label that follows it. From frame to
frame a path stays in its state, moves to the next, or skips the blank between two different labels.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.losses import transducer_lattice

# Frames per iteration of the loop, whose overhead exceeds the cost of its arithmetic.
_STRIDE = 8


def CtcLoss(logits, labels, logit_lengths, label_lengths, blank_id=0):
  """Computes the CTC loss (Graves et al., ICML 2006).

  Args:
    logits: float [B, N, V], unnormalised; computed in float64 if given, else in
      float32. Padding may have any value, even NaN.
    labels: int32 [B, U], each != blank_id; padding may have any value.
    logit_lengths: int32 [B], number of frames, 0 to N.
    label_lengths: int32 [B], number of labels, 0 to U.
    blank_id: Id of blank, 0 to V - 1.

  Returns:
    Loss [B] in nats, differentiable with respect to `logits`. If there are too few
    frames for the labels, it is -transducer_lattice.NEVER and its gradient is 0. The
    gradient is also 0 on padding.
  """
  logits = tf.convert_to_tensor(logits)
  if logits.dtype != tf.float64:
    logits = tf.cast(logits, tf.float32)
  # The last column is for a state that is never reached.
  labels = tf.where_v2(
    transducer_lattice.Inside(py_utils.GetShape(labels)[1], label_lengths), tf.cast(labels, tf.int32), blank_id
  )
  labels = tf.pad(labels, [[0, 0], [0, 1]], constant_values=blank_id)  # [B, U + 1]

  @tf.custom_gradient
  def _Loss(logits):
    frames, vocab = py_utils.GetShape(logits)[1:]
    inside = transducer_lattice.Inside(frames, logit_lengths)[..., tf.newaxis]  # [B, N, 1]
    clean = tf.where_v2(inside, logits, tf.zeros([], logits.dtype))
    clean -= tf.reduce_max(clean, axis=2, keepdims=True)
    powers = tf.exp(clean)
    sums = tf.reduce_sum(powers, axis=2, keepdims=True)  # [B, N, 1]
    scores = _Emissions(clean, labels, label_lengths, blank_id) - tf.math.log(sums)
    occupied, total = _Occupations(scores, _Skips(labels, blank_id), logit_lengths, label_lengths)
    total = transducer_lattice.NanWhereAny(scores, [1, 2], total)
    possible = (total > 0.1 * transducer_lattice.NEVER) | tf.math.is_nan(total)  # [B]

    def _Gradient(upstream):  # [B]
      upstream += 0.0 * total  # NaN stays NaN.
      weights = tf.where_v2(possible, upstream, tf.zeros([], upstream.dtype))
      weights = tf.where_v2(inside, weights[:, tf.newaxis, tf.newaxis], tf.zeros([], upstream.dtype))  # [B, N, 1]
      onehot = tf.one_hot(labels, vocab, dtype=logits.dtype)  # [B, U + 1, V]
      # [B, N, S] -> [B, N, U], [B, N, 1]
      by_label = tf.matmul(occupied[:, :, 1::2] * weights, onehot[:, :-1])
      by_blank = tf.reduce_sum(occupied[:, :, ::2], axis=2, keepdims=True) * weights
      return powers * (weights / sums) - by_label - by_blank * tf.one_hot(blank_id, vocab, dtype=logits.dtype)

    return tf.where_v2(possible, 0.0 - total, -transducer_lattice.NEVER), _Gradient

  return _Loss(logits)


def _Emissions(scores, labels, label_lengths, blank_id):
  """Returns the scores of each state's label; NEVER after the last state.

  Args:
    scores: [B, N, V].
    labels: int32 [B, U + 1].
    label_lengths: int32 [B].
    blank_id: Id of blank.

  Returns:
    [B, N, S].
  """
  batch, frames, _ = py_utils.GetShape(scores)
  width = py_utils.GetShape(labels)[1]
  by_label = tf.gather(scores, labels, axis=2, batch_dims=1)  # [B, N, U + 1]
  by_blank = tf.broadcast_to(scores[:, :, blank_id : blank_id + 1], [batch, frames, width])
  # 2 x [B, N, U + 1] -> [B, N, U + 1, 2] -> [B, N, S + 1] -> [B, N, S]
  states = tf.reshape(tf.stack([by_blank, by_label], axis=3), [batch, frames, 2 * width])[:, :, :-1]
  inside = transducer_lattice.Inside(2 * width - 1, 2 * label_lengths + 1)  # [B, S]
  return tf.where_v2(inside[:, tf.newaxis], states, tf.constant(transducer_lattice.NEVER, states.dtype))


def _Skips(labels, blank_id):
  """Returns whether a state can be reached from the second state before it. [B, U + 1] -> bool [B, S]."""
  batch, width = py_utils.GetShape(labels)
  previous = tf.pad(labels[:, :-1], [[0, 0], [1, 0]], constant_values=blank_id)
  # The first label, u = 0, has no label before it.
  differs = tf.not_equal(labels, previous) & (tf.range(width) > 0)[tf.newaxis]
  # 2 x [B, U + 1] -> [B, U + 1, 2] -> [B, S + 1] -> [B, S]
  skips = tf.stack([tf.zeros_like(differs), differs], axis=2)
  return tf.reshape(skips, [batch, 2 * width])[:, :-1]


def _Occupations(scores, skips, frames, labels):
  """Computes the probability that a path is in a state at a frame.

  The backward recursion is the forward recursion on the utterance with states and frames
  reversed. Both are stacked along the batch and computed in one loop.

  Args:
    scores: [B, N, S], log-probability of each state's label.
    skips: bool [B, S], whether a state can be reached from the second state before it.
    frames: int32 [B], number of frames.
    labels: int32 [B], number of labels.

  Returns:
    ([B, N, S], total [B]): the occupation probabilities, which sum to 1 for each unpadded
    frame, and the log of the summed probability of all paths.
  """
  batch, time, states = py_utils.GetShape(scores)
  # The best score of each frame becomes 0, so that sums over frames stay small.
  shift = tf.reduce_max(scores, axis=2, keepdims=True)  # [B, N, 1]
  relative = scores - shift
  both = tf.concat([relative, _Reverse(relative, frames)], axis=0)  # [2 B, N, S]
  # In reverse, a skip starts at its end. [B, S] -> [B, S + 2] -> [B, S]
  reversed_skips = tf.pad(tf.reverse(skips, [1]), [[0, 0], [2, 0]])[:, :states]
  start = tf.concat([tf.zeros_like(labels), states - 1 - 2 * labels], axis=0)
  kept, tops = _Recursion(both, tf.concat([skips, reversed_skips], axis=0), start)
  kept = kept[:, :time]

  alpha, beta = kept[:batch], _Reverse(kept[batch:], frames)
  joint = alpha + beta - relative
  joint -= tf.reduce_max(joint, axis=2, keepdims=True)
  joint = tf.exp(joint)
  occupied = joint / tf.reduce_sum(joint, axis=2, keepdims=True)

  # A path must end in one of the last two states.
  last = tf.maximum(frames - 1, 0)
  ends = tf.range(states)[tf.newaxis] - 2 * labels[:, tf.newaxis]
  ends = tf.equal(ends, 0) | tf.equal(ends, -1)  # [B, S]
  is_last = tf.equal(tf.range(time)[tf.newaxis], last[:, tf.newaxis])  # [B, N]
  final = tf.where_v2(
    is_last[..., tf.newaxis] & ends[:, tf.newaxis], alpha, tf.constant(2 * transducer_lattice.NEVER, alpha.dtype)
  )
  total = tf.reduce_logsumexp(final, axis=[1, 2])
  zero = tf.zeros([], total.dtype)
  total += tf.reduce_sum(tf.where_v2(transducer_lattice.Inside(time, frames), shift[:, :, 0], zero), axis=1)
  turns = py_utils.GetShape(tops)[1]
  total += tf.reduce_sum(tf.where_v2(transducer_lattice.Inside(turns, last // _STRIDE + 1), tops[:batch], zero), axis=1)
  nothing = tf.where_v2(labels > 0, tf.constant(transducer_lattice.NEVER, total.dtype), zero)
  return occupied, tf.where_v2(frames > 0, total, nothing)


def _Reverse(x, frames):
  """Reverses x [B, N, S] along states and along the first `frames` frames."""
  return tf.reverse_sequence(tf.reverse(x, [2]), frames, seq_axis=1, batch_axis=0)


def _Recursion(scores, skips, start):
  """Computes the forward scores, summed over all paths to a state.

  Args:
    scores: [B, N, S], log-probability of each state's label.
    skips: bool [B, S], whether a state can be reached from the second state before it.
    start: int32 [B], the state before the first frame, a blank.

  Returns:
    (scores [B, N', S], tops [B, N' / stride]), N' > N a multiple of the stride: the scores
    after each frame, relative to the sum of `tops` so far.
  """
  batch, time, states = py_utils.GetShape(scores)
  turns = time // _STRIDE + 1
  # Roll wraps around from the two unreachable states. [B, N, S] -> [N', B, R]
  scores = tf.pad(scores, [[0, 0], [0, 0], [0, 2]], constant_values=transducer_lattice.NEVER)
  scores = tf.pad(tf.transpose(scores, [1, 0, 2]), [[0, turns * _STRIDE - time], [0, 0], [0, 0]])
  # [N', B, R] -> [N' / stride, stride, B, R]
  scores = tf.reshape(scores, [turns, _STRIDE, batch, states + 2])
  skips = tf.where_v2(tf.pad(skips, [[0, 0], [0, 2]]), tf.zeros([], scores.dtype), transducer_lattice.NEVER)  # [B, R]
  now = tf.where_v2(
    tf.equal(tf.range(states + 2), start[:, tf.newaxis]), tf.zeros([], scores.dtype), transducer_lattice.NEVER
  )  # [B, R]
  arrays = [
    tf.TensorArray(scores.dtype, size=turns, element_shape=shape)
    for shape in (scores.shape[1:], scores.shape[1:], [scores.shape[2]])
  ]
  emitted = arrays[0].unstack(scores)

  def _Body(i, now, kept, tops):
    top = tf.reduce_max(now, axis=1)
    now -= top[:, tf.newaxis]
    turn = []
    for emission in tf.unstack(emitted.read(i), num=_STRIDE):
      # Adds the moves by one and by two states.
      for step in (transducer_lattice.Roll(now, 1), transducer_lattice.Roll(now, 2) + skips):
        high = tf.maximum(now, step)
        now = high + tf.nn.softplus(tf.minimum(now, step) - high)
      now += emission
      turn.append(now)
    return i + 1, now, kept.write(i, tf.stack(turn)), tops.write(i, top)

  _, _, kept, tops = tf.while_loop(
    lambda i, *unused: i < turns, _Body, [0, now, arrays[1], arrays[2]], maximum_iterations=turns
  )
  # [N' / stride, stride, B, R] -> [N', B, R] -> [B, N', S]
  kept = tf.reshape(kept.stack(), [turns * _STRIDE, batch, states + 2])
  return (tf.transpose(kept[:, :, :states], [1, 0, 2]), tf.transpose(tops.stack()))
