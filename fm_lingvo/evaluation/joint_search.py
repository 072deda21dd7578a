"""Searches several batches of an evaluation together where the head has a beam: the same lists in a third of the time.

Batches are as small as in training, for the encoder and the losses.
"""

from typing import Any

from fm_lingvo.decoding import joined
from fm_lingvo.evaluation import hypotheses

_ROWS = 64  # Utterances that are searched together, at least but for the last ones.
_PREFIX = 'hyp_'


class Search:
  """Collects the hypotheses of one branch in a hypotheses.Recognition.

  Attributes:
    fetches: What Add needs of each batch.
  """

  def __init__(self, task: Any, recognition: hypotheses.Recognition) -> None:
    """Constructor.

    Args:
      task: A HydraTask built for evaluation.
      recognition: Of one of its branches.
    """
    self._recognition = recognition
    self._waiting: list[dict[str, Any]] = []
    self.fetches = recognition.fetches
    branch = recognition.branch
    tensors, head = task.per_example_tensors, task.Head(dict(task.branches)[branch].head)
    self._encoded = {key: tensors[f'{branch}/encoded_{key}'] for key in ('frames', 'paddings')}
    self._is_joint = head.searches and self._encoded['frames'].shape[0] is None  # Not on a TPU: shapes are static.
    if self._is_joint:
      self._found = {key: x for key, x in self.fetches.items() if key.startswith(_PREFIX)}
      others = {key: x for key, x in self.fetches.items() if not key.startswith(_PREFIX)}
      self.fetches = {**others, 'encoded': self._encoded['frames'], 'paddings': self._encoded['paddings']}

  def Add(self, sess: Any, values: dict[str, Any]) -> None:
    """Adds a batch, the values of `fetches` in the session `sess`."""
    if not self._is_joint:
      self._recognition.Add(values)
      return
    self._waiting.append(values)
    if sum(len(batch['weights']) for batch in self._waiting) >= _ROWS:
      self._Search(sess)

  def Finish(self, sess: Any) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Searches what is left; returns what Recognition.Finish does."""
    if self._waiting:
      self._Search(sess)
    return self._recognition.Finish()

  def _Search(self, sess):
    batches, self._waiting = self._waiting, []
    encoded = joined.Joined(batches)
    feed = {self._encoded['frames']: encoded.encoded, self._encoded['paddings']: encoded.paddings}
    found, first = sess.run(self._found, feed), 0
    for batch in batches:
      last = first + len(batch['weights'])
      self._recognition.Add({**batch, **{key: value[first:last] for key, value in found.items()}})
      first = last
