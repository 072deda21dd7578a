"""Greedy decoding of transducers and CTC.

B: utterances, N: encoded frames, V: vocabulary with blank (id 0), J: joint width, K: hypotheses,
L: labels of a hypothesis, S: symbols per frame.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import emission
from fm_lingvo.decoding import search


def Greedy(log_probs, step, state, enc, lengths, max_symbols_per_frame, max_labels, limits=None):
  """Emits the most probable label or blank at each step.

  Args:
    log_probs: See search.py.
    step: See search.py.
    state: Initial state for `step`, a NestedMap of [B, ...].
    enc: float32 [B, N, J], projected frames. Padding may have any value.
    lengths: int32 [B], number of frames, 0 to N.
    max_symbols_per_frame: int, maximum number of labels S at a frame, >= 1.
    max_labels: int or int32 scalar, maximum number of labels L, >= 1; an int gives
      outputs of static shape.
    limits: int32 [B], maximum number of labels of each utterance, <= L; None: L.

  Returns:
    NestedMap with K = 1 of labels int32 [B, K, L] without blanks, 0 beyond the length;
    lengths int32 [B, K]; scores float32 [B, K], the log-probability of the alignment;
    frames int32 [B, K, L], the frame at which each label was emitted, and label_scores
    float32 [B, K, L], its log-probability there under the transducer alone.
  """
  batch, time = py_utils.GetShape(enc, 2)
  limits = max_labels if limits is None else limits
  pred, state = step(tf.zeros([batch], tf.int32), state)
  now = py_utils.NestedMap(
    t=tf.zeros([batch], tf.int32),
    s=tf.zeros([batch], tf.int32),
    scores=tf.zeros([batch]),
    pred=pred,
    state=state,
    **emission.NoLabels([batch], max_labels),
  )

  def _Step(now):
    active = now.t < lengths  # [B]
    scores = log_probs(emission.FramesAt(enc, now.t), now.pred)  # [B, V]
    allowed = emission.MayEmit(now.s, now.lengths, max_symbols_per_frame, limits)
    blank = tf.equal(tf.range(py_utils.GetShape(scores)[1]), 0)  # [V]
    scores = tf.where_v2(allowed[:, tf.newaxis] | blank, scores, search.NEVER)
    best = tf.argmax(scores, axis=-1, output_type=tf.int32)  # [B]
    emit = active & (best > 0)
    highest = tf.reduce_max(scores, axis=-1)  # [B]
    pred, state = step(best, now.state)
    return py_utils.NestedMap(
      t=now.t + tf.cast(active & ~emit, tf.int32),
      s=tf.where_v2(emit, now.s + 1, 0),
      scores=now.scores + tf.where_v2(active, highest, 0.0),
      pred=emission.Where(emit, pred, now.pred),
      state=emission.Where(emit, state, now.state),
      **emission.Append(now, best, now.t, highest, emit),
    )

  now = emission.Loop(_Step, now, lengths, time + tf.minimum(max_labels, max_symbols_per_frame * time))
  return py_utils.NestedMap({name: now[name][:, tf.newaxis] for name in (*search.LABELED, 'lengths', 'scores')})


def CtcGreedy(logits, lengths):
  """Takes the best label of each frame, merges repeats and drops blanks (id 0).

  Args:
    logits: float [B, N, V]. Padding may have any value.
    lengths: int32 [B], number of frames, 0 to N.

  Returns:
    NestedMap as of Greedy with L = N. Scores are the log-probability of the best labels of all frames; a label's
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
