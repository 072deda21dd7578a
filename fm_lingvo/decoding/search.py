"""Greedy decoding of transducers and of CTC, and beam search for transducers.

B: utterances, N: encoded frames, V: vocabulary with blank (id 0), J: joint width,
K: hypotheses, M = B * K, L: labels of a hypothesis, S: symbols per frame.

Both transducer decoders are one loop over steps in which every utterance is at a
frame of its own: at a step it takes a label and stays, or a blank and goes on. They
run in the graph, with a number of steps known beforehand, and compile under XLA.
They take the model as two functions, so that they know nothing of its layers:

  log_probs(enc_t [M, J], pred [M, J]) -> float32 [M, V], log-probabilities
  step(ids int32 [M], state) -> (pred [M, J], state), ids = 0 at the start

After S labels at a frame, or the limit in all, only blank is left, and costs what it costs:
a score is the log-probability of alignments that the model itself defines.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

# Score of hypotheses that do not exist.
NEVER = -1e30

_HASH_FACTOR = 6364136223846793005  # Knuth, MMIX; products wrap round 2^64.


def Greedy(log_probs, step, state, enc, lengths, max_symbols_per_frame, max_labels, limits=None):
  """Takes the most probable of blank and labels at each step.

  Args:
    log_probs: See above.
    step: See above.
    state: What `step` takes at the start, a NestedMap of [B, ...].
    enc: float32 [B, N, J], projected frames. Padding may hold anything.
    lengths: int32 [B], frames in use, 0 to N.
    max_symbols_per_frame: int, labels S at one frame, >= 1.
    max_labels: int or int32 scalar, labels L in all, >= 1; an int gives outputs of
      static shape.
    limits: int32 [B], labels that each utterance may have, <= L; None: L.

  Returns:
    NestedMap, K = 1: labels int32 [B, K, L] without blanks, 0 past their lengths
    int32 [B, K], scores float32 [B, K], the log-probability of the alignment taken, and
    frames int32 [B, K, L], the frame at which each label came.
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
    **_NoLabels([batch], max_labels),
  )

  def _Step(now):
    active = now.t < lengths  # [B]
    scores = log_probs(_FramesAt(enc, now.t), now.pred)  # [B, V]
    allowed = _MayEmit(now.s, now.lengths, max_symbols_per_frame, limits)
    blank = tf.equal(tf.range(py_utils.GetShape(scores)[1]), 0)  # [V]
    scores = tf.where_v2(allowed[:, tf.newaxis] | blank, scores, NEVER)
    best = tf.argmax(scores, axis=-1, output_type=tf.int32)  # [B]
    emit = active & (best > 0)
    pred, state = step(best, now.state)
    return py_utils.NestedMap(
      t=now.t + tf.cast(active & ~emit, tf.int32),
      s=tf.where_v2(emit, now.s + 1, 0),
      scores=now.scores + tf.where_v2(active, tf.reduce_max(scores, axis=-1), 0.0),
      pred=_Where(emit, pred, now.pred),
      state=_Where(emit, state, now.state),
      **_Append(now, best, now.t, emit),
    )

  now = _Loop(_Step, now, lengths, time + tf.minimum(max_labels, max_symbols_per_frame * time))
  return py_utils.NestedMap(
    labels=now.labels[:, tf.newaxis],
    frames=now.frames[:, tf.newaxis],
    lengths=now.lengths[:, tf.newaxis],
    scores=now.scores[:, tf.newaxis],
  )


def AreFound(scores):
  """Whether hypotheses were found, by their scores as BeamSearch returns them; NumPy or tensors."""
  return scores > 0.1 * NEVER


