"""What the loops of search.py share: hypotheses that grow by a label, each utterance at a frame of its own.

B: utterances, N: encoded frames, J: joint width, L: labels of a hypothesis, M: any number of hypotheses.
"""

from lingvo import compat as tf
from lingvo.core import py_utils


def NoLabels(shape, max_labels):
  """Returns empty hypotheses of shape [...]: labels, frames and label_scores [..., L], lengths [...]."""
  return dict(
    labels=tf.zeros(shape + [max_labels], tf.int32),
    frames=tf.zeros(shape + [max_labels], tf.int32),
    label_scores=tf.zeros(shape + [max_labels]),
    lengths=tf.zeros(shape, tf.int32),
  )


def Append(now, labels, frames, label_scores, emit):
  """Appends labels [...], emitted at frames [...] with label_scores [...], to the hypotheses where emit is true.

  Label number i of a hypothesis is at i % L, so that one with labels from before needs space for the new ones only.
  """
  max_labels = py_utils.GetShape(now.labels)[-1]
  here = emit[..., tf.newaxis] & tf.equal(tf.range(max_labels), now.lengths[..., tf.newaxis] % max_labels)  # [..., L]
  return dict(
    labels=tf.where_v2(here, labels[..., tf.newaxis], now.labels),
    frames=tf.where_v2(here, frames[..., tf.newaxis], now.frames),
    label_scores=tf.where_v2(here, label_scores[..., tf.newaxis], now.label_scores),
    lengths=now.lengths + tf.cast(emit, tf.int32),
  )


def MayEmit(symbols, lengths, max_symbols_per_frame, limits):
  """Returns whether a hypothesis with `symbols` labels at this frame may emit another label."""
  return (symbols < max_symbols_per_frame) & (lengths < limits)


def FramesAt(enc, t):
  """Returns frame min(t, N - 1) of each utterance. [B, N, J], [B] -> [B, J]."""
  last = py_utils.GetShape(enc)[1] - 1
  return tf.gather(enc, tf.minimum(t, last), batch_dims=1)


def Where(condition, new, old):
  """Applies tf.where to rows, condition [M], of tensors or NestedMaps of [M, ...]."""

  def _Rows(new, old):
    shape = [-1] + [1] * (new.shape.rank - 1)
    return tf.where_v2(tf.reshape(condition, shape), new, old)

  return tf.nest.map_structure(_Rows, new, old)


def Loop(step, now, lengths, max_steps):
  """Repeats `step` on NestedMap `now` until all utterances have ended, at most max_steps times."""
  flat = tf.while_loop(
    lambda *flat: tf.reduce_any(now.Pack(flat).t < lengths),
    lambda *flat: step(now.Pack(flat)).Flatten(),
    now.Flatten(),
    maximum_iterations=max_steps,
  )
  return now.Pack(flat)
