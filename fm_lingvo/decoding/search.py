"""Beam search for transducers; greedy.py has greedy decoding.

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

from fm_lingvo.decoding import emission
from fm_lingvo.decoding import fusion

NEVER = fusion.NEVER  # Score of hypotheses that do not exist.

LABELED = ('labels', 'frames', 'label_scores')  # What hypotheses have for each label.
_HASH_FACTOR = 6364136223846793005  # Knuth, MMIX; products wrap round 2^64.


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
  scorer=None,
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
    state: See greedy.Greedy.
    enc: See greedy.Greedy.
    lengths: See greedy.Greedy.
    max_symbols_per_frame: See greedy.Greedy.
    max_labels: See greedy.Greedy.
    beam_size: int, number of hypotheses K, >= 1.
    limits: See greedy.Greedy.
    scorer: Scores labels by those before them, such as language models and hotwords, or
      None: see fusion.py.
    internal_lm: The transducer's own language model, or None: pred [M, J] -> float32 [M, V], log-probabilities of
      the next label, which are subtracted; that of blank is ignored.
    ilm_weight: float, weight of the internal language model's log-probabilities.

  Returns:
    NestedMap as of greedy.Greedy, with distinct hypotheses, best first. Scores are the log of
    the summed probability of alignments, plus the scorer's scores, minus ilm_weight times
    that of the internal language model. Merged hypotheses have the frames of the more
    probable one. If there are fewer than K hypotheses, the others have no labels and the
    score NEVER.
  """
  batch, time = py_utils.GetShape(enc, 2)
  limits = max_labels if limits is None else limits[:, tf.newaxis]  # [B, 1]
  fused = fusion.Fused(step, scorer, internal_lm, ilm_weight)
  found = BeamStart(fused.Step, fused.ZeroState(state, batch), batch, beam_size)
  now = BeamFrames(found, log_probs, fused.Step, enc, lengths, max_symbols_per_frame, max_labels, limits)
  return _Finish(now, fused.Final(now.model.state))


def BeamStart(step, state, batch, beam_size):
  """Returns the hypotheses before the first frame, one empty one for each of `batch` utterances.

  `step` is that of a fusion.Fused, `state` its state of [B, ...]. The NestedMap has scores float32, hashes int64 and
  lengths int32 [B, K], and model: pred and state [M, ...].
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
    log_probs, enc, lengths, max_symbols_per_frame: See BeamSearch.
    step: fusion.Fused.Step.
    max_labels: int or int32 scalar, maximum number of labels L that a hypothesis gets at these frames.
    limits: int or int32 [B, 1], maximum number of all labels of a hypothesis.

  Returns:
    NestedMap as `found`, best first, and labels, frames and label_scores [B, K, L]: label number i of the utterance is
    at i % L, if it was emitted at these frames.
  """
  batch, beam_size = py_utils.GetShape(found.scores)
  now = py_utils.NestedMap(
    found,
    t=tf.zeros([batch], tf.int32),
    s=tf.zeros([batch], tf.int32),
    waits=found.scores <= NEVER,
    **{**emission.NoLabels([batch, beam_size], max_labels), 'lengths': found.lengths},
  )
  now = emission.Loop(
    lambda now: _BeamStep(now, log_probs, step, enc, lengths, max_symbols_per_frame, limits),
    now,
    lengths,
    py_utils.GetShape(enc)[1] * (max_symbols_per_frame + 1),
  )
  return py_utils.NestedMap({name: now[name] for name in (*found, *LABELED)})


def _Origin(batch, beam_size):
  """Returns the index of the utterance of each hypothesis, int32 [M]."""
  return tf.range(batch * beam_size) // beam_size