def BeamSearch(
  log_probs,
  step,
  state,
  enc,
  lengths,
  max_symbols_per_frame,
  max_labels,
  beam_size,
  limits=None,
  lm=None,
  lm_weight=0.0,
  label_bonus=0.0,
):
  """Keeps the K best transcripts, each with the sum over the alignments found.

  Frame-synchronous: all hypotheses of an utterance take their blank before any goes
  on to the next frame; until then those that wait compete with those that still
  emit. Equal transcripts are merged. A beam of 1 is Greedy.

  Args:
    log_probs: See above, on M hypotheses.
    step: See above, on M hypotheses.
    state: See Greedy.
    enc: See Greedy.
    lengths: See Greedy.
    max_symbols_per_frame: See Greedy.
    max_labels: See Greedy.
    beam_size: int, hypotheses K, >= 1.
    limits: See Greedy.
    lm: Language model over labels for shallow fusion, or None: an object with
      ZeroState(batch) -> NestedMap of [batch, ...] and, as the prediction network,
      Step(ids int32 [M], state) -> (float32 [M, V], state): log-probabilities of the
      next label, blank's ignored; ids = 0 at the start.
    lm_weight: float, weight of the language model's log-probabilities.
    label_bonus: float, what each label adds to a score where there is a language model,
      whose scores are all below 0, so that fewer labels score better by themselves.

  Returns:
    NestedMap as Greedy's, hypotheses distinct and best first. Scores are the log of
    the summed probability of alignments, plus lm_weight times that of the language
    model, plus label_bonus for each label; where two were merged, frames are the
    likelier's. Where there are fewer than K hypotheses, the rest has no labels and score
    NEVER.
  """
  batch, time = py_utils.GetShape(enc, 2)
  limits = max_labels if limits is None else limits[:, tf.newaxis]  # [B, 1]
  if lm is not None:
    log_probs, step = _Fused(log_probs, step, lm, lm_weight, label_bonus)
    state = py_utils.NestedMap(model=state, lm=lm.ZeroState(batch))
  origin = _Origin(batch, beam_size)
  pred, state = step(tf.zeros_like(origin), state.Transform(lambda x: tf.gather(x, origin)))
  # One empty hypothesis an utterance; the others do not exist yet.
  scores = tf.one_hot(tf.zeros([batch], tf.int32), beam_size, 0.0, NEVER)  # [B, K]
  now = py_utils.NestedMap(
    t=tf.zeros([batch], tf.int32),
    s=tf.zeros([batch], tf.int32),
    scores=scores,
    waits=scores <= NEVER,
    hashes=tf.zeros([batch, beam_size], tf.int64),
    model=py_utils.NestedMap(pred=pred, state=state),
    **_NoLabels([batch, beam_size], max_labels),
  )
  now = _Loop(
    lambda now: _BeamStep(now, log_probs, step, enc, lengths, max_symbols_per_frame, limits),
    now,
    lengths,
    time * (max_symbols_per_frame + 1),
  )
  exists = tf.cast(now.scores > NEVER, tf.int32)  # [B, K]
  return py_utils.NestedMap(
    labels=now.labels * exists[..., tf.newaxis],
    frames=now.frames * exists[..., tf.newaxis],
    lengths=now.lengths * exists,
    scores=now.scores,
  )


def CtcGreedy(logits, lengths):
  """Takes the best label of each frame, joins repeats and drops blanks (id 0).

  Args:
    logits: float [B, N, V]. Padding may hold anything.
    lengths: int32 [B], frames in use, 0 to N.

  Returns:
    NestedMap as Greedy's with L = N. Scores are the log-probability of the best
    labels of all frames; a label's frame is the first of its repeats.
  """
  log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
  time = py_utils.GetShape(logits)[1]
  inside = tf.range(time) < lengths[:, tf.newaxis]  # [B, N]
  best = tf.argmax(log_probs, axis=-1, output_type=tf.int32)  # [B, N]
  before = tf.pad(best, [[0, 0], [1, 0]])[:, :-1]  # [B, N]
  keep = inside & (best > 0) & tf.not_equal(best, before)
  # Sorting moves the frames to keep to the front, in their order.
  frames = tf.sort(tf.where_v2(keep, tf.range(time), time), axis=1)  # [B, N]
  exists = frames < time
  frames = tf.where_v2(exists, frames, 0)
  labels = tf.where_v2(exists, tf.gather(best, frames, batch_dims=1), 0)
  scores = tf.where_v2(inside, tf.reduce_max(log_probs, axis=-1), 0.0)
  return py_utils.NestedMap(
    labels=labels[:, tf.newaxis],
    frames=frames[:, tf.newaxis],
    lengths=tf.reduce_sum(tf.cast(keep, tf.int32), axis=1)[:, tf.newaxis],
    scores=tf.reduce_sum(scores, axis=1)[:, tf.newaxis],
  )


