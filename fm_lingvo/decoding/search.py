"""Greedy decoding for transducers and CTC, and beam search for transducers.

B: utterances, N: encoded frames, V: vocabulary with blank (id 0), J: joint width,
K: hypotheses, M = B * K, L: labels of a hypothesis, S: symbols per frame.

Both transducer decoders are a single loop in which each utterance has its own frame
index: at each step it emits a label and stays at its frame, or a blank and moves to the
next. They run in-graph with a bounded number of steps and compile under XLA. The
model is passed as two functions, so that the decoders do not depend on its layers:

  log_probs(enc_t [M, J], pred [M, J]) -> float32 [M, V], log-probabilities
  step(ids int32 [M], state) -> (pred [M, J], state), ids = 0 at the start

After S labels at a frame, or the maximum number of labels, only blank is allowed. Its
log-probability is not renormalised, so that scores are log-probabilities under the model.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import fusion

NEVER = fusion.NEVER  # Score of hypotheses that do not exist.

_HASH_FACTOR = 6364136223846793005  # Knuth, MMIX; products wrap round 2^64.


def Greedy(log_probs, step, state, enc, lengths, max_symbols_per_frame, max_labels, limits=None):
  """Emits the most probable label or blank at each step.

  Args:
    log_probs: See the module.
    step: See the module.
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
    frames int32 [B, K, L], the frame at which each label was emitted.
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
  """Returns whether hypotheses exist, given scores of BeamSearch as NumPy arrays or tensors."""
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
  internal_lm=None,
  ilm_weight=0.0,
):
  """Keeps the K best transcripts, scored by the sum over the alignments in the beam.

  The search is frame-synchronous: all hypotheses of an utterance emit blank before any
  moves to the next frame; until then, waiting hypotheses compete with those that still
  emit labels. Equal transcripts are merged. A beam of 1 is equivalent to Greedy.

  Args:
    log_probs: See the module; called with M hypotheses.
    step: See the module; called with M hypotheses.
    state: See Greedy.
    enc: See Greedy.
    lengths: See Greedy.
    max_symbols_per_frame: See Greedy.
    max_labels: See Greedy.
    beam_size: int, number of hypotheses K, >= 1.
    limits: See Greedy.
    lm: Language model over labels for shallow fusion, or None: an object with
      ZeroState(batch) -> NestedMap of [batch, ...] and Step(ids int32 [M], state) ->
      (float32 [M, V], state), which returns the log-probabilities of the next label;
      that of blank is ignored; ids = 0 at the start.
    lm_weight: float, weight of the language model's log-probabilities.
    label_bonus: float, added to the score for each label if there is a language model;
      compensates for its negative scores, which favour short transcripts.
    internal_lm: The transducer's own language model, or None: pred [M, J] -> float32 [M, V], log-probabilities of
      the next label, which are subtracted; that of blank is ignored.
    ilm_weight: float, weight of the internal language model's log-probabilities.

  Returns:
    NestedMap as of Greedy, with distinct hypotheses, best first. Scores are the log of
    the summed probability of alignments, plus lm_weight times that of the language
    model, minus ilm_weight times that of the internal one, plus label_bonus for each
    label. Merged hypotheses have the frames of the more probable one. If there are fewer
    than K hypotheses, the others have no labels and the score NEVER.
  """
  batch, time = py_utils.GetShape(enc, 2)
  limits = max_labels if limits is None else limits[:, tf.newaxis]  # [B, 1]
  log_probs, step, state = fusion.All(
    log_probs, step, state, batch, lm, lm_weight, label_bonus, internal_lm, ilm_weight
  )
  now = BeamFrames(
    BeamStart(step, state, batch, beam_size), log_probs, step, enc, lengths, max_symbols_per_frame, max_labels, limits
  )
  exists = tf.cast(now.scores > NEVER, tf.int32)  # [B, K]
  return py_utils.NestedMap(
    labels=now.labels * exists[..., tf.newaxis],
    frames=now.frames * exists[..., tf.newaxis],
    lengths=now.lengths * exists,
    scores=now.scores,
  )


