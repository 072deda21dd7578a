"""Searches several batches of an evaluation together where the head has a beam: the same lists in less time.

Batches are as small as in training, for the encoder and the losses; a search has many small operations, of which few
cost more for many utterances than for one. docs/speed.md has the figures. B: utterances, N: encoded frames, D: model
width.
"""

from typing import Any

from lingvo import compat as tf

from fm_lingvo.decoding import joined
from fm_lingvo.evaluation import hypotheses

_ROWS = 64  # Utterances: at least this many are searched together, except in the last search.
_ENCODED = ('encoded', 'encoded_paddings')  # Tensors [B, N, D] and [B, N] of a branch.


class Search:
  """Collects the hypotheses of one branch in a hypotheses.Recognition.

  Attributes:
    fetches: What Add needs of each batch.
  """

  def __init__(self, task: Any, recognition: hypotheses.Recognition) -> None:
    """Constructor.

    Args:
      task: A HydraTask built for evaluation, in whose graph and cluster this is called.
      recognition: Of one of its branches.
    """
    self._recognition = recognition
    self._waiting: list[dict[str, Any]] = []
    self.fetches = recognition.fetches
    name = dict(task.branches)[recognition.branch].head
    head = task.Head(name)
    encoded, paddings = (task.per_example_tensors[f'{recognition.branch}/{key}'] for key in _ENCODED)
    self._is_joint = head.SearchesJointly(encoded)
    if self._is_joint:
      self.fetches = {**recognition.fetches, 'encoded': encoded, 'paddings': paddings}
      # A search of its own: to feed the tensors of the graph would not keep the session from reading the next batch.
      self._inputs = [tf.placeholder(x.dtype, [None, None, *x.shape.as_list()[2:]]) for x in (encoded, paddings)]
      self._found = {f'hyp_{key}': x for key, x in head.Decode(task.theta[name], *self._inputs).items()}

  def MetricNames(self) -> list[str]:
    """Names of the metrics of Finish."""
    return self._recognition.MetricNames()

  def Add(self, sess: Any, values: dict[str, Any]) -> None:
    """Adds a batch, the values of `fetches` in the session `sess`."""
    if not self._is_joint:
      self._recognition.Add(values)
      return
    self._waiting.append(values)
    if sum(len(batch['weights']) for batch in self._waiting) >= _ROWS:
      self._Search(sess)

  def Finish(self, sess: Any) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Searches the remaining batches; returns the result of Recognition.Finish."""
    if self._waiting:
      self._Search(sess)
    return self._recognition.Finish()

  def _Search(self, sess):
    batches, self._waiting = self._waiting, []
    encoded = joined.Joined(batches)
    found = sess.run(self._found, dict(zip(self._inputs, (encoded['encoded'], encoded['paddings']))))
    first = 0
    for batch in batches:
      last = first + len(batch['weights'])
      self._recognition.Add({**batch, **{key: value[first:last] for key, value in found.items()}})
      first = last