def _NoLabels(shape, max_labels):
  """Hypotheses [...] of no labels: labels and frames [..., L], lengths [...]."""
  return dict(
    labels=tf.zeros(shape + [max_labels], tf.int32),
    frames=tf.zeros(shape + [max_labels], tf.int32),
    lengths=tf.zeros(shape, tf.int32),
  )


def _Append(now, labels, frames, emit):
  """Adds labels [...] that came at frames to the hypotheses where emit is true."""
  max_labels = py_utils.GetShape(now.labels)[-1]
  here = emit[..., tf.newaxis] & tf.equal(tf.range(max_labels), now.lengths[..., tf.newaxis])  # [..., L]
  return dict(
    labels=tf.where_v2(here, labels[..., tf.newaxis], now.labels),
    frames=tf.where_v2(here, frames[..., tf.newaxis], now.frames),
    lengths=now.lengths + tf.cast(emit, tf.int32),
  )


def _MayEmit(symbols, lengths, max_symbols_per_frame, limits):
  """Whether a hypothesis with `symbols` at this frame may take one more."""
  return (symbols < max_symbols_per_frame) & (lengths < limits)


def _Origin(batch, beam_size):
  """The utterance of each hypothesis, int32 [M]."""
  return tf.range(batch * beam_size) // beam_size


def _Fused(log_probs, step, lm, lm_weight, label_bonus):
  """BeamSearch's log_probs and step with its lm's scores and the bonus added to those of labels.

  Predictions become NestedMap(model [M, J], lm float32 [M, V]), and states
  NestedMap(model, lm).
  """

  def _LogProbs(enc_t, pred):
    scores = log_probs(enc_t, pred.model)  # [M, V]
    labels = tf.cast(tf.range(py_utils.GetShape(scores)[1]) > 0, tf.float32)  # [V]
    return scores + labels * (lm_weight * tf.maximum(pred.lm, NEVER) + label_bonus)

  def _Step(ids, state):
    pred, model = step(ids, state.model)
    lm_scores, lm_state = lm.Step(ids, state.lm)
    return (py_utils.NestedMap(model=pred, lm=lm_scores), py_utils.NestedMap(model=model, lm=lm_state))

  return _LogProbs, _Step


def _BeamStep(now, log_probs, step, enc, lengths, max_symbols_per_frame, limits):
  """One step of BeamSearch: each hypothesis takes a label or its blank, or waits.

  Args:
    now: NestedMap with t, the frame, and s, the steps at it, int32 [B]; scores
      float32, waits bool, whether it had its blank at t, and hashes int64 [B, K];
      model, a NestedMap of pred and state [M, ...]; and what _NoLabels returns.
    log_probs: See BeamSearch.
    step: See BeamSearch.
    enc: See BeamSearch.
    lengths: See BeamSearch.
    max_symbols_per_frame: See BeamSearch.
    limits: int or int32 [B, 1].

  Returns:
    NestedMap as `now`.
  """
  batch, beam_size = py_utils.GetShape(now.scores)
  origin = _Origin(batch, beam_size)
  steps = log_probs(tf.gather(_FramesAt(enc, now.t), origin), now.model.pred)  # [M, V]
  # [M, V] -> [B, K, V]
  steps = tf.reshape(tf.maximum(steps, NEVER), [batch, beam_size, py_utils.GetShape(steps)[1]])
  active = now.t < lengths  # [B]
  waits = now.waits | ~active[:, tf.newaxis]  # [B, K]
  may_emit = ~waits & _MayEmit(now.s[:, tf.newaxis], now.lengths, max_symbols_per_frame, limits)
  scores, parents, labels = _Extend(now, steps, waits, may_emit)
  emit = labels > 0  # [B, K]
  before = py_utils.NestedMap(
    {name: tf.gather(now[name], parents, batch_dims=1) for name in ('labels', 'frames', 'lengths', 'hashes')}
  )
  hashes = before.hashes * _HASH_FACTOR + tf.cast(labels, tf.int64)
  parents = tf.reshape(parents, [-1]) + origin * beam_size  # [B, K] -> [M]
  model = now.model.Transform(lambda x: tf.gather(x, parents))
  pred, state = step(tf.reshape(labels, [-1]), model.state)  # [B, K] -> [M]
  after = py_utils.NestedMap(pred=pred, state=state)
  ends = active & ~tf.reduce_any(emit, axis=1)  # [B], all wait for the next frame.
  return py_utils.NestedMap(
    t=now.t + tf.cast(ends, tf.int32),
    s=tf.where_v2(ends, 0, now.s + 1),
    scores=scores,
    model=_Where(tf.reshape(emit, [-1]), after, model),
    waits=tf.where_v2(ends[:, tf.newaxis], scores <= NEVER, ~emit),
    hashes=tf.where_v2(emit, hashes, before.hashes),
    **_Append(before, labels, now.t[:, tf.newaxis], emit),
  )


