"""Fusion of a transducer's scores with those of language models, for search.BeamSearch.

J: joint width, V: vocabulary with blank (id 0), M: hypotheses of all utterances.

The functions log_probs and step are those of search.py; each function here returns two of the same kind.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

NEVER = -1e30  # The smallest score.


def Fused(log_probs, step, lm, lm_weight, label_bonus):
  """Returns log_probs and step with the language model's scores and the bonus added to the labels' scores.

  Predictions become NestedMap(model [M, J], lm float32 [M, V], what is added to the scores), and states
  NestedMap(model, lm).
  """

  def _LogProbs(enc_t, pred):
    return log_probs(enc_t, pred.model) + pred.lm

  def _Step(ids, state):
    pred, model = step(ids, state.model)
    scores, lm_state = lm.Step(ids, state.lm)
    labels = tf.cast(tf.range(py_utils.GetShape(scores)[1]) > 0, tf.float32)  # [V]
    added = labels * (lm_weight * tf.maximum(scores, NEVER) + label_bonus)
    return (py_utils.NestedMap(model=pred, lm=added), py_utils.NestedMap(model=model, lm=lm_state))

  return _LogProbs, _Step


def WithoutInternal(log_probs, step, internal_lm, ilm_weight):
  """Returns log_probs and step with the internal language model's scores subtracted from the labels' scores.

  Predictions become NestedMap(model [M, J], ilm float32 [M, V]), since the scores depend on no frame.
  """

  def _LogProbs(enc_t, pred):
    return log_probs(enc_t, pred.model) - pred.ilm

  def _Step(ids, state):
    pred, state = step(ids, state)
    scores = internal_lm(pred)
    labels = tf.cast(tf.range(py_utils.GetShape(scores)[1]) > 0, tf.float32)  # [V]
    return py_utils.NestedMap(model=pred, ilm=ilm_weight * labels * scores), state

  return _LogProbs, _Step
