"""Properties of the transducer's loss: sums over all alignments, published vectors."""

import itertools

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.losses import transducer_chunks
from fm_lingvo.losses import transducer_lattice
from fm_lingvo.losses import transducer_loss
from tests import graph_case

# warp-transducer, tests/test_cpu.cpp (small_test): B 1, T 2, U 2, V 5, by (t, u).
_SMALL = np.array(
  [
    0.1,
    0.6,
    0.1,
    0.1,
    0.1,
    0.1,
    0.1,
    0.6,
    0.1,
    0.1,
    0.1,
    0.1,
    0.2,
    0.8,
    0.1,
    0.1,
    0.6,
    0.1,
    0.1,
    0.1,
    0.1,
    0.1,
    0.2,
    0.1,
    0.1,
    0.7,
    0.1,
    0.2,
    0.1,
    0.1,
  ]
).reshape(1, 2, 3, 5)
# The gradient of it, warp-transducer, pytorch_binding/test/test.py.
_SMALL_GRADIENT = np.array(
  [
    -0.13116688,
    -0.3999269,
    0.17703125,
    0.17703125,
    0.17703125,
    -0.18572757,
    0.12247056,
    -0.18168412,
    0.12247056,
    0.12247056,
    -0.32091254,
    0.06269141,
    0.06928472,
    0.12624499,
    0.06269141,
    0.05456069,
    -0.21824276,
    0.05456069,
    0.05456069,
    0.05456069,
    0.12073959,
    0.12073959,
    -0.48295835,
    0.12073959,
    0.12073959,
    -0.6925882,
    0.16871116,
    0.18645467,
    0.16871116,
    0.16871116,
  ]
).reshape(1, 2, 3, 5)
# warp-transducer, tensorflow_binding/tests/test_warprnnt_op.py: B 2, T 4, U 2, V 3.
_BATCHES = np.array(
  [
    0.065357,
    0.787530,
    0.081592,
    0.529716,
    0.750675,
    0.754135,
    0.609764,
    0.868140,
    0.622532,
    0.668522,
    0.858039,
    0.164539,
    0.989780,
    0.944298,
    0.603168,
    0.946783,
    0.666203,
    0.286882,
    0.094184,
    0.366674,
    0.736168,
    0.166680,
    0.714154,
    0.399400,
    0.535982,
    0.291821,
    0.612642,
    0.324241,
    0.800764,
    0.524106,
    0.779195,
    0.183314,
    0.113745,
    0.240222,
    0.339470,
    0.134160,
    0.505562,
    0.051597,
    0.640290,
    0.430733,
    0.829473,
    0.177467,
    0.320700,
    0.042883,
    0.302803,
    0.675178,
    0.569537,
    0.558474,
    0.083132,
    0.060165,
    0.107958,
    0.748615,
    0.943918,
    0.486356,
    0.418199,
    0.652408,
    0.024243,
    0.134582,
    0.366342,
    0.295830,
    0.923670,
    0.689929,
    0.741898,
    0.250005,
    0.603430,
    0.987289,
    0.592606,
    0.884672,
    0.543450,
    0.660770,
    0.377128,
    0.358021,
  ]
).reshape(2, 4, 3, 3)


def _LogSoftmax(x):
  x = x - x.max(-1, keepdims=True)
  return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _LogProbs(logits, factorization='rnnt', blank_id=0):
  """Log-probabilities of blank and labels, float64 [..., V], from their definition."""
  logits = np.asarray(logits, np.float64)
  if factorization == 'rnnt':
    return _LogSoftmax(logits)
  emits = 1 / (1 + np.exp(logits[..., blank_id]))  # Probability of any label.
  out = np.empty_like(logits)
  others = [k for k in range(logits.shape[-1]) if k != blank_id]
  out[..., others] = np.log(emits)[..., None] + _LogSoftmax(logits[..., others])
  out[..., blank_id] = np.log(1 - emits)
  return out


def _BruteForce(log_probs, labels, blank_id=0, smoothing=0.0):
  """Sum over every alignment of one utterance: log_probs [T, U + 1, V] -> nats."""
  frames, width, vocab = log_probs.shape
  others = [k for k in range(vocab) if k != blank_id]
  total = -np.inf
  # Which of the first T + U - 1 arcs are labels; the last one is a blank.
  for where in itertools.combinations(range(frames + width - 2), width - 1):
    t = u = 0
    score = 0.0
    for d in range(frames + width - 2):
      if d in where:
        score += (1 - smoothing) * log_probs[t, u, labels[u]] + smoothing * log_probs[t, u, others].mean()
        u += 1
      else:
        score += log_probs[t, u, blank_id]
        t += 1
    total = np.logaddexp(total, score + log_probs[t, u, blank_id])
  return -total