def _Extend(now, steps, waits, may_emit):
  """Merges hypotheses that take their blank, and keeps the best of all.

  Args:
    now: NestedMap with scores float32, hashes and lengths [B, K].
    steps: float32 [B, K, V], what blank and labels add to the scores.
    waits: bool [B, K], hypotheses that had their blank: they stay as they are.
    may_emit: bool [B, K], hypotheses that may take a label.

  Returns:
    (scores float32 [B, K], best first, parents int32 [B, K], the index of the
    hypothesis that was extended, labels int32 [B, K], 0 where none was added).
  """
  batch, beam_size, vocab_size = py_utils.GetShape(steps)
  width = vocab_size - 1
  stay = now.scores + tf.where_v2(waits, 0.0, steps[..., 0])  # [B, K]
  stay = _Merge(stay, now.hashes, now.lengths)
  move = now.scores[..., tf.newaxis] + steps[..., 1:]  # [B, K, V - 1]
  move = tf.where_v2(may_emit[..., tf.newaxis], move, NEVER)
  # [B, K], [B, K, V - 1] -> [B, K * V]; blanks first, so that ties go as in Greedy.
  candidates = tf.concat([stay, tf.reshape(move, [batch, beam_size * width])], axis=1)
  scores, chosen = tf.math.top_k(tf.maximum(candidates, NEVER), beam_size)
  chosen -= beam_size  # < 0: blanks.
  labels = tf.where_v2((chosen >= 0) & (scores > NEVER), chosen % width + 1, 0)
  parents = tf.where_v2(chosen >= 0, chosen // width, chosen + beam_size)
  return scores, parents, labels


def _Merge(scores, hashes, lengths):
  """Gives the sum of equal hypotheses to their likeliest, NEVER to the others.

  Args:
    scores: float32 [B, K].
    hashes: int64 [B, K], of the labels.
    lengths: int32 [B, K].

  Returns:
    scores [B, K].
  """
  size = py_utils.GetShape(scores)[1]
  mine, other = scores[:, :, tf.newaxis], scores[:, tf.newaxis]
  equal = tf.equal(hashes[:, :, tf.newaxis], hashes[:, tf.newaxis]) & tf.equal(
    lengths[:, :, tf.newaxis], lengths[:, tf.newaxis]
  )  # [B, K, K]
  first = tf.range(size) < tf.range(size)[:, tf.newaxis]  # [K, K]
  beaten = equal & ((other > mine) | (tf.equal(other, mine) & first))
  total = tf.reduce_logsumexp(tf.where_v2(equal, other, NEVER), axis=2)
  return tf.where_v2(tf.reduce_any(beaten, axis=2), NEVER, total)


def _FramesAt(enc, t):
  """Frame t of each utterance, the last one behind it. [B, N, J], [B] -> [B, J]."""
  last = py_utils.GetShape(enc)[1] - 1
  return tf.gather(enc, tf.minimum(t, last), batch_dims=1)


def _Where(condition, new, old):
  """tf.where by rows, condition [M], of tensors or NestedMaps of [M, ...]."""

  def _Rows(new, old):
    shape = [-1] + [1] * (new.shape.rank - 1)
    return tf.where_v2(tf.reshape(condition, shape), new, old)

  return tf.nest.map_structure(_Rows, new, old)


def _Loop(step, now, lengths, max_steps):
  """Repeats `step` on NestedMap `now` until every utterance is at its end."""
  flat = tf.while_loop(
    lambda *flat: tf.reduce_any(now.Pack(flat).t < lengths),
    lambda *flat: step(now.Pack(flat)).Flatten(),
    now.Flatten(),
    maximum_iterations=max_steps,
  )
  return now.Pack(flat)
