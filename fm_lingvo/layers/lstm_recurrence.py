"""The recurrence of an LSTM over whole sequences, with a gradient of its own.

TensorFlow's gradient of a loop stores every tensor of every step and runs some 280 operations a step. This one stores
the gates and cells, computes all that does not depend on the next step at once, and runs some 45.

U: steps, B: sequences, P: width of cells and predictions.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.layers import mixed_precision


def Predictions(gates: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
  """Computes the predictions of all steps; the state before the first is 0.

  With m the prediction and c the cell of the step before: i, f, o, g = gates + m w, in this order;
  c' = sigmoid(f) c + sigmoid(i) tanh(g), m' = sigmoid(o) tanh(c') (LSTM without peepholes, Gers et al. 2000).

  Args:
    gates: float32 [U, B, 4 P], what inputs and biases add to the gates.
    w: [P, 4 P]; its dtype is that of products and predictions.

  Returns:
    [U, B, P], in the dtype of w.
  """

  @tf.custom_gradient
  def _Predictions(gates, w):
    kept = _Forward(gates, w)
    predictions = _Prediction(kept, w.dtype)
    return predictions, lambda gradient: _Backward(tf.cast(gradient, tf.float32), kept, predictions, w)

  return _Predictions(gates, w)


def Advance(gates: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Advances cells by one step, given the whole gates: ([M, 4 P], [M, P]) -> predictions and cells [M, P], float32."""
  opened, candidate, c = _Cell(gates, c)
  return opened[:, -c.shape[1] :] * tf.tanh(c), c


def _Cell(gates, c):
  """Returns the sigmoids of i, f and o [M, 3 P], the tanh of g [M, P], and the next cells [M, P]."""
  size = c.shape[1]
  opened, candidate = tf.sigmoid(gates[:, : 3 * size]), tf.tanh(gates[:, 3 * size :])
  return opened, candidate, opened[:, size : 2 * size] * c + opened[:, :size] * candidate


def _Forward(gates, w):
  """Returns sigmoids, tanh and cells of _Cell of all steps: float32 [U, B, 5 P]."""
  steps, batch, _ = py_utils.GetShape(gates, 3)
  size = w.shape[0]
  inputs = tf.TensorArray(tf.float32, size=steps, element_shape=gates.shape[1:]).unstack(gates)
  kept = tf.TensorArray(tf.float32, size=steps, element_shape=[gates.shape[1], 5 * size])

  def _Step(u, m, c, kept):
    opened, candidate, c = _Cell(inputs.read(u) + mixed_precision.Product(m, w), c)
    m = tf.cast(opened[:, 2 * size :] * tf.tanh(c), w.dtype)
    return u + 1, m, c, kept.write(u, tf.concat([opened, candidate, c], axis=1))

  start = [0, tf.zeros([batch, size], w.dtype), tf.zeros([batch, size]), kept]
  *_, kept = tf.while_loop(lambda u, *unused: u < steps, _Step, start, maximum_iterations=steps)
  return kept.stack()


def _Prediction(kept, dtype):
  """Returns the predictions [U, B, P] of what _Forward returned, rounded as in the loop."""
  *_, show, _, c = tf.split(kept, 5, axis=2)
  return tf.cast(show * tf.tanh(c), dtype)


def _Backward(gradient, kept, predictions, w):
  """Returns the gradients by the gates, float32 [U, B, 4 P], and by w.

  Args:
    gradient: float32 [U, B, P], by the predictions.
    kept: Of _Forward.
    predictions: [U, B, P].
    w: [P, 4 P].
  """
  steps, batch, size = py_utils.GetShape(gradient, 3)
  write, keep, show, candidate, c = tf.split(kept, 5, axis=2)  # [U, B, P] each.
  tanh_c = tf.tanh(c)
  # The derivatives of a step by its gates, but for that of c' or m' itself.
  factors = tf.concat(
    [
      candidate * write * (1.0 - write),
      _Before(c) * keep * (1.0 - keep),
      tanh_c * show * (1.0 - show),
      write * (1.0 - tf.square(candidate)),
    ],
    axis=2,
  )
  c_by_m = show * (1.0 - tf.square(tanh_c))
  packed = tf.concat([factors, c_by_m, keep, gradient], axis=2)  # [U, B, 7 P]
  packed = tf.TensorArray(tf.float32, size=steps, element_shape=packed.shape[1:]).unstack(packed)
  by_gates = tf.TensorArray(tf.float32, size=steps, element_shape=[kept.shape[1], 4 * size])
  transposed = tf.transpose(w)

  def _Step(u, by_m, by_c, by_gates):
    factors, c_by_m, keep, gradient = tf.split(packed.read(u), [4 * size, size, size, size], axis=1)
    by_m += gradient
    by_c += by_m * c_by_m
    by_gate = factors * tf.concat([by_c, by_c, by_m, by_c], axis=1)
    return u - 1, mixed_precision.Product(by_gate, transposed), by_c * keep, by_gates.write(u, by_gate)

  zeros = tf.zeros([batch, size])
  *_, by_gates = tf.while_loop(
    lambda u, *unused: u >= 0, _Step, [steps - 1, zeros, zeros, by_gates], maximum_iterations=steps
  )
  by_gates = by_gates.stack()
  # [U, B, P], [U, B, 4 P] -> [P, 4 P]
  by_w = tf.tensordot(_Before(predictions), tf.cast(by_gates, w.dtype), [[0, 1], [0, 1]])
  return by_gates, by_w


def _Before(x):
  """Returns what [U, B, P] is one step before, 0 before the first."""
  return tf.concat([tf.zeros_like(x[:1]), x[:-1]], axis=0)