def _NumericGradient(function, x, step=1e-5):
  """Central differences of a scalar function at x, in float64."""
  x = np.array(x, np.float64)
  gradient = np.zeros_like(x)
  for i in np.ndindex(*x.shape):
    kept = x[i]
    x[i] = kept + step
    high = function(x)
    x[i] = kept - step
    gradient[i] = (high - function(x)) / (2 * step)
    x[i] = kept
  return gradient


class TransducerLossCase(graph_case.GraphCase):
  def _Run(self, *args, **kwargs):
    """Loss [B] and its gradients by `inputs`, perhaps compiled, see _Built."""
    return self._Built(*args, **kwargs)()

  def _Built(self, function, inputs, constants, xla=False, weights=None):
    """As _Run: a function of other `inputs` of the same shapes, whose graph is built once."""
    values = inputs
    inputs = [tf.placeholder(np.asarray(x).dtype, np.shape(x)) for x in inputs]
    constants = [tf.constant(x, tf.int32) for x in constants]

    def _LossAndGradients(*inputs):
      loss = function(*inputs, *constants)
      scale = tf.ones_like(loss) if weights is None else tf.constant(weights, loss.dtype)
      return [loss] + tf.gradients(loss, list(inputs), grad_ys=scale)

    if xla:
      _LossAndGradients = tf.function(_LossAndGradients, jit_compile=True, autograph=False)
    outputs = _LossAndGradients(*inputs)
    self.Eval(tf.constant(0))  # Makes the session.
    session = self._session
    return lambda *new: session.run(outputs, dict(zip(inputs, new or values)))

  def _Full(self, *args, **options):
    return self._FullBuilt(*args, **options)()

  def _FullBuilt(self, logits, labels, frames, lengths, **options):
    """A function of logits of this shape, see _Built."""
    xla, weights = options.pop('xla', False), options.pop('weights', None)
    return self._Built(
      lambda *args: transducer_loss.TransducerLoss(*args, **options), [logits], [labels, frames, lengths], xla, weights
    )

  def _Joint(self, inputs, labels, frames, lengths, **options):
    xla, weights = options.pop('xla', False), options.pop('weights', None)
    return self._Run(
      lambda *args: transducer_loss.JointLoss(*args, **options), inputs, [labels, frames, lengths], xla, weights
    )

  def _JointInputs(self, batch, frames, labels, vocab, depth=5, dtype=np.float32):
    rng = np.random.RandomState(3)
    return [
      rng.randn(*shape).astype(dtype)
      for shape in ((batch, frames, depth), (batch, labels + 1, depth), (depth, vocab), (vocab,))
    ]


