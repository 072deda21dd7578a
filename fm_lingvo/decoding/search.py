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
from fm_lingvo.decoding import emission_log
from fm_lingvo.decoding import existence
from fm_lingvo.decoding import fusion
from fm_lingvo.decoding import state_slots

NEVER = existence.NEVER

LABELED = ('labels', 'frames', 'label_scores')  # What hypotheses have for each label.
HASH_FACTOR = 6364136223846793005  # Knuth, MMIX; products wrap round 2^64.


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
  """Continues a beam search from BeamStart, or from the result of this function for the frames before.

  Args:
    found: NestedMap of hypotheses, see BeamStart.
    log_probs, enc, lengths, max_symbols_per_frame: See BeamSearch.
    step: fusion.Fused.Step.
    max_labels: int or int32 scalar, maximum number of labels L that a hypothesis gets at these frames.
    limits: int or int32 [B, 1], maximum number of all labels of a hypothesis.

  Returns:
    NestedMap as `found`, best first, and labels, frames and label_scores [B, K, L]: label number i of the utterance is
    at i % L, if it was emitted at these frames; and ancestors int32 [B, K], the hypothesis of `found` that each one
    continues.
  """
  batch, beam_size = py_utils.GetShape(found.scores)
  max_steps = py_utils.GetShape(enc)[1] * (max_symbols_per_frame + 1)
  model = state_slots.Slots(found.model, batch, beam_size)
  now = py_utils.NestedMap(
    found,
    t=tf.zeros([batch], tf.int32),
    s=tf.zeros([batch], tf.int32),
    waits=found.scores <= NEVER,
    model=model.Start(found.model),
    log=emission_log.Start(batch, beam_size, max_steps),
  )
  now = emission.Loop(
    lambda now: _BeamStep(now, model, log_probs, step, enc, lengths, max_symbols_per_frame, limits),
    now,
    lengths,
    max_steps,
  )
  labeled, ancestors = emission_log.Labels(now.log, now.lengths, max_labels)
  after = py_utils.NestedMap({name: now[name] for name in found}, ancestors=ancestors, **labeled)
  after.model = model.Model(now.model)
  return after


def _Origin(batch, beam_size):
  """Returns the index of the utterance of each hypothesis, int32 [M]."""
  return tf.range(batch * beam_size) // beam_size


def _BeamStep(now, model, log_probs, step, enc, lengths, max_symbols_per_frame, limits):
  """Computes one step of BeamSearch: each hypothesis emits a label or blank, or waits.

  Args:
    now: NestedMap with t, the frame, and s, the number of steps at this frame, int32
      [B]; scores float32 [B, K]; waits bool [B, K], whether blank was emitted at t; hashes
      int64 and lengths int32 [B, K]; model, see state_slots; and log, see emission_log.
    model: The state_slots.Slots of now.model.
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
  pred = model.Pred(now.model)
  own = log_probs(tf.gather(emission.FramesAt(enc, now.t), origin), pred.model)  # [M, V]
  steps = own + pred.added if 'added' in pred else own
  vocab_size = py_utils.GetShape(own)[1]
  # [M, V] -> [B, K, V]
  steps = tf.reshape(tf.maximum(steps, NEVER), [batch, beam_size, vocab_size])
  active = now.t < lengths  # [B]
  waits = now.waits | ~active[:, tf.newaxis]  # [B, K]
  may_emit = ~waits & emission.MayEmit(now.s[:, tf.newaxis], now.lengths, max_symbols_per_frame, limits)
  scores, parents, labels = _Extend(now, steps, waits, may_emit)
  emit = labels > 0  # [B, K]
  hashes = tf.gather(now.hashes, parents, batch_dims=1)
  hashes = tf.where_v2(emit, hashes * HASH_FACTOR + tf.cast(labels, tf.int64), hashes)
  new_lengths = tf.gather(now.lengths, parents, batch_dims=1) + tf.cast(emit, tf.int32)
  rows = tf.reshape(parents, [-1]) + origin * beam_size  # [B, K] -> [M]
  label_scores = tf.gather(tf.reshape(own, [-1]), rows * vocab_size + tf.reshape(labels, [-1]))  # [M]
  ends = active & ~tf.reduce_any(emit, axis=1)  # [B], all hypotheses wait for the next frame.
  return py_utils.NestedMap(
    t=now.t + tf.cast(ends, tf.int32),
    s=tf.where_v2(ends, 0, now.s + 1),
    scores=scores,
    model=_Advanced(now, model, step, parents, labels, hashes, new_lengths),
    waits=tf.where_v2(ends[:, tf.newaxis], scores <= NEVER, ~emit),
    hashes=hashes,
    lengths=new_lengths,
    log=emission_log.Append(
      now.log, parents, labels, now.t[:, tf.newaxis], tf.reshape(label_scores, [batch, beam_size]), emit
    ),
  )


def _Advanced(now, model, step, parents, labels, hashes, lengths):
  """Returns now.model of new hypotheses; a language model is most of a step, so it runs only where it must.

  It does not where a hypothesis emitted no label, nor where its labels are those of one that was in the beam already,
  by an alignment that emitted the label earlier: that one has the state.

  Args:
    now: See _BeamStep.
    model: See _BeamStep.
    step: See _BeamStep.
    parents: int32 [B, K], the hypothesis that each one continues.
    labels: int32 [B, K], 0 where none was emitted.
    hashes: int64 [B, K], after the label.
    lengths: int32 [B, K], after the label.
  """
  same = _Equal(hashes, lengths, now.hashes, now.lengths) & (now.scores > NEVER)[:, tf.newaxis]  # [B, K, K]
  known, emit = tf.reduce_any(same, axis=2), labels > 0
  place = tf.argmax(tf.cast(same, tf.int32), axis=2, output_type=tf.int32)
  sources = tf.where_v2(emit & known, place, parents)
  return model.Advance(now.model, sources, labels, emit & ~known, step)


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
  equal = _Equal(hashes, lengths, hashes, lengths)
  first = tf.range(size) < tf.range(size)[:, tf.newaxis]  # [K, K]
  beaten = equal & ((other > mine) | (tf.equal(other, mine) & first))
  total = tf.reduce_logsumexp(tf.where_v2(equal, other, NEVER), axis=2)
  return tf.where_v2(tf.reduce_any(beaten, axis=2), NEVER, total)


def _Equal(hashes, lengths, other_hashes, other_lengths):
  """Returns whether hypotheses [B, K] have the labels of others: bool [B, K, K]."""
  return tf.equal(hashes[:, :, tf.newaxis], other_hashes[:, tf.newaxis]) & tf.equal(
    lengths[:, :, tf.newaxis], other_lengths[:, tf.newaxis]
  )


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
