"""Properties of the random-projection quantizer."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.layers import quantizer
from tests import graph_case


def _NumpyCodes(features, projection, codebook):
  """Reference: nearest codeword by explicit distance on unit vectors, float64.

  features [T, F], projection [H, K], codebook [V, K] -> codes [T / 4].
  """
  codes = []
  for t in range(0, len(features), 4):
    x = features[t : t + 4].reshape(-1).astype(np.float64) @ projection
    x /= np.linalg.norm(x)
    unit = codebook / np.linalg.norm(codebook, axis=1, keepdims=True)
    codes.append(np.argmin(np.linalg.norm(unit - x, axis=1)))
  return np.array(codes)


class RandomProjectionQuantizerTest(graph_case.GraphCase):
  def _Quantizer(self, **overrides):
    return self.Layer(quantizer.RandomProjectionQuantizer.Params(), **{'codebook_size': 256, 'stack': 4, **overrides})

  def _Codes(self, layer, features, lengths):
    paddings = (np.arange(features.shape[1])[None] >= np.asarray(lengths)[:, None]).astype(np.float32)
    codes, pads = layer.FProp(layer.theta, tf.constant(features), tf.constant(paddings))
    return self.Eval(codes, pads)

  def _Features(self, *shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)

  def test_labels_equal_a_numpy_reference(self):
    for num_codebooks in (1, 3):
      with self.subTest(num_codebooks), self.NewGraph():
        layer = self._Quantizer(num_codebooks=num_codebooks, seed=7)
        features = self._Features(2, 400, 80)
        codes, _ = self._Codes(layer, features, [400, 400])
        projection, codebook = self.Eval(layer.vars.projection, layer.vars.codebook)
        for b in range(2):
          for g in range(num_codebooks):
            np.testing.assert_array_equal(
              codes[b, :, g], _NumpyCodes(features[b], projection[g].astype(np.float64), codebook[g].astype(np.float64))
            )

  def test_labels_do_not_depend_on_padding_or_batch(self):
    layer = self._Quantizer(num_codebooks=2)
    features = self._Features(3, 200, 80)
    alone, _ = self._Codes(layer, features[1:2, :120], [120])
    padded = np.concatenate([features, np.zeros([3, 200, 80], np.float32)], 1)
    together, pads = self._Codes(layer, padded, [200, 120, 0])
    np.testing.assert_array_equal(together[1, :30], alone[0])
    np.testing.assert_array_equal(pads.sum(axis=1), [50, 70, 100])

  def test_a_stack_with_any_padded_frame_is_padding(self):
    layer = self._Quantizer()
    codes, pads = self._Codes(layer, self._Features(1, 16, 80), [14])
    np.testing.assert_array_equal(pads, [[0, 0, 0, 1]])
    self.assertEqual(codes[0, 3, 0], 0)

  def test_codebook_is_l2_normalised_and_projection_within_xavier_bounds(self):
    layer = self._Quantizer(num_codebooks=4)
    projection, codebook = self.Eval(layer.vars.projection, layer.vars.codebook)
    np.testing.assert_allclose(np.linalg.norm(codebook, axis=-1), 1, rtol=1e-5)
    limit = np.sqrt(6 / (320 + 16))
    self.assertLess(np.abs(projection).max(), limit)
    self.assertAlmostEqual(projection.std(), limit / np.sqrt(3), delta=0.01)
    self.assertGreater(np.abs(projection[0] - projection[1]).max(), 0.1)

  def test_nothing_is_trainable_and_no_gradient_flows(self):
    layer = self._Quantizer()
    self.assertEmpty(tf.trainable_variables())
    features = tf.constant(self._Features(1, 16, 80))
    codes, _ = layer.FProp(layer.theta, features, tf.zeros([1, 16]))
    self.assertEqual(tf.gradients(tf.cast(codes, tf.float32), features), [None])

  def test_usm_size_has_no_temporary_of_all_codewords(self):
    layer = self._Quantizer(num_codebooks=16, codebook_size=8192)
    before = len(tf.get_default_graph().get_operations())
    layer.FProp(layer.theta, tf.zeros([2, 400, 80]), tf.zeros([2, 400]))
    operations = tf.get_default_graph().get_operations()[before:]
    largest = max(out.shape.num_elements() or 0 for op in operations for out in op.outputs)
    # Scores of one codebook, or the codebooks themselves; not [B, N, V, K].
    self.assertLessEqual(largest, max(2 * 100 * 8192, 16 * 8192 * 16))

  def test_pca_projects_on_leading_whitened_components(self):
    rng = np.random.RandomState(0)
    basis = np.linalg.qr(rng.randn(10, 10))[0]
    scales = np.array([9, 5, 3] + [0.1] * 7)
    frames = rng.randn(20000, 10) * scales @ basis.T + 4.0
    mean, projection = quantizer.FitPca([frames[:9000], frames[9000:]], 3)
    out = (frames - mean) @ projection
    np.testing.assert_allclose(np.cov(out.T), np.eye(3), atol=0.02)
    # Orthogonal to the seven directions of little variance.
    np.testing.assert_allclose(basis[:, 3:].T @ projection, 0, atol=0.02)

  def test_pca_on_too_few_frames_says_so(self):
    with self.assertRaisesRegex(ValueError, '3 frames to fit on, expected more'):
      quantizer.FitPca([np.zeros([3, 10])], 8)

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('num_codebooks', 0, 'num_codebooks = 0: expected >= 1'),
      ('codebook_size', 1, 'codebook_size = 1: expected >= 2'),
      ('projection', 'svd', "projection = 'svd': expected one of xavier, pca"),
    ):
      with self.subTest(field), self.assertRaisesRegex(ValueError, expected):
        self._Quantizer(**{field: value})


if __name__ == '__main__':
  absltest.main()