class TransducerLossTest(TransducerLossCase):
  def test_equals_the_sum_over_all_alignments(self):
    rng = np.random.RandomState(0)
    for xla in (False, True):
      for frames, width, vocab, blank_id in ((3, 3, 4, 0), (1, 4, 3, 0), (5, 1, 3, 2), (2, 6, 3, 1), (1, 1, 2, 0)):
        with self.subTest(xla=xla, T=frames, U=width - 1), self.NewGraph():
          logits = rng.randn(2, frames, width, vocab).astype(np.float32) * 2
          others = [k for k in range(vocab) if k != blank_id]
          labels = rng.choice(others, [2, width - 1])
          weights = np.array([1.0, -0.5])
          loss, gradient = self._Full(
            logits, labels, [frames] * 2, [width - 1] * 2, blank_id=blank_id, xla=xla, weights=weights
          )
          for b in range(2):

            def _Loss(x, b=b):
              return _BruteForce(_LogProbs(x), labels[b], blank_id)

            np.testing.assert_allclose(loss[b], _Loss(logits[b]), rtol=1e-5)
            expected = weights[b] * _NumericGradient(_Loss, logits[b])
            np.testing.assert_allclose(gradient[b], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())

  def test_warp_transducer_test_cpu_small_test(self):
    for xla in (False, True):
      with self.NewGraph():
        loss, gradient = self._Full(_SMALL.astype(np.float32), [[1, 2]], [2], [2], xla=xla)
        np.testing.assert_allclose(loss, [4.495666], rtol=1e-6)
        np.testing.assert_allclose(gradient, _SMALL_GRADIENT, rtol=1e-5, atol=1e-7)

  def test_warp_transducer_test_warprnnt_op_multiple_batches(self):
    for xla in (False, True):
      with self.NewGraph():
        loss, _ = self._Full(_BATCHES.astype(np.float32), [[1, 2], [1, 1]], [4, 4], [2, 2], xla=xla)
        # The logits are published with six digits.
        np.testing.assert_allclose(loss, [4.2806528590890736, 3.9384369822503591], rtol=1e-6)

  def test_uniform_logits_have_a_closed_form(self):
    loss, _ = self._Full(np.zeros([1, 3, 3, 4], np.float32), [[1, 2]], [3], [2])
    np.testing.assert_allclose(loss, [5.13971234], rtol=1e-6)
    # (T + U) ln V - ln C(T - 1 + U, U) with U > T.
    loss, _ = self._Full(np.zeros([1, 2, 6, 7]), [[1, 2, 3, 4, 5]], [2], [5])
    np.testing.assert_allclose(loss, [7 * np.log(7) - np.log(6)], rtol=1e-12)

  def test_gradient_sums_to_zero_over_the_vocabulary(self):
    rng = np.random.RandomState(1)
    _, gradient = self._Full(rng.randn(3, 9, 5, 6), rng.randint(1, 6, [3, 4]), [9, 8, 3], [4, 2, 4])
    np.testing.assert_allclose(gradient.sum(-1), 0, atol=1e-12)
    self.assertGreater(np.abs(gradient).max(), 0.1)

  def test_what_all_logits_of_a_node_have_in_common_does_not_count(self):
    rng = np.random.RandomState(4)
    for vocab in (6, 130):
      logits, labels = rng.randn(2, 5, 4, vocab).astype(np.float32), rng.randint(1, vocab, [2, 3])
      expected = self._Full(logits.astype(np.float64), labels, [5, 5], [3, 3])
      for xla in (False, True):
        function = self._FullBuilt(logits, labels, [5, 5], [3, 3], xla=xla)
        for common in (40.0, -60.0, 90.0, -120.0, 1000.0):
          with self.subTest(vocab=vocab, xla=xla, common=common):
            moved = logits.copy()
            moved[1, 2:] += np.float32(common)
            rounding = np.spacing(np.float32(abs(common) + 4)) * 10
            for value, wanted in zip(function(moved), expected):
              np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6 + rounding)

  def test_float32_is_close_to_float64_on_long_utterances(self):
    rng = np.random.RandomState(1)
    logits = rng.randn(2, 150, 41, 8).astype(np.float32)
    labels = rng.randint(1, 8, [2, 40])
    loss, gradient = self._Full(logits, labels, [150, 120], [40, 35])
    exact, exact_gradient = self._Full(logits.astype(np.float64), labels, [150, 120], [40, 35])
    self.assertEqual(exact.dtype, np.float64)
    np.testing.assert_allclose(loss, exact, rtol=1e-6)
    np.testing.assert_allclose(gradient, exact_gradient, atol=2e-5)

  def test_padding_neither_counts_nor_leaks(self):
    rng = np.random.RandomState(2)
    logits = rng.randn(3, 6, 5, 4).astype(np.float32)
    labels = rng.randint(1, 4, [3, 4])
    frames, lengths = [6, 4, 2], [2, 4, 0]
    padded, padded_labels = logits.copy(), labels.copy()
    for b in range(3):
      padded[b, frames[b] :] = np.nan
      padded[b, :, lengths[b] + 1 :] = np.inf
      padded_labels[b, lengths[b] :] = -1
    alone = [
      self._Full(logits[b : b + 1, :t, : u + 1], labels[b : b + 1, :u], [t], [u])
      for b, (t, u) in enumerate(zip(frames, lengths))
    ]
    for xla in (False, True):
      with self.NewGraph():
        loss, gradient = self._Full(padded, padded_labels, frames, lengths, xla=xla)
        for b in range(3):
          t, u = frames[b], lengths[b]
          alone_loss, alone_gradient = alone[b]
          np.testing.assert_allclose(loss[b], alone_loss[0], rtol=1e-6)
          np.testing.assert_allclose(gradient[b, :t, : u + 1], alone_gradient[0], rtol=1e-5, atol=1e-6)
          np.testing.assert_array_equal(gradient[b, t:], 0)
          np.testing.assert_array_equal(gradient[b, :, u + 1 :], 0)

  def test_nan_inside_an_utterance_shows_in_its_own_loss_only(self):
    logits = np.zeros([2, 3, 2, 4], np.float32)
    logits[0, 1, 0] = np.nan
    loss, _ = self._Full(logits, [[1], [1]], [3, 3], [1, 1])
    np.testing.assert_array_equal(np.isnan(loss), [True, False])

  def test_rows_without_frames(self):
    for xla in (False, True):
      with self.NewGraph():
        loss, gradient = self._Full(
          np.full([3, 2, 3, 4], np.nan, np.float32), np.ones([3, 2]), [0, 0, 0], [0, 2, 1], xla=xla
        )
        np.testing.assert_array_equal(loss, np.float32([0, -transducer_lattice.NEVER, -transducer_lattice.NEVER]))
        np.testing.assert_array_equal(gradient, 0)

  def test_batch_without_any_frame_dimension(self):
    loss, _ = self._Full(np.zeros([2, 0, 2, 4], np.float32), [[1], [1]], [0, 0], [0, 1])
    np.testing.assert_array_equal(loss, np.float32([0, -transducer_lattice.NEVER]))

  def test_fastemit_scales_gradients_of_labels_only(self):
    # Gradient on log-probabilities: label entries get (1 + lambda) of theirs.
    rng = np.random.RandomState(4)
    blank = tf.constant(-rng.rand(2, 5, 4))
    label = tf.constant(-rng.rand(2, 5, 4))
    sizes = tf.constant([5, 3]), tf.constant([3, 2])
    plain = transducer_lattice.FullSum(blank, label, *sizes)
    scaled = transducer_lattice.FullSum(blank, label, *sizes, label_scale=1.25)
    values = self.Eval(plain, scaled, *tf.gradients(plain, [blank, label]), *tf.gradients(scaled, [blank, label]))
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_allclose(values[4], values[2], rtol=1e-12)
    np.testing.assert_allclose(values[5], 1.25 * values[3], rtol=1e-12)
    # And through TransducerLoss: linear in lambda, the loss left as it was.
    logits, labels = rng.randn(2, 5, 4, 3), rng.randint(1, 3, [2, 3])
    out = [self._Full(logits, labels, [5, 3], [3, 2], fastemit_lambda=x) for x in (0.0, 0.1, 0.2)]
    np.testing.assert_array_equal(out[0][0], out[1][0])
    np.testing.assert_allclose(out[2][1] - out[1][1], out[1][1] - out[0][1], atol=1e-12)
    self.assertGreater(np.abs(out[1][1] - out[0][1]).max(), 1e-3)

  def test_occupations_sum_to_frames_and_labels(self):
    rng = np.random.RandomState(5)
    for xla in (False, True):
      with self.NewGraph():
        loss, blank, label = self._Run(
          transducer_lattice.FullSum, [-rng.rand(4, 7, 6), -rng.rand(4, 7, 6)], [[7, 5, 1, 0], [5, 2, 4, 0]], xla
        )
        np.testing.assert_allclose(-blank.sum(axis=(1, 2)), [7, 5, 1, 0], rtol=1e-12)
        np.testing.assert_allclose(-label.sum(axis=(1, 2)), [5, 2, 4, 0], rtol=1e-12)
        self.assertEqual(loss[3], 0)