def BeamStart(step, state, batch, beam_size):
  """Returns the hypotheses before the first frame: one empty one for each utterance.

  Args:
    step: See the module.
    state: See Greedy.
    batch: int, number of utterances B.
    beam_size: int, number of hypotheses K, >= 1.

  Returns:
    NestedMap of scores float32, hashes int64 and lengths int32 [B, K], and model, a NestedMap of pred and state [M, ...].
  """
  origin = _Origin(batch, beam_size)
  pred, state = step(tf.zeros_like(origin), state.Transform(lambda x: tf.gather(x, origin)))
  return py_utils.NestedMap(
    scores=tf.one_hot(tf.zeros([batch], tf.int32), beam_size, 0.0, NEVER),  # The others do not exist yet.
    hashes=tf.zeros([batch, beam_size], tf.int64),
    lengths=tf.zeros([batch, beam_size], tf.int32),
    model=py_utils.NestedMap(pred=pred, state=state),
  )


def BeamFrames(found, log_probs, step, enc, lengths, max_symbols_per_frame, max_labels, limits):
  """Goes on with BeamSearch from BeamStart, or from what this function returned for the frames before.

  Args:
    found: NestedMap of hypotheses, see BeamStart.
    log_probs: See BeamSearch.
    step: See BeamSearch.
    enc: See BeamSearch.
    lengths: See BeamSearch.
    max_symbols_per_frame: See BeamSearch.
    max_labels: int or int32 scalar, maximum number of labels L that a hypothesis gets at these frames.
    limits: int or int32 [B, 1], maximum number of all labels of a hypothesis.

  Returns:
    NestedMap as `found`, best first, and labels and frames int32 [B, K, L]: label number i of the utterance is at
    i % L, if it was emitted at these frames.
  """
  batch, beam_size = py_utils.GetShape(found.scores)
  now = py_utils.NestedMap(
    found,
    t=tf.zeros([batch], tf.int32),
    s=tf.zeros([batch], tf.int32),
    waits=found.scores <= NEVER,
    **{**_NoLabels([batch, beam_size], max_labels), 'lengths': found.lengths},
  )
  now = _Loop(
    lambda now: _BeamStep(now, log_probs, step, enc, lengths, max_symbols_per_frame, limits),
    now,
    lengths,
    py_utils.GetShape(enc)[1] * (max_symbols_per_frame + 1),
  )
  return py_utils.NestedMap({name: now[name] for name in (*found, 'labels', 'frames')})


def CtcGreedy(logits, lengths):
  """Takes the best label of each frame, merges repeats and drops blanks (id 0).

  Args:
    logits: float [B, N, V]. Padding may have any value.
    lengths: int32 [B], number of frames, 0 to N.

  Returns:
    NestedMap as of Greedy with L = N. Scores are the log-probability of the best
    labels of all frames; a label's frame is the first of its repeats.
  """
  log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
  time = py_utils.GetShape(logits)[1]
  inside = tf.range(time) < lengths[:, tf.newaxis]  # [B, N]
  best = tf.argmax(log_probs, axis=-1, output_type=tf.int32)  # [B, N]
  before = tf.pad(best, [[0, 0], [1, 0]])[:, :-1]  # [B, N]
  keep = inside & (best > 0) & tf.not_equal(best, before)
  # Sorting moves the kept frames to the front and preserves their order.
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
  """Returns empty hypotheses of shape [...]: labels and frames [..., L], lengths [...]."""
  return dict(
    labels=tf.zeros(shape + [max_labels], tf.int32),
    frames=tf.zeros(shape + [max_labels], tf.int32),
    lengths=tf.zeros(shape, tf.int32),
  )


def _Append(now, labels, frames, emit):
  """Appends labels [...], emitted at frames [...], to the hypotheses where emit is true: label i at i % L."""
  max_labels = py_utils.GetShape(now.labels)[-1]
  here = emit[..., tf.newaxis] & tf.equal(tf.range(max_labels), now.lengths[..., tf.newaxis] % max_labels)  # [..., L]
  return dict(
    labels=tf.where_v2(here, labels[..., tf.newaxis], now.labels),
    frames=tf.where_v2(here, frames[..., tf.newaxis], now.frames),
    lengths=now.lengths + tf.cast(emit, tf.int32),
  )


