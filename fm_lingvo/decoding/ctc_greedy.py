"""Greedy decoding of CTC.

B: utterances, N: encoded frames, V: vocabulary with blank (id 0), K: hypotheses, L: labels of a hypothesis.
"""

from lingvo import compat as tf
from lingvo.core import py_utils


def CtcGreedy(logits, lengths):
  """Takes the best label of each frame, merges repeats and drops blanks (id 0).

  Args:
    logits: float [B, N, V]. Padding may have any value.
    lengths: int32 [B], number of frames, 0 to N.

  Returns:
    NestedMap as of search.Greedy with L = N. Scores are the log-probability of the best labels of all frames; a label's
    frame and its own score are those of the first of its repeats.
  """
  log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
  time = py_utils.GetShape(logits)[1]
  inside = tf.range(time) < lengths[:, tf.newaxis]  # [B, N]
  best = tf.argmax(log_probs, axis=-1, output_type=tf.int32)  # [B, N]
  highest = tf.where_v2(inside, tf.reduce_max(log_probs, axis=-1), 0.0)
  before = tf.pad(best, [[0, 0], [1, 0]])[:, :-1]  # [B, N]
  keep = inside & (best > 0) & tf.not_equal(best, before)
  # Sorting moves the kept frames to the front and preserves their order.
  frames = tf.sort(tf.where_v2(keep, tf.range(time), time), axis=1)  # [B, N]
  exists = frames < time
  frames = tf.where_v2(exists, frames, 0)
  labels = tf.where_v2(exists, tf.gather(best, frames, batch_dims=1), 0)
  label_scores = tf.where_v2(exists, tf.gather(highest, frames, batch_dims=1), 0.0)
  return py_utils.NestedMap(
    labels=labels[:, tf.newaxis],
    frames=frames[:, tf.newaxis],
    label_scores=label_scores[:, tf.newaxis],
    lengths=tf.reduce_sum(tf.cast(keep, tf.int32), axis=1)[:, tf.newaxis],
    scores=tf.reduce_sum(highest, axis=1)[:, tf.newaxis],
  )
