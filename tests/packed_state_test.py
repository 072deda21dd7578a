"""Packed states are unpacked as they were; slots hold the states of a beam."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import packed_state
from fm_lingvo.decoding import state_slots
from tests import graph_case


class PackingTest(graph_case.GraphCase):
  def test_any_dtypes_and_widths_come_back(self):
    rng = np.random.RandomState(0)
    values = py_utils.NestedMap(
      pred=rng.randn(5, 3).astype(np.float32),
      state=py_utils.NestedMap(
        c=rng.randn(5, 2, 2).astype(np.float32),
        m=rng.randn(5, 4).astype(np.float16),
        context=np.arange(5, dtype=np.int32),
        hash=np.arange(5, dtype=np.int64) << 40,
        is_open=np.arange(5) > 2,
        nothing=np.zeros([5, 0], np.float32),
      ),
    )
    tensors = values.Transform(tf.constant)
    packing = packed_state.Packing(tensors)
    packed = packing.Pack(tensors)
    self.assertLen(packed, 5)  # A tensor for each dtype.
    rows = [3, 0]
    found = packing.Unpack({name: tf.gather(x, rows) for name, x in packed.items()})
    for (name, value), (_, after) in zip(values.FlattenItems(), found.FlattenItems()):
      self.assertEqual(after.dtype, tf.as_dtype(value.dtype), name)
      np.testing.assert_array_equal(self.Eval(after), value[rows], name)


class SlotsTest(graph_case.GraphCase):
  def test_a_state_without_values_may_be_advanced(self):
    """As that of a stateless prediction network with context_size = 1."""
    model = py_utils.NestedMap(
      pred=py_utils.NestedMap(model=tf.constant([[1.0], [2.0]])), state=py_utils.NestedMap(before=tf.zeros([2, 0]))
    )

    def _Step(ids, state):
      return py_utils.NestedMap(model=10.0 * tf.cast(ids, tf.float32)[:, tf.newaxis]), state

    slots = state_slots.Slots(model, 1, 2)
    after = slots.Advance(
      slots.Start(model), tf.constant([[1, 0]]), tf.constant([[3, 0]]), tf.constant([[True, False]]), _Step
    )
    found = self.Eval(slots.Model(after))
    np.testing.assert_array_equal(found.pred.model, [[30.0], [1.0]])
    self.assertEqual(found.state.before.shape, (2, 0))


if __name__ == '__main__':
  absltest.main()
