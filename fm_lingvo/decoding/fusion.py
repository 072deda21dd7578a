"""What search.BeamSearch adds to a transducer's scores: language models, hotwords, the internal language model.

J: joint width, V: vocabulary with blank (id 0), M: hypotheses of all utterances.

A scorer scores labels by those before them. The object itself keeps no state, so that a search can continue
from a saved one:

  ZeroState(batch) -> state, NestedMap of [batch, ...], before the first label
  Step(ids int32 [M], state) -> (float32 [M, V], state): ids is the newest label, 0 at the start; the scores are added
    to those of the next label, and that of blank is 0. After the start M counts only hypotheses with a new label, and
    may be 0
  Final(state) -> float32 [M], added where an utterance ends
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import existence

NEVER = existence.NEVER


class Weighted:
  """The scorer of a language model: its log-probabilities with a weight, and a bonus for each label."""

  def __init__(self, lm, weight, bonus=0.0):
    """Constructor.

    Args:
      lm: An object with ZeroState and Step as a scorer's, but without Final; its Step returns the log-probabilities of
        the next label; that of blank is ignored.
      weight: float, of the log-probabilities.
      bonus: float, compensates for their negative values, which favour short transcripts.
    """
    self._lm, self._weight, self._bonus = lm, weight, bonus

  def ZeroState(self, batch):
    """See the module."""
    return self._lm.ZeroState(batch)

  def Step(self, ids, state):
    """See the module."""
    log_probs, state = self._lm.Step(ids, state)
    return _Labels(log_probs) * (self._weight * tf.maximum(log_probs, NEVER) + self._bonus), state

  def Final(self, state):
    """See the module; 0: such a model has no end."""
    return tf.zeros([py_utils.GetShape(state.Flatten()[0])[0]])


class Sum:
  """The scorer that adds up several."""

  def __init__(self, scorers):
    self._scorers = list(scorers)

  def ZeroState(self, batch):
    """See the module."""
    return py_utils.NestedMap(scorers=[scorer.ZeroState(batch) for scorer in self._scorers])

  def Step(self, ids, state):
    """See the module."""
    scores, states = zip(*(scorer.Step(ids, s) for scorer, s in zip(self._scorers, state.scorers)))
    return tf.add_n(scores), py_utils.NestedMap(scorers=list(states))

  def Final(self, state):
    """See the module."""
    return tf.add_n([scorer.Final(s) for scorer, s in zip(self._scorers, state.scorers)])


class Fused:
  """A transducer's prediction network together with a scorer and its internal language model, either of them or none.

  Step returns NestedMap(model [M, J]), the prediction, and, if there is anything to add, `added` float32 [M, V].
  """

  def __init__(self, step, scorer=None, internal_lm=None, ilm_weight=0.0):
    """Constructor; see search.BeamSearch."""
    self._step, self._scorer = step, scorer
    self._internal_lm, self._ilm_weight = internal_lm, ilm_weight

  def ZeroState(self, state, batch):
    """Returns the state of `batch` hypotheses, given that of the prediction network."""
    found = py_utils.NestedMap(model=state)
    if self._scorer is not None:
      found.scorer = self._scorer.ZeroState(batch)
    return found

  def Step(self, ids, state):
    """Returns (NestedMap of [M, ...], state); ids int32 [M], 0 at the start."""
    pred, model = self._step(ids, state.model)
    found, state_after, added = py_utils.NestedMap(model=pred), py_utils.NestedMap(model=model), []
    if self._scorer is not None:
      scores, state_after.scorer = self._scorer.Step(ids, state.scorer)
      added.append(scores)
    if self._internal_lm is not None:
      log_probs = self._internal_lm(pred)
      added.append(-self._ilm_weight * _Labels(log_probs) * log_probs)
    if added:
      found.added = tf.add_n(added)
    return found, state_after

  def Final(self, state):
    """Returns what is added where utterances end, float32 [M]; None: nothing."""
    return None if self._scorer is None else self._scorer.Final(state.scorer)


def _Labels(scores):
  """Returns 1 for labels and 0 for blank, float32 [V], of scores [M, V]."""
  return tf.cast(tf.range(py_utils.GetShape(scores)[1]) > 0, tf.float32)