def _BeamStep(now, log_probs, step, enc, lengths, max_symbols_per_frame, limits):
  """Computes one step of BeamSearch: each hypothesis emits a label or blank, or waits.

  Args:
    now: NestedMap with t, the frame, and s, the number of steps at this frame, int32
      [B]; scores float32 [B, K]; waits bool [B, K], whether blank was emitted at t; hashes
      int64 [B, K]; model, a NestedMap of pred and state [M, ...]; and the fields of emission.NoLabels.
    log_probs: See BeamSearch.
    step: fusion.Fused.Step.
    enc: See BeamSearch.
    lengths: See BeamSearch.
    max_symbols_per_frame: See BeamSearch.
    limits: int or int32 [B, 1].

  Returns:
    NestedMap as `now`.
  """
  batch, beam_size = py_utils.GetShape(now.scores)
  origin = _Origin(batch, beam_size)
  own = log_probs(tf.gather(emission.FramesAt(enc, now.t), origin), now.model.pred.model)  # [M, V]
  steps = own + now.model.pred.added if 'added' in now.model.pred else own
  vocab_size = py_utils.GetShape(own)[1]
  # [M, V] -> [B, K, V]
  steps = tf.reshape(tf.maximum(steps, NEVER), [batch, beam_size, vocab_size])
  active = now.t < lengths  # [B]
  waits = now.waits | ~active[:, tf.newaxis]  # [B, K]
  may_emit = ~waits & emission.MayEmit(now.s[:, tf.newaxis], now.lengths, max_symbols_per_frame, limits)
  scores, parents, labels = _Extend(now, steps, waits, may_emit)
  emit = labels > 0  # [B, K]
  before = py_utils.NestedMap(
    {name: tf.gather(now[name], parents, batch_dims=1) for name in (*LABELED, 'lengths', 'hashes')}
  )
  hashes = before.hashes * _HASH_FACTOR + tf.cast(labels, tf.int64)
  parents = tf.reshape(parents, [-1]) + origin * beam_size  # [B, K] -> [M]
  label_scores = tf.gather(tf.reshape(own, [-1]), parents * vocab_size + tf.reshape(labels, [-1]))  # [M]
  model = now.model.Transform(lambda x: tf.gather(x, parents))
  ends = active & ~tf.reduce_any(emit, axis=1)  # [B], all hypotheses wait for the next frame.
  return py_utils.NestedMap(
    t=now.t + tf.cast(ends, tf.int32),
    s=tf.where_v2(ends, 0, now.s + 1),
    scores=scores,
    model=_StepWhereEmitted(step, tf.reshape(labels, [-1]), model),  # [B, K] -> [M]
    waits=tf.where_v2(ends[:, tf.newaxis], scores <= NEVER, ~emit),
    hashes=tf.where_v2(emit, hashes, before.hashes),
    **emission.Append(before, labels, now.t[:, tf.newaxis], tf.reshape(label_scores, [batch, beam_size]), emit),
  )


def _StepWhereEmitted(step, labels, model):
  """Advances only the hypotheses that emitted a label: most emit blank or wait, and a language model is most of a step.

  Args:
    step: See the module.
    labels: int32 [M], 0 where no label was emitted.
    model: NestedMap of pred and state [M, ...].

  Returns:
    NestedMap as `model`.
  """
  rows = tf.where_v2(labels > 0)  # [R, 1]
  before = model.Transform(lambda x: tf.gather_nd(x, rows))  # [R, ...]
  pred, state = step(tf.gather_nd(labels, rows), before.state)
  after = py_utils.NestedMap(pred=pred, state=state)
  return tf.nest.map_structure(lambda old, new: tf.tensor_scatter_nd_update(old, rows, new), model, after)


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


def _Finish(now, final):
  """Returns the hypotheses of the last step, best first; final: float32 [M], added to their scores, or None."""
  scores, order = now.scores, None
  if final is not None:
    final = tf.reshape(final, py_utils.GetShape(scores))
    scores = tf.where_v2(scores > NEVER, tf.maximum(scores + final, NEVER), NEVER)
    scores, order = tf.math.top_k(scores, py_utils.GetShape(scores)[1])
  exists = tf.cast(scores > NEVER, tf.int32)  # [B, K]
  found = py_utils.NestedMap(scores=scores)
  for name in (*LABELED, 'lengths'):
    value = now[name] if order is None else tf.gather(now[name], order, batch_dims=1)
    some = exists if name == 'lengths' else exists[..., tf.newaxis]
    found[name] = value * tf.cast(some, value.dtype)
  return found