class JointLossTest(TransducerLossCase):
  def _Logits(self, inputs):
    enc, pred, w, b = inputs
    return np.tanh(enc[:, :, None] + pred[:, None]) @ w + b

  def test_every_chunk_size_equals_the_loss_of_full_logits(self):
    inputs = self._JointInputs(3, 7, 4, 6, dtype=np.float64)
    labels = np.random.RandomState(1).randint(1, 6, [3, 4])
    sizes = [7, 4, 1], [3, 4, 0]
    logits = self._Logits(inputs)
    loss, by_logits = self._Full(logits, labels, *sizes)
    hidden = np.tanh(inputs[0][:, :, None] + inputs[1][:, None])
    by_sum = by_logits @ inputs[2].T * (1 - hidden**2)
    expected = [
      loss,
      by_sum.sum(2),
      by_sum.sum(1),
      np.einsum('btuj,btuv->jv', hidden, by_logits),
      by_logits.sum(axis=(0, 1, 2)),
    ]
    for chunk_frames in (None, 1, 2, 3, 4, 7, 9):
      for xla in (False, True) if chunk_frames in (None, 3) else (False,):
        with self.subTest(chunk_frames=chunk_frames, xla=xla), self.NewGraph():
          values = self._Joint(inputs, labels, *sizes, chunk_frames=chunk_frames, xla=xla)
          for value, wanted in zip(values, expected):
            np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-12)

  def test_dynamic_shapes_equal_static_ones(self):
    inputs = self._JointInputs(2, 6, 3, 5)
    labels = np.random.RandomState(1).randint(1, 5, [2, 3]).astype(np.int32)
    sizes = np.int32([6, 4]), np.int32([3, 1])
    expected = self._Joint(inputs, labels, *sizes)
    for chunk_floats in (1, 2 * 4 * 10 * 2, 10**6):
      with self.subTest(chunk_floats), self.NewGraph():
        holders = [tf.placeholder(x.dtype, [None] * x.ndim) for x in (*inputs, labels, *sizes)]
        original = transducer_chunks._CHUNK_FLOATS
        transducer_chunks._CHUNK_FLOATS = chunk_floats
        try:
          loss = transducer_loss.JointLoss(*holders)
        finally:
          transducer_chunks._CHUNK_FLOATS = original
        fetched = [loss] + tf.gradients(loss, holders[:4])
        with tf.Session() as session:
          values = session.run(fetched, dict(zip(holders, (*inputs, labels, *sizes))))
        for value, wanted in zip(values, expected):
          np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)

  def test_factorizations_and_smoothing_equal_the_sum_over_all_alignments(self):
    inputs = self._JointInputs(1, 3, 2, 4, depth=3)
    labels = [[3, 1]]
    for factorization, smoothing, blank_id, xla in (
      ('hat', 0.0, 0, False),
      ('hat', 0.0, 2, True),
      ('rnnt', 0.2, 0, False),
      ('hat', 0.2, 0, False),
      ('rnnt', 0.1, 2, True),
    ):
      with self.subTest(factorization, eps=smoothing, xla=xla), self.NewGraph():
        loss, *gradients = self._Joint(
          inputs,
          labels,
          [3],
          [2],
          factorization=factorization,
          blank_id=blank_id,
          label_smoothing=smoothing,
          chunk_frames=2,
          xla=xla,
        )

        def _Loss(i, x):
          logits = self._Logits([x if i == k else np.float64(y) for k, y in enumerate(inputs)])
          return _BruteForce(_LogProbs(logits[0], factorization, blank_id), labels[0], blank_id, smoothing)

        np.testing.assert_allclose(loss[0], _Loss(0, inputs[0]), rtol=1e-5)
        for i, gradient in enumerate(gradients):
          expected = _NumericGradient(lambda x, i=i: _Loss(i, x), inputs[i])
          np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())

  def test_padding_neither_counts_nor_leaks(self):
    inputs = self._JointInputs(2, 5, 3, 4)
    labels = np.array([[1, 2, 3], [2, -7, -7]])
    expected = self._Joint(inputs, np.maximum(labels, 0), [5, 2], [3, 1])
    inputs[0][1, 2:] = np.nan
    inputs[1][1, 2:] = np.nan
    for factorization, xla in (('rnnt', False), ('rnnt', True), ('hat', False)):
      with self.subTest(factorization, xla=xla), self.NewGraph():
        values = self._Joint(inputs, labels, [5, 2], [3, 1], chunk_frames=2, xla=xla, factorization=factorization)
        for value in values:
          self.assertTrue(np.isfinite(value).all())
        np.testing.assert_array_equal(values[1][1, 2:], 0)
        np.testing.assert_array_equal(values[2][1, 2:], 0)
        if factorization == 'rnnt':
          for value, wanted in zip(values, expected):
            np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)

  def test_hard_logits_keep_finite_gradients(self):
    inputs = self._JointInputs(2, 4, 6, 5)
    inputs[3] = np.float32([200, -200, 100, -300, 0])
    for factorization in transducer_loss.FACTORIZATIONS:
      with self.NewGraph():
        for value in self._Joint(inputs, np.ones([2, 6]), [4, 1], [6, 6], factorization=factorization):
          self.assertTrue(np.isfinite(value).all())

  def test_low_precision_is_computed_in_float32(self):
    inputs = [x.astype(np.float16) for x in self._JointInputs(1, 4, 2, 5)]
    values = self._Joint(inputs, [[1, 2]], [4], [2])
    self.assertEqual(values[0].dtype, np.float32)
    self.assertEqual(values[1].dtype, np.float16)
    with self.NewGraph():
      exact = self._Joint([x.astype(np.float32) for x in inputs], [[1, 2]], [4], [2])
    np.testing.assert_array_equal(values[0], exact[0])

  def test_bfloat16_products_stay_near_float32(self):
    inputs = self._JointInputs(2, 9, 4, 6, depth=16)
    labels, sizes = np.ones([2, 4]), ([9, 6], [4, 2])
    exact = self._Joint(inputs, labels, *sizes)
    for chunk_frames in (None, 4):
      with self.subTest(chunk_frames=chunk_frames), self.NewGraph():
        values = self._Joint(inputs, labels, *sizes, chunk_frames=chunk_frames, product_dtype=tf.bfloat16)
        for value, wanted in zip(values, exact):
          self.assertEqual(value.dtype, np.float32)
          np.testing.assert_allclose(value, wanted, rtol=0.02, atol=0.02 * np.abs(wanted).max())

  def test_no_tensor_of_the_graph_holds_all_logits(self):
    batch, frames, labels, vocab, depth, chunk = 2, 40, 9, 50, 30, 5
    nodes = batch * (labels + 1)
    for chunk_frames, all_logits in ((chunk, False), (frames, True)):
      with self.subTest(chunk_frames), self.NewGraph():
        inputs = [tf.constant(x) for x in self._JointInputs(batch, frames, labels, vocab, depth)]
        loss = transducer_loss.JointLoss(
          *inputs,
          tf.ones([batch, labels], tf.int32),
          tf.fill([batch], frames),
          tf.fill([batch], labels),
          chunk_frames=chunk_frames,
        )
        tf.gradients(loss, inputs)
        graph = tf.get_default_graph()
        graphs = [graph] + [
          graph._get_function(name).graph for name in (f.signature.name for f in graph.as_graph_def().library.function)
        ]
        sizes = [out.shape.num_elements() or 0 for g in graphs for op in g.get_operations() for out in op.outputs]
        # Scores of both recursions, [2, D, 2 B, U + 1], are all that grows with T.
        bound = max(nodes * chunk * max(vocab, depth), 2 * 2 * nodes * (frames + labels + transducer_lattice._STRIDE))
        self.assertLess(bound, nodes * frames * min(vocab, depth))
        self.assertEqual(max(sizes) > bound, all_logits)

  def test_a_single_chunk_is_computed_once(self):
    for chunk_frames, products in ((8, 1), (4, 3)):
      with self.subTest(chunk_frames), self.NewGraph():
        inputs = [tf.constant(x) for x in self._JointInputs(2, 8, 3, 6)]
        loss = transducer_loss.JointLoss(
          *inputs, tf.ones([2, 3], tf.int32), tf.fill([2], 8), tf.fill([2], 3), chunk_frames=chunk_frames
        )
        tf.gradients(loss, inputs)
        graph = tf.get_default_graph().as_graph_def()
        names = [node.op for node in graph.node] + [node.op for f in graph.library.function for node in f.node_def]
        self.assertEqual(names.count('Tanh'), products)

  def test_errors_name_option_value_and_range(self):
    inputs = self._JointInputs(1, 2, 1, 3)
    for options, expected in (
      ({'factorization': 'ctc'}, "factorization = 'ctc': expected one of rnnt, hat"),
      ({'label_smoothing': 1.0}, r'label_smoothing = 1.0: expected .* in \[0, 1\)'),
      ({'fastemit_lambda': -0.1}, 'fastemit_lambda = -0.1: expected >= 0'),
      ({'chunk_frames': 0}, 'chunk_frames = 0: expected >= 1'),
    ):
      with self.subTest(options), self.assertRaisesRegex(errors.ConfigError, expected):
        self._Joint(inputs, [[1]], [2], [1], **options)


if __name__ == '__main__':
  absltest.main()
