"""Streaming decoding: each call takes the next chunk of encoded frames, and the state of the call before.

B: utterances, C: encoded frames of a chunk, V: vocabulary with blank (id 0), J: joint width, K: hypotheses, M = B * K,
L: labels that a hypothesis may get in a chunk.

The hypotheses of a chunk are a NestedMap, best first:

  ancestors int32 [B, K]: which hypothesis of the chunk before each one continues
  labels int32 [B, K, L]: what it adds, 0 beyond counts int32 [B, K]
  frames int32 [B, K, L]: the frame of the chunk, 0 to C - 1, at which each label was emitted
  label_scores float32 [B, K, L]: its log-probability there
  exists bool [B, K]: whether there is such a hypothesis; the first one always exists
  scores float32 [B, K]: log-probabilities relative to that of the first one, which has 0
  final float32 [B, K]: what is added to the scores if the utterance ends here
  score float32 [B]: what the chunk adds to the log-probability of the first one

All chunks together give what search.py and greedy.py give for the whole utterance without a limit of its labels.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import existence
from fm_lingvo.decoding import greedy
from fm_lingvo.decoding import search


def BeamState(fused, state, batch, beam_size):
  """Returns the state before the first frame.

  Args:
    fused: A fusion.Fused.
    state: State of the prediction network for `batch` utterances.
    batch: int, B.
    beam_size: int, K, >= 1; 1 is greedy.
  """
  return search.BeamStart(fused.Step, fused.ZeroState(state, batch), batch, beam_size)


def BeamSearch(log_probs, fused, enc, lengths, max_symbols_per_frame, state):
  """Continues search.BeamSearch with the next chunk.

  Args:
    log_probs: See search.py.
    fused: A fusion.Fused.
    enc: float32 [B, C, J], projected frames. Padding may have any value.
    lengths: int32 [B], number of frames, 0 to C.
    max_symbols_per_frame: int, maximum number of labels at a frame, >= 1.
    state: State from the chunk before or from BeamState.

  Returns:
    (hypotheses, see the module, with L = max_symbols_per_frame * C; the new state).
  """
  batch, beam_size = py_utils.GetShape(state.scores)
  max_labels = max_symbols_per_frame * py_utils.GetShape(enc)[1]
  now = search.BeamFrames(
    state, log_probs, fused.Step, enc, lengths, max_symbols_per_frame, max_labels, limits=tf.int32.max
  )
  first = tf.gather(state.lengths, now.ancestors, batch_dims=1)  # [B, K], labels before this chunk.
  counts = now.lengths - first
  order = (first[..., tf.newaxis] + tf.range(max_labels)) % max_labels  # [B, K, L]
  best = now.scores[:, :1]
  exists = existence.AreFound(now.scores)
  after = py_utils.NestedMap(
    # Relative to the best one: a float32 would lose the differences in hours of speech.
    scores=tf.where_v2(exists, now.scores - best, search.NEVER),
    hashes=now.hashes,
    lengths=now.lengths,
    model=now.model,
  )
  final = fused.Final(after.model.state)
  found = py_utils.NestedMap(
    ancestors=now.ancestors,
    **_Ordered(now, order, counts),
    exists=exists,
    scores=after.scores,
    final=tf.zeros_like(after.scores) if final is None else tf.reshape(final, [batch, beam_size]),
    score=best[:, 0],
  )
  return found, after


def CtcState(batch):
  """Returns the state before the first frame: the best label of the frame before."""
  return py_utils.NestedMap(before=tf.zeros([batch], tf.int32))


def CtcGreedy(logits, lengths, state):
  """Continues greedy.CtcGreedy with the next chunk.

  Args:
    logits: float [B, C, V]. Padding may have any value.
    lengths: int32 [B], number of frames, 0 to C.
    state: State from the chunk before or from CtcState.

  Returns:
    (hypotheses, see the module, with K = 1 and L = C; the new state).
  """
  batch, time, vocab_size = py_utils.GetShape(logits, 3)
  logits = tf.cast(logits, tf.float32)
  # The last label before this chunk is a frame of probability 1, of which a repeat is no new label.
  first = tf.one_hot(state.before, vocab_size, 0.0, search.NEVER)[:, tf.newaxis]  # [B, 1, V]
  out = greedy.CtcGreedy(tf.concat([first, logits], axis=1), lengths + 1)
  repeated = tf.cast(state.before > 0, tf.int32)[:, tf.newaxis]  # [B, 1], the label of that frame.
  counts = out.lengths - repeated
  order = tf.minimum(repeated[..., tf.newaxis] + tf.range(time), time)  # [B, 1, L]
  out.frames -= 1
  found = py_utils.NestedMap(
    ancestors=tf.zeros([batch, 1], tf.int32),
    **_Ordered(out, order, counts),
    exists=tf.ones([batch, 1], tf.bool),
    scores=tf.zeros([batch, 1]),
    final=tf.zeros([batch, 1]),
    score=out.scores[:, 0],
  )
  best = tf.concat([state.before[:, tf.newaxis], tf.argmax(logits, axis=-1, output_type=tf.int32)], axis=1)
  return found, py_utils.NestedMap(before=tf.gather(best, lengths, batch_dims=1))


def _Ordered(out, order, counts):
  """Returns labels, frames and label_scores [B, K, L] of `out` in the given order, 0 beyond counts, and the counts."""
  inside = tf.sequence_mask(counts, py_utils.GetShape(order)[2])
  names = ('labels', 'frames', 'label_scores')
  found = {name: tf.gather(out[name], order, batch_dims=2) for name in names}
  return {'counts': counts, **{k: tf.where_v2(inside, v, tf.zeros_like(v)) for k, v in found.items()}}
