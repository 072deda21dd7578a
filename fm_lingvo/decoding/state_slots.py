"""Stores the predictions and decoder states of a beam's hypotheses in slots; a hypothesis has the number of its slot.

A step of the search then reorders numbers instead of states, and writes only the states of hypotheses with a new label.
An utterance has twice as many slots as hypotheses, so that new states have free slots if all others are kept.

B: utterances, K: hypotheses, M = B * K, R: hypotheses that are written.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import packed_state


class Slots:
  """The form of a NestedMap of pred and state [M, ...]; the tensors themselves are in what Start returns."""

  def __init__(self, model: py_utils.NestedMap, batch, beam_size: int):
    self._batch, self._beam_size, self._num_slots = batch, beam_size, 2 * beam_size
    self._forms = {name: packed_state.Packing(model[name]) for name in ('pred', 'state')}

  def Start(self, model: py_utils.NestedMap) -> py_utils.NestedMap:
    """Returns the slots with the hypotheses of `model`: NestedMap of numbers int32 [B, K], pred and state."""

    def _WithFreeSlots(x):
      x = tf.reshape(x, [self._batch, self._beam_size, py_utils.GetShape(x)[1]])
      x = tf.concat([x, tf.zeros_like(x)], axis=1)
      return tf.reshape(x, [self._batch * self._num_slots, py_utils.GetShape(x)[2]])

    numbers = tf.tile(tf.range(self._beam_size)[tf.newaxis], [self._batch, 1])
    tables = {name: form.Pack(model[name]).Transform(_WithFreeSlots) for name, form in self._forms.items()}
    return py_utils.NestedMap(numbers=numbers, **tables)

  def Pred(self, slots: py_utils.NestedMap) -> py_utils.NestedMap:
    """Returns the predictions [M, ...] of all hypotheses."""
    return self._Read(slots, 'pred', tf.reshape(self._Rows(slots.numbers), [-1]))

  def Model(self, slots: py_utils.NestedMap) -> py_utils.NestedMap:
    """Returns pred and state [M, ...] of all hypotheses, as Start takes them."""
    rows = tf.reshape(self._Rows(slots.numbers), [-1])
    return py_utils.NestedMap({name: self._Read(slots, name, rows) for name in self._forms})

  def Advance(self, slots: py_utils.NestedMap, sources, labels, is_new, step) -> py_utils.NestedMap:
    """Returns the slots of new hypotheses.

    Args:
      slots: Those of the hypotheses before.
      sources: int32 [B, K], the old hypothesis whose slot each new one shares, or whose state it advances.
      labels: int32 [B, K], the newest label.
      is_new: bool [B, K], whether it advances that state by its label, and needs a slot of its own.
      step: fusion.Fused.Step.
    """
    numbers = tf.gather(slots.numbers, sources, batch_dims=1)
    where = tf.where_v2(is_new)  # [R, 2]
    kept = tf.one_hot(tf.where_v2(is_new, -1, numbers), self._num_slots, dtype=tf.int32)  # [B, K, slots]
    _, free = tf.math.top_k(-tf.reduce_max(kept, axis=1), self._beam_size)  # Unused slots come first.
    before = tf.gather_nd(self._Rows(numbers), where)  # [R]
    numbers = tf.where_v2(is_new, free, numbers)
    after = tf.gather_nd(self._Rows(numbers), where)[:, tf.newaxis]
    pred, state = step(tf.gather_nd(labels, where), self._Read(slots, 'state', before))
    written = {'pred': self._forms['pred'].Pack(pred), 'state': self._forms['state'].Pack(state)}
    tables = {
      name: py_utils.NestedMap({key: _Updated(x, after, values[key]) for key, x in slots[name].items()})
      for name, values in written.items()
    }
    return py_utils.NestedMap(numbers=numbers, **tables)

  def _Rows(self, numbers):
    """Returns where in the tables the slots [B, K] are."""
    return numbers + tf.range(self._batch)[:, tf.newaxis] * self._num_slots

  def _Read(self, slots, name, rows):
    return self._forms[name].Unpack({key: tf.gather(x, rows) for key, x in slots[name].items()})


def _Updated(table, rows, values):
  """Returns table [slots, width] with the rows [R, 1] set to values [R, width]; TensorFlow refuses a width of 0."""
  return table if table.shape[1] == 0 else tf.tensor_scatter_nd_update(table, rows, values)
