"""Properties of the log-mel front end."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.layers import frontend
from tests import graph_case


def _Speech(seconds, seed=0):
  """Noise of slowly changing level, [S] in [-1, 1)."""
  rng = np.random.RandomState(seed)
  n = int(16000 * seconds)
  level = 0.05 + 0.2 * np.abs(np.sin(np.arange(n) / 3000.0))
  return (rng.randn(n) * level).clip(-1, 0.99).astype(np.float32)


class LogMelFrontendTest(graph_case.GraphCase):
  def _Features(self, waveforms, num_samples, **overrides):
    layer = self.Layer(frontend.LogMelFrontend.Params(), **overrides)
    out = layer.FProp(layer.theta, tf.constant(waveforms), tf.constant(num_samples, tf.int32))
    return self.Eval(out.features, out.paddings)

  def test_a_frame_each_10_ms_and_a_whole_window_in_each(self):
    features, paddings = self._Features(_Speech(1.0)[None], [16000])
    self.assertEqual(features.shape, (1, 100, 80))
    # The last frames' 25 ms windows would reach past the utterance.
    self.assertEqual((1 - paddings).sum(), 1 + (16000 - 401) // 160)

  def test_every_bin_has_mean_0_and_deviation_1_over_unpadded_frames(self):
    wave = np.zeros([2, 32000], np.float32)
    wave[0], wave[1, :16000] = _Speech(2.0), _Speech(1.0, seed=1)
    features, paddings = self._Features(wave, [32000, 16000])
    for b in range(2):
      valid = features[b][paddings[b] == 0]
      np.testing.assert_allclose(valid.mean(axis=0), 0, atol=1e-4)
      np.testing.assert_allclose(valid.std(axis=0), 1, atol=1e-2)
      np.testing.assert_array_equal(features[b][paddings[b] == 1], 0)

  def test_features_do_not_depend_on_padding_or_batch(self):
    short = _Speech(1.0)
    alone, _ = self._Features(short[None], [16000])
    wave = np.zeros([3, 64000], np.float32)
    wave[0], wave[1, :16000], wave[2] = _Speech(4.0, 1), short, _Speech(4.0, 2)
    with self.NewGraph():
      together, _ = self._Features(wave, [64000, 16000, 64000])
    np.testing.assert_allclose(together[1, :100], alone[0], atol=1e-4)

  def test_an_empty_utterance_is_all_padding_and_finite(self):
    features, paddings = self._Features(np.zeros([1, 640], np.float32), [0])
    np.testing.assert_array_equal(features, 0)
    np.testing.assert_array_equal(paddings, 1)

  def test_louder_speech_gives_the_same_features(self):
    wave = _Speech(1.0)
    # Above the floor of the filter bank, a gain is a shift of the log.
    a, _ = self._Features(wave[None], [16000])
    with self.NewGraph():
      b, _ = self._Features(wave[None] * 0.5, [16000])
    np.testing.assert_allclose(a, b, atol=0.02)

  def test_record_of_another_front_end_is_refused_by_name(self):
    layer = self.Layer(frontend.LogMelFrontend.Params())
    record = self.Eval(layer.vars.record)
    layer.CheckRecord(record, 'ckpt-1')
    other = record.copy()
    other[0] = frontend.NORMALIZATIONS.index('global')
    with self.assertRaisesRegex(
      ValueError, 'ckpt-1: made with frontend normalization = global, but this run has per_utterance'
    ):
      layer.CheckRecord(other, 'ckpt-1')
    other = record.copy()
    other[1] = 40
    with self.assertRaisesRegex(ValueError, 'num_bins = 40.0, but this run has 80'):
      layer.CheckRecord(other, 'ckpt-1')

  def test_global_statistics_are_variables_that_features_are_normalised_by(self):
    wave = _Speech(1.0)[None]
    plain, paddings = self._Features(wave, [16000], normalization='none')
    with self.NewGraph():
      layer = self.Layer(frontend.LogMelFrontend.Params(), normalization='global')
      out = layer.FProp(layer.theta, tf.constant(wave), tf.constant([16000]))
      np.testing.assert_array_equal(self.Eval(out.features), plain)
      layer.vars.mean.load(np.arange(80.0), self._session)
      layer.vars.stddev.load(np.full([80], 2.0), self._session)
      features = self.Eval(out.features)
    expected = (plain - np.arange(80.0)) / 2.0 * (1.0 - paddings[:, :, np.newaxis])
    np.testing.assert_allclose(features, expected, atol=1e-5)

  def test_what_labels_must_not_depend_on_is_refused(self):
    for changes, message in (
      ({'noise_scale': 8.0}, 'noise_scale = 8.0: expected 0.0; since labels of BEST-RQ'),
      ({'pad_end': True}, 'mel.pad_end = True: expected False; no checkpoint records it'),
      ({'frame_stride': 2}, 'mel.frame_stride = 2: expected 1; '),
      ({'preemph': 0.0}, 'mel.preemph = 0.0: expected 0.97; '),
      ({'per_bin_mean': [1.0]}, r"per_bin_mean = \[1.0\]: expected None; normalization = 'global'"),
    ):
      p = frontend.LogMelFrontend.Params()
      p.mel.Set(**changes)
      with self.assertRaisesRegex(ValueError, message):
        self.Layer(p)

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('variance_floor', 0.0, 'variance_floor = 0.0: expected > 0'),
      ('mel.frame_size_ms', 5.0, 'mel.frame_size_ms = 5.0: expected >= 10.0, its frame_step_ms'),
      ('mel.num_bins', 0, 'mel.num_bins = 0: expected >= 1'),
      ('mel.sample_rate', 8000.0, 'mel.sample_rate = 8000.0: expected 16000, '),
    ):
      p = frontend.LogMelFrontend.Params()
      p.Set(**{field: value})
      with self.subTest(field), self.assertRaisesRegex(ValueError, expected):
        self.Layer(p)


if __name__ == '__main__':
  absltest.main()
