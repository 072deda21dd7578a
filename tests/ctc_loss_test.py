"""Properties of the CTC loss: sums over all paths, closed forms, TensorFlow's own."""

import itertools

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.losses import ctc_loss
from fm_lingvo.losses import transducer_lattice
from tests import graph_case


def _BruteForce(logits, labels, blank_id):
  """Sum over every path of one utterance and its gradient: logits [N, V]."""
  logits = np.asarray(logits, np.float64)
  frames, vocab = logits.shape
  log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  total, occupied = 0.0, np.zeros_like(logits)
  for path in itertools.product(range(vocab), repeat=frames):
    collapsed = [k for k, _ in itertools.groupby(path) if k != blank_id]
    if collapsed == list(labels):
      probability = np.exp(sum(log_probs[n, k] for n, k in enumerate(path)))
      total += probability
      occupied[range(frames), path] += probability
  return -np.log(total), np.exp(log_probs) - occupied / total


class CtcLossTest(graph_case.GraphCase):
  def _Run(self, logits, labels, frames, lengths, blank_id=0, xla=False, weights=None):
    """Loss [B] and its gradient by logits, perhaps compiled."""
    labels = np.reshape(labels, [len(logits), -1])
    logits, *constants = [tf.constant(logits)] + [tf.constant(x, tf.int32) for x in (labels, frames, lengths)]

    def _LossAndGradient(logits):
      loss = ctc_loss.CtcLoss(logits, *constants, blank_id=blank_id)
      scale = tf.ones_like(loss) if weights is None else tf.constant(weights, loss.dtype)
      return [loss] + tf.gradients(loss, [logits], grad_ys=scale)

    if xla:
      _LossAndGradient = tf.function(_LossAndGradient, jit_compile=True, autograph=False)
    return self.Eval(*_LossAndGradient(logits))

  def test_equals_the_sum_over_all_paths(self):
    rng = np.random.RandomState(0)
    for xla in (False, True):
      for frames, labels, vocab, blank_id in (
        (4, [1, 2], 3, 0),
        (5, [1, 1], 3, 0),
        (5, [2, 0, 0], 3, 1),
        (1, [2], 4, 0),
        (3, [], 3, 0),
        (1, [], 2, 1),
        (3, [0, 1, 0], 3, 2),
        (9, [1, 1], 2, 0),
      ):
        with self.subTest(xla=xla, labels=labels, N=frames), self.NewGraph():
          logits = rng.randn(2, frames, vocab).astype(np.float32) * 2
          weights = [1.0, -0.5]
          loss, gradient = self._Run(logits, [labels] * 2, [frames] * 2, [len(labels)] * 2, blank_id, xla, weights)
          for b in range(2):
            expected, expected_gradient = _BruteForce(logits[b], labels, blank_id)
            np.testing.assert_allclose(loss[b], expected, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(
              gradient[b], weights[b] * expected_gradient, rtol=1e-5, atol=1e-5 * np.abs(expected_gradient).max() + 1e-7
            )

  def test_uniform_logits_have_a_closed_form(self):
    # N ln V - ln of the number of paths: 15 and, with a blank between equals, 5.
    loss, _ = self._Run(np.zeros([2, 4, 5]), [[1, 2], [1, 1]], [4, 4], [2, 2])
    np.testing.assert_allclose(loss, [3.72970145, 4.82831374], rtol=1e-8)

  def test_equals_tensorflows_loss(self):
    rng = np.random.RandomState(1)
    logits = (rng.randn(4, 60, 12) * 3).astype(np.float32)
    labels = rng.randint(1, 12, [4, 15])
    labels[0, 3:6] = 7
    frames, lengths = [60, 51, 40, 33], [15, 15, 4, 0]
    constant = tf.constant(logits)
    theirs = tf.nn.ctc_loss(
      tf.constant(labels, tf.int32),
      constant,
      tf.constant(lengths),
      tf.constant(frames),
      logits_time_major=False,
      blank_index=0,
    )
    expected, expected_gradient = self.Eval(theirs, tf.gradients(theirs, constant)[0])
    loss, gradient = self._Run(logits, labels, frames, lengths)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=5e-5)

  def test_float32_is_close_to_float64_on_long_utterances(self):
    rng = np.random.RandomState(2)
    logits = rng.randn(2, 400, 20).astype(np.float32) * 3
    labels = rng.randint(1, 20, [2, 80])
    loss, gradient = self._Run(logits, labels, [400, 333], [80, 71])
    exact, exact_gradient = self._Run(logits.astype(np.float64), labels, [400, 333], [80, 71])
    self.assertEqual(exact.dtype, np.float64)
    np.testing.assert_allclose(loss, exact, rtol=1e-6)
    np.testing.assert_allclose(gradient, exact_gradient, atol=5e-5)

  def test_gradient_equals_finite_differences(self):
    rng = np.random.RandomState(3)
    logits, labels = rng.randn(1, 12, 4), [[1, 3, 3, 2]]
    _, gradient = self._Run(logits, labels, [11], [4])
    direction = rng.randn(*logits.shape)
    (high, _), (low, _) = [self._Run(logits + step * direction, labels, [11], [4]) for step in (1e-5, -1e-5)]
    np.testing.assert_allclose((high - low) / 2e-5, [(gradient * direction).sum()], rtol=1e-7)

  def test_padding_neither_counts_nor_leaks(self):
    rng = np.random.RandomState(4)
    logits = rng.randn(3, 11, 5).astype(np.float32)
    labels = rng.randint(1, 5, [3, 4])
    frames, lengths = [11, 8, 3], [2, 4, 0]
    padded, padded_labels = logits.copy(), labels.copy()
    for b in range(3):
      padded[b, frames[b] :] = (np.nan, np.inf, -np.inf)[b]
      padded_labels[b, lengths[b] :] = -1
    for xla in (False, True):
      with self.NewGraph():
        loss, gradient = self._Run(padded, padded_labels, frames, lengths, xla=xla)
        for b in range(3):
          n, u = frames[b], lengths[b]
          alone, alone_gradient = self._Run(logits[b : b + 1, :n], labels[b : b + 1, :u], [n], [u])
          np.testing.assert_allclose(loss[b], alone[0], rtol=1e-6)
          np.testing.assert_allclose(gradient[b, :n], alone_gradient[0], rtol=1e-5, atol=1e-6)
          np.testing.assert_array_equal(gradient[b, n:], 0)

  def test_what_no_path_explains_costs_much_and_has_no_gradient(self):
    rng = np.random.RandomState(5)
    labels = [[1, 2, 3], [1, 1, 2], [1, 2, 3], [1, 2, 3], [1, 2, 3]]
    frames, lengths = [2, 3, 0, 0, 3], [3, 3, 1, 0, 3]
    for xla in (False, True):
      with self.NewGraph():
        loss, gradient = self._Run(rng.randn(5, 3, 4).astype(np.float32), labels, frames, lengths, xla=xla)
        never = np.float32(-transducer_lattice.NEVER)
        np.testing.assert_array_equal(loss[:4], [never, never, never, 0])
        np.testing.assert_array_equal(gradient[:4], 0)
        # One path: its gradient is softmax minus one-hot.
        self.assertLess(loss[4], 30)
        self.assertGreater(np.abs(gradient[4]).max(), 0.1)

  def test_nan_inside_an_utterance_shows_in_its_own_loss_only(self):
    logits = np.zeros([2, 3, 4], np.float32)
    logits[0, 1] = np.nan
    loss, _ = self._Run(logits, [[1], [1]], [3, 3], [1, 1])
    np.testing.assert_array_equal(np.isnan(loss), [True, False])

  def test_gradient_sums_to_zero_over_the_vocabulary(self):
    rng = np.random.RandomState(6)
    _, gradient = self._Run(rng.randn(2, 20, 6), rng.randint(1, 6, [2, 5]), [20, 13], [5, 3])
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-12)

  def test_hard_logits_keep_finite_gradients(self):
    logits = np.zeros([1, 9, 4], np.float32)
    logits[:, :, 1] = 300  # The labels are 2 and 3, which cost 300 nats each.
    loss, gradient = self._Run(logits, [[2, 3]], [9], [2])
    np.testing.assert_allclose(loss, [2700], rtol=1e-2)
    self.assertTrue(np.isfinite(gradient).all())
    np.testing.assert_allclose(gradient[0, :, 1], 1, atol=1e-5)

  def test_no_frames_at_all(self):
    # Fed: TensorFlow 2.21 crashes on folding constants without elements.
    logits = tf.placeholder(tf.float32, [2, None, 3])
    loss = ctc_loss.CtcLoss(logits, *map(tf.constant, ([[1], [1]], [0, 0], [0, 1])))
    with tf.Session() as session:
      loss, gradient = session.run([loss, tf.gradients(loss, logits)[0]], {logits: np.zeros([2, 0, 3])})
    np.testing.assert_array_equal(loss, np.float32([0, -transducer_lattice.NEVER]))
    self.assertEqual(gradient.shape, (2, 0, 3))

  def test_low_precision_is_computed_in_float32(self):
    logits = np.random.RandomState(7).randn(1, 6, 4).astype(np.float16)
    loss, gradient = self._Run(logits, [[1, 2]], [6], [2])
    exact, _ = self._Run(logits.astype(np.float32), [[1, 2]], [6], [2])
    self.assertEqual((loss.dtype, gradient.dtype), (np.float32, np.float16))
    np.testing.assert_array_equal(loss, exact)

  def test_dynamic_shapes_equal_static_ones(self):
    rng = np.random.RandomState(8)
    values = (
      rng.randn(2, 10, 5).astype(np.float32),
      rng.randint(1, 5, [2, 3]).astype(np.int32),
      np.int32([10, 7]),
      np.int32([3, 2]),
    )
    holders = [tf.placeholder(x.dtype, [None] * x.ndim) for x in values]
    loss = ctc_loss.CtcLoss(*holders)
    with tf.Session() as session:
      found = session.run([loss, tf.gradients(loss, holders[0])[0]], dict(zip(holders, values)))
    for value, wanted in zip(found, self._Run(*values)):
      np.testing.assert_allclose(value, wanted, rtol=1e-6, atol=1e-7)


if __name__ == '__main__':
  absltest.main()
