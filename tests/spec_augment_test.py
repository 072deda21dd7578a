"""Properties of SpecAugment: what is hidden, where, and that it can be repeated."""

import numpy as np

from fm_lingvo.layers import conformer_encoder
from fm_lingvo.layers import spec_augment
from tests import graph_case
from tests.graph_case import absltest
from tests.graph_case import tf


def _Params(**values):
  return spec_augment.SpecAugment.Params().Set(name='layer', random_seed=3, **values)


class SpecAugmentTest(graph_case.GraphCase):
  def _Masks(self, lengths, frames=200, bins=80, rows=None, step=0, **values):
    """Hidden positions [B, T, F] of features of ones; masks are zeros."""
    lengths = np.asarray(lengths if rows is None else [lengths] * rows)
    paddings = (np.arange(frames) >= lengths[:, None]).astype(np.float32)
    features = np.ones([len(lengths), frames, bins], np.float32)
    features *= 1 - paddings[..., None]
    with self.NewGraph():
      layer = _Params(noise_stddev=0.0, **values).Instantiate()
      out = layer.FProp(layer.theta, tf.constant(features), tf.constant(paddings))
      set_step = tf.assign(graph_case.py_utils.GetGlobalStep(), step)
      self.Eval(set_step)
      masked = self.Eval(out)
    self.assertTrue(np.isin(masked, (0, 1)).all())
    return features - masked

  def test_masks_are_whole_bands_and_spans_of_the_widths_allowed(self):
    hidden = self._Masks(150, rows=300, freq_mask_count=1, time_mask_count=1)
    bands = hidden[:, :150].min(axis=1)  # [B, F]
    spans = hidden.min(axis=2)  # [B, T]
    np.testing.assert_array_equal(hidden[:, :150], np.maximum(bands[:, None], spans[:, :150, None]))
    for masks, widest in ((bands, 15), (spans, 25)):
      edges = np.abs(np.diff(np.pad(masks, [[0, 0], [1, 1]]))).sum(axis=1)
      self.assertLessEqual(edges.max(), 2)
      widths = masks.sum(axis=1)
      self.assertEqual(widths.max(), widest)
      self.assertAlmostEqual(widths.mean(), widest / 2, delta=1.5)
    self.assertFalse(spans[:, 150:].any())

  def test_spans_of_a_short_utterance_are_a_share_of_it(self):
    spans = self._Masks(20, rows=200, freq_mask_count=0, time_mask_count=1)
    self.assertEqual(spans.min(axis=2).sum(axis=1).max(), 4)

  def test_time_and_frequency_masks_are_drawn_on_their_own(self):
    hidden = self._Masks(200, rows=500, freq_mask_count=1, time_mask_count=1)
    bands, spans = hidden.min(axis=1), hidden.min(axis=2)
    both = (bands.sum(axis=1) > 0) & (spans.sum(axis=1) > 0)

    def _Centre(masks):
      return (masks * np.arange(masks.shape[1])).sum(axis=1) / masks.sum(axis=1)

    a, b = _Centre(bands[both]), _Centre(spans[both])
    self.assertLess(abs(np.corrcoef(a, b)[0, 1]), 0.15)
    self.assertLess(abs(np.corrcoef(bands[both].sum(axis=1), a)[0, 1]), 0.2)
    self.assertGreater(a.std(), 15)
    self.assertGreater(b.std(), 40)

  def test_a_step_s_masks_can_be_repeated_and_other_steps_have_others(self):
    first, again, other = (self._Masks([200, 100], step=step) for step in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    self.assertFalse(np.array_equal(first, other))

  def test_masks_begin_at_start_step(self):
    for step, masked in ((0, False), (4, False), (5, True), (6, True)):
      self.assertEqual(self._Masks([200, 100], step=step, start_step=5).any(), masked, step)
    np.testing.assert_array_equal(self._Masks([200], step=6, start_step=5), self._Masks([200], step=6))

  def test_padding_changes_no_mask(self):
    a = self._Masks([120, 60], frames=120)
    b = self._Masks([120, 60], frames=180)
    np.testing.assert_array_equal(a, b[:, :120])

  def test_no_masks_no_change_and_empty_utterances_are_harmless(self):
    self.assertFalse(self._Masks([100, 0], freq_mask_count=0, time_mask_count=0).any())
    self.assertFalse(self._Masks([0, 0]).any())

  def test_masks_are_noise_that_is_drawn_anew_and_spares_padding(self):
    paddings = np.zeros([2, 200], np.float32)
    paddings[1, 150:] = 1
    features = 5 * (1 - paddings[..., None] * np.ones([2, 200, 80], np.float32))
    layer = _Params(noise_stddev=0.3).Instantiate()
    masked = [self.Eval(layer.FProp(layer.theta, tf.constant(features), tf.constant(paddings))) for _ in range(2)]
    self.assertFalse(masked[0][1, 150:].any())
    noise = [out[(out != 5) & (out != 0)] for out in masked]
    self.assertGreater(noise[0].size, 1000)
    self.assertAlmostEqual(noise[0].mean(), 0.0, delta=0.05)
    self.assertAlmostEqual(noise[0].std(), 0.3, delta=0.05)
    self.assertEmpty(np.intersect1d(*noise))

  def test_before_training_masks_do_not_swell_an_encoder_s_gradients(self):
    rng = np.random.RandomState(0)
    spectra = rng.randn(4, 200, 80).astype(np.float32)
    masks = dict(freq_mask_count=0, time_mask_count=2, time_mask_max_ratio=0.5)
    norms = {}
    for kind in ('conv', 'stack'):
      with self.NewGraph():
        enc_p = conformer_encoder.ConformerEncoder.Params().Set(
          name='enc', model_dim=16, num_layers=1, num_heads=2, kernel_size=5
        )
        enc_p.num_bins = 80
        enc_p.subsampling.kind = kind
        enc = enc_p.Instantiate()
        layer = _Params(**masks).Instantiate()
        features, paddings = tf.constant(spectra), tf.zeros([4, 200])
        target = tf.constant(rng.randn(4, 50, 16).astype(np.float32))
        gradients = {}
        for name, x in (('plain', features), ('masked', layer.FProp(layer.theta, features, paddings))):
          out, _ = enc.FProp(enc.theta, x, paddings)
          gradients[name] = tf.linalg.global_norm(tf.gradients(tf.reduce_sum(out * target), enc.vars.Flatten()))
        norms[kind] = self.Eval(gradients)
      self.assertLess(norms[kind]['masked'], 3 * norms[kind]['plain'], kind)

  def test_unusable_params_are_one_line(self):
    for values, message in (
      (dict(freq_mask_count=-1), 'layer.freq_mask_count = -1: expected >= 0'),
      (dict(start_step=-1), 'layer.start_step = -1: expected >= 0'),
      (dict(noise_stddev=-0.1), 'layer.noise_stddev = -0.1: expected >= 0'),
      (dict(time_mask_max_ratio=2.0), 'max_ratio = 2.0: expected a share'),
    ):
      with self.assertRaisesRegex(ValueError, message):
        _Params(**values).Instantiate()


if __name__ == '__main__':
  absltest.main()
