"""Properties of the BEST-RQ head and of the statistics of its codes."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.heads import best_rq_head
from fm_lingvo.run_files import codebook_stats
from tests import graph_case


class BestRqHeadTest(graph_case.GraphCase):
  def _Head(self, num_codebooks=1, mask_start_prob=0.05, **overrides):
    p = best_rq_head.BestRqHead.Params().Set(input_dim=16, num_bins=80, downsample_factor=4)
    p.quantizer.Set(codebook_size=32, num_codebooks=num_codebooks)
    p.masker.Set(mask_start_prob=mask_start_prob, mask_span_ms=100.0)
    return self.Layer(p, **overrides)

  def _Run(self, head, length=(200, 120), encoded=None):
    """(metrics, tensors) of random features; encoded frames are random."""
    rng = np.random.RandomState(0)
    paddings = (np.arange(200)[None] >= np.asarray(length)[:, None]).astype(np.float32)
    features = rng.randn(2, 200, 80).astype(np.float32) * (1 - paddings[..., None])
    corrupted = head.Corrupt(head.theta, tf.constant(features), tf.constant(paddings))
    if encoded is None:
      encoded = tf.constant(rng.randn(2, 50, 16).astype(np.float32))
    out_paddings = tf.constant(paddings[:, 3::4])
    metrics, tensors = head.Loss(head.theta, encoded, out_paddings, corrupted, None)
    return metrics, tensors, corrupted

  def test_loss_equals_numpy_on_fully_masked_frames(self):
    head = self._Head(num_codebooks=2)
    metrics, _, corrupted = self._Run(head)
    rng = np.random.RandomState(0)
    rng.randn(2, 200, 80)
    encoded = rng.randn(2, 50, 16).astype(np.float32)
    got, weight, mask, codes, w, b = self.Eval(
      *metrics['loss'], corrupted.mask, corrupted.codes, head.vars.w, head.vars.b
    )
    used = mask.reshape(2, 50, 4).min(axis=2)
    used[1, 30:] = 0
    expected = []
    for g in range(2):
      logits = encoded @ w[g] + b[g]
      logits -= logits.max(axis=-1, keepdims=True)
      log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
      nll = -np.take_along_axis(log_probs, codes[:, :, g : g + 1], 2)[..., 0]
      expected.append((nll * used).sum() / used.sum())
    self.assertGreater(used.sum(), 0)
    self.assertEqual(weight, used.sum())
    self.assertAlmostEqual(got, np.mean(expected), places=4)

  def test_labels_are_those_of_the_clean_features(self):
    a = self._Run(self._Head(mask_start_prob=0.0))[2].codes
    a = self.Eval(a)
    with self.NewGraph():
      b = self.Eval(self._Run(self._Head(mask_start_prob=0.5))[2].codes)
    np.testing.assert_array_equal(a, b)

  def test_nothing_masked_is_loss_0_with_weight_0_and_no_gradient(self):
    head = self._Head(mask_start_prob=0.0, kl_weight=0.1)
    metrics, _, _ = self._Run(head)
    loss, weight = self.Eval(*metrics['loss'])
    self.assertEqual((loss, weight), (0.0, 0.0))
    gradient = self.Eval(tf.gradients(metrics['loss'][0], head.vars.w)[0])
    np.testing.assert_array_equal(gradient, 0)

  def test_gradient_comes_from_masked_unpadded_frames_only(self):
    head = self._Head()
    encoded = tf.constant(np.random.RandomState(1).randn(2, 50, 16), tf.float32)
    metrics, _, corrupted = self._Run(head, encoded=encoded)
    gradient, mask = self.Eval(tf.gradients(metrics['loss'][0], encoded)[0], corrupted.mask)
    used = mask.reshape(2, 50, 4).min(axis=2) > 0
    self.assertTrue(used.any())
    np.testing.assert_array_equal(np.abs(gradient).sum(axis=2) > 0, used)

  def test_several_codebooks_have_metrics_each_and_their_mean(self):
    metrics, tensors, _ = self._Run(self._Head(num_codebooks=16))
    values = self.Eval({k: v[0] for k, v in metrics.items()})
    for name in ('cross_entropy', 'masked_accuracy'):
      self.assertAlmostEqual(values[name], np.mean([values[f'{name}_{g}'] for g in range(16)]), places=4)
    self.assertEqual(tensors['code_counts'].shape, [1, 16, 32])

  def test_counts_leave_padding_out(self):
    _, tensors, corrupted = self._Run(self._Head())
    counts, masked, mask = self.Eval(tensors['code_counts'], tensors['masked_code_counts'], corrupted.mask)
    self.assertEqual(counts.sum(), 50 + 30)
    self.assertEqual(masked.sum(), (mask.reshape(2, 50, 4).min(axis=2) > 0).sum())

  def test_kl_is_0_for_uniform_and_log_v_for_one_code(self):
    head = self._Head(kl_weight=1.0)
    weights = tf.ones([1, 4])
    uniform = head._KlToUniform(tf.fill([1, 4, 32], np.float32(-np.log(32.0))), weights, 4.0)
    one = head._KlToUniform(tf.math.log(tf.one_hot([[5] * 4], 32) + 1e-30), weights, 4.0)
    uniform, one = self.Eval(uniform, one)
    self.assertAlmostEqual(uniform, 0.0, places=4)
    self.assertAlmostEqual(one, np.log(32), places=4)

  def test_a_frame_without_a_mask_never_enters_the_loss(self):
    head = self._Head(min_coverage=1e-5)
    mask = np.zeros([1, 8], np.float32)
    mask[0, 5] = 1.0
    weights = head._LossWeights(tf.constant(mask), tf.zeros([1, 2]))
    self.assertEqual(self.Eval(weights).tolist(), [[0.0, 1.0]])

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('min_coverage', 0.0, r'min_coverage = 0.0: expected a share in \(0, 1\]'),
      ('kl_weight', -1.0, 'kl_weight = -1.0: expected >= 0'),
    ):
      with self.subTest(field), self.assertRaisesRegex(ValueError, expected):
        self._Head(**{field: value})
    p = best_rq_head.BestRqHead.Params()
    p.quantizer.stack = 2
    with self.assertRaisesRegex(ValueError, "head.quantizer.stack = 2: expected None or 4, the encoder's downsample_"):
      p.Set(name='head', input_dim=12, downsample_factor=4).Instantiate()

  def test_a_code_is_of_the_frames_of_an_encoded_frame(self):
    for factor in (4, 8):
      with self.subTest(factor), self.NewGraph():
        head = self._Head(downsample_factor=factor)
        corrupted = head.Corrupt(head.theta, tf.zeros([2, 48, 80]), tf.zeros([2, 48]))
        self.assertEqual(corrupted.codes.shape[1], 48 // factor)
        self.assertEqual(head._LossWeights(corrupted.mask, tf.zeros([2, 48 // factor])).shape[1], 48 // factor)


class CodeStatsTest(absltest.TestCase):
  def test_uniform_and_single_codes(self):
    counts = np.array([[[5, 5, 5, 5], [9, 0, 0, 0]]])
    stats = codebook_stats.CodeStats(counts, counts)
    self.assertAlmostEqual(stats['code_perplexity_0'], 4.0)
    self.assertAlmostEqual(stats['code_perplexity_1'], 1.0)
    self.assertAlmostEqual(stats['code_coverage_0'], 1.0)
    self.assertAlmostEqual(stats['code_coverage_1'], 0.25)
    self.assertAlmostEqual(stats['unigram_entropy_0'], np.log(4))
    self.assertAlmostEqual(stats['majority_accuracy_0'], 0.25)
    self.assertAlmostEqual(stats['majority_accuracy'], 0.625)

  def test_replicas_are_summed_not_averaged(self):
    # Each replica sees one code only; together they see two, equally often.
    stats = codebook_stats.CodeStats([[[4, 0]], [[0, 4]]], [[[4, 0]], [[0, 4]]])
    self.assertAlmostEqual(stats['code_perplexity'], 2.0)
    self.assertAlmostEqual(stats['majority_accuracy'], 0.5)

  def test_no_frames_is_finite(self):
    stats = codebook_stats.CodeStats(np.zeros([1, 1, 4]), np.zeros([1, 1, 4]))
    self.assertEqual(stats['unigram_entropy'], 0.0)
    self.assertEqual(stats['majority_accuracy'], 0.0)


if __name__ == '__main__':
  absltest.main()
