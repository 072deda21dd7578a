"""The recurrence of an LSTM beside the same steps one by one; builds graphs, for their values and gradients."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.layers import lstm_recurrence
from fm_lingvo.layers import mixed_precision
from tests import graph_case

_STEPS, _BATCH, _SIZE = 6, 3, 5


def _OneByOne(gates, w):
  """Predictions of Advance step by step, whose gradient is TensorFlow's."""
  m, c, found = tf.zeros([_BATCH, _SIZE], w.dtype), tf.zeros([_BATCH, _SIZE]), []
  for step in tf.unstack(gates, num=_STEPS):
    m, c = lstm_recurrence.Advance(step + mixed_precision.Product(m, w), c)
    m = tf.cast(m, w.dtype)
    found.append(m)
  return tf.stack(found)


class LstmRecurrenceTest(graph_case.GraphCase):
  def setUp(self):
    super().setUp()
    rng = np.random.default_rng(1)
    self._gates = tf.constant(2.0 * rng.standard_normal([_STEPS, _BATCH, 4 * _SIZE], np.float32))
    self._w = tf.constant(rng.standard_normal([_SIZE, 4 * _SIZE], np.float32))
    self._weights = tf.constant(rng.standard_normal([_STEPS, _BATCH, _SIZE], np.float32))

  def _Values(self, function, dtype):
    """Predictions, and gradients of a weighted sum of their squares by gates and w, all float32."""
    w = tf.cast(self._w, dtype)
    found = function(self._gates, w)
    self.assertEqual(found.dtype, dtype)
    loss = tf.reduce_sum(self._weights * tf.square(tf.cast(found, tf.float32)))
    return [tf.cast(x, tf.float32) for x in (found, *tf.gradients(loss, [self._gates, w]))]

  def test_predictions_and_gradients_are_those_of_steps_one_by_one(self):
    for dtype, tolerance in ((tf.float32, 1e-5), (tf.bfloat16, 0.1)):
      with self.subTest(dtype.name):
        ours = self.Eval(*self._Values(lstm_recurrence.Predictions, dtype))
        for found, expected in zip(ours, self.Eval(*self._Values(_OneByOne, dtype))):
          np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())

  def test_it_is_a_lstm_of_keras_with_its_gates_in_another_order(self):
    inputs = tf.constant(np.random.default_rng(2).standard_normal([_BATCH, _STEPS, 4 * _SIZE], np.float32))
    # Keras has the order i, f, g, o; its input is what the gates are here.
    order = np.concatenate([np.arange(2 * _SIZE), np.arange(3 * _SIZE, 4 * _SIZE), np.arange(2 * _SIZE, 3 * _SIZE)])
    layer = tf.keras.layers.LSTM(_SIZE, return_sequences=True, bias_initializer='zeros', unit_forget_bias=False)
    expected = layer(inputs)
    kernel, recurrent, _ = layer.weights
    set_weights = [
      kernel.assign(np.eye(4 * _SIZE, dtype=np.float32)[:, order]),
      recurrent.assign(tf.gather(self._w, order, axis=1)),
    ]
    ours = lstm_recurrence.Predictions(tf.transpose(inputs, [1, 0, 2]), self._w)
    self.Eval(tf.zeros([]))  # Initialises variables.
    self.Eval(*set_weights)
    ours, expected = self.Eval(tf.transpose(ours, [1, 0, 2]), expected)
    np.testing.assert_allclose(ours, expected, atol=1e-5)

  def test_an_earlier_prediction_does_not_depend_on_later_inputs(self):
    changed = tf.concat([self._gates[:3], 9.0 + self._gates[3:]], axis=0)
    before, after = self.Eval(
      lstm_recurrence.Predictions(self._gates, self._w), lstm_recurrence.Predictions(changed, self._w)
    )
    np.testing.assert_array_equal(before[:3], after[:3])
    self.assertTrue((before[3:] != after[3:]).all())


if __name__ == '__main__':
  absltest.main()