def _MayEmit(symbols, lengths, max_symbols_per_frame, limits):
  """Returns whether a hypothesis with `symbols` labels at this frame may emit another label."""
  return (symbols < max_symbols_per_frame) & (lengths < limits)


def _Origin(batch, beam_size):
  """Returns the index of the utterance of each hypothesis, int32 [M]."""
  return tf.range(batch * beam_size) // beam_size


def _BeamStep(now, log_probs, step, enc, lengths, max_symbols_per_frame, limits):
  """Computes one step of BeamSearch: each hypothesis emits a label or blank, or waits.

  Args:
    now: NestedMap with t, the frame, and s, the number of steps at this frame, int32
      [B]; scores float32 [B, K]; waits bool [B, K], whether blank was emitted at t; hashes
      int64 [B, K]; model, a NestedMap of pred and state [M, ...]; and the fields of _NoLabels.
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
  ends = active & ~tf.reduce_any(emit, axis=1)  # [B], all hypotheses wait for the next frame.
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
  """Extends hypotheses by blank or a label, merges equal ones, and keeps the best.

  Args:
    now: NestedMap with scores float32, hashes and lengths [B, K].
    steps: float32 [B, K, V], scores of blank and labels.
    waits: bool [B, K], hypotheses that have emitted blank: they are not extended.
    may_emit: bool [B, K], hypotheses that may emit a label.

  Returns:
    (scores float32 [B, K], best first; parents int32 [B, K], the index of the
    hypothesis that was extended; labels int32 [B, K], 0 where none was added).
  """
  batch, beam_size, vocab_size = py_utils.GetShape(steps)
  width = vocab_size - 1
  stay = now.scores + tf.where_v2(waits, 0.0, steps[..., 0])  # [B, K]
  stay = _Merge(stay, now.hashes, now.lengths)
  move = now.scores[..., tf.newaxis] + steps[..., 1:]  # [B, K, V - 1]
  move = tf.where_v2(may_emit[..., tf.newaxis], move, NEVER)
  # [B, K], [B, K, V - 1] -> [B, K * V]; blanks first, so that ties are resolved as in Greedy.
  candidates = tf.concat([stay, tf.reshape(move, [batch, beam_size * width])], axis=1)
  scores, chosen = tf.math.top_k(tf.maximum(candidates, NEVER), beam_size)
  chosen -= beam_size  # < 0: blanks.
  labels = tf.where_v2((chosen >= 0) & (scores > NEVER), chosen % width + 1, 0)
  parents = tf.where_v2(chosen >= 0, chosen // width, chosen + beam_size)
  return scores, parents, labels


def _Merge(scores, hashes, lengths):
  """Merges equal hypotheses: the most probable one gets their sum, the others NEVER.

  Args:
    scores: float32 [B, K].
    hashes: int64 [B, K], hashes of the labels.
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
  """Returns frame min(t, N - 1) of each utterance. [B, N, J], [B] -> [B, J]."""
  last = py_utils.GetShape(enc)[1] - 1
  return tf.gather(enc, tf.minimum(t, last), batch_dims=1)


def _Where(condition, new, old):
  """Applies tf.where to rows, condition [M], of tensors or NestedMaps of [M, ...]."""

  def _Rows(new, old):
    shape = [-1] + [1] * (new.shape.rank - 1)
    return tf.where_v2(tf.reshape(condition, shape), new, old)

  return tf.nest.map_structure(_Rows, new, old)


def _Loop(step, now, lengths, max_steps):
  """Repeats `step` on NestedMap `now` until all utterances have ended, at most max_steps times."""
  flat = tf.while_loop(
    lambda *flat: tf.reduce_any(now.Pack(flat).t < lengths),
    lambda *flat: step(now.Pack(flat)).Flatten(),
    now.Flatten(),
    maximum_iterations=max_steps,
  )
  return now.Pack(flat)
