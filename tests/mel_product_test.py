"""Log-mel frames by a convolution beside NumPy's FFT in float64 and Lingvo's layer; builds graphs, for their values."""

from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.layers import frontend
from fm_lingvo.layers import mel_product
from tests import graph_case


def _Quiet(seconds=1.0):
  """Tones of very different level, with a silent end: some bins are 80 dB below others; [S] in [-1, 1)."""
  times = np.arange(int(16000 * seconds)) / 16000
  wave = 0.7 * np.sin(2 * np.pi * 440 * times) + 1e-4 * np.sin(2 * np.pi * 3000 * times)
  return (wave * (times < 0.8 * seconds) + 1e-3 * np.random.RandomState(0).randn(times.size)).astype(np.float32)


def _Reference(wave, size, weights):
  """NumPy's log-mel frames of the samples [S]: [T, F]."""
  frames = np.lib.stride_tricks.sliding_window_view(32768.0 * wave.astype(np.float64), size + 1)[::160]
  emphasised = frames[:, 1:] - 0.97 * frames[:, :-1]
  window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - size % 2))
  return np.log(np.maximum(1.0, np.abs(np.fft.rfft(emphasised * window, 512)) @ weights))


class MelProductTest(graph_case.GraphCase):
  def _Frontend(self, **mel):
    p = frontend.LogMelFrontend.Params().Set(normalization='none')
    p.mel.Set(**mel)
    return self.Layer(p)

  def test_frames_are_those_of_numpy_and_of_lingvo(self):
    wave = _Quiet()
    for mel in ({}, {'frame_size_ms': 10.0}, {'frame_size_ms': 20.0625, 'num_bins': 40},
                {'frame_size_ms': 31.0, 'lower_edge_hertz': 20.0, 'upper_edge_hertz': 8000.0}):  # fmt: skip
      with self.subTest(**mel), self.NewGraph():
        layer = self._Frontend(**mel)
        self.assertTrue(mel_product.Suits(layer.mel))
        ours = layer.StreamStep(layer.theta, tf.constant(wave[np.newaxis, : 90 * 160 + layer.overlap_samples]))
        scaled = 32768.0 * tf.constant(wave[np.newaxis])
        theirs = layer.mel.FProp(layer.mel.theta, py_utils.NestedMap(src_inputs=scaled, paddings=scaled)).src_inputs
        p = layer.params.mel
        weights = tf.signal.linear_to_mel_weight_matrix(
          p.num_bins, 257, p.sample_rate, p.lower_edge_hertz, p.upper_edge_hertz, tf.float64
        )
        ours, theirs, weights = self.Eval(ours, theirs, weights)
        self.assertEqual(ours.shape, (1, 90, p.num_bins))
        expected = _Reference(wave, layer.mel.window_frame_size - 1, weights)[:90]
        np.testing.assert_allclose(ours[0], expected, atol=1e-3)
        np.testing.assert_allclose(theirs[0, :90, :, 0], expected, atol=2e-3)

  def test_a_band_without_a_frequency_is_at_the_floor(self):
    layer = self._Frontend(lower_edge_hertz=1001.0, upper_edge_hertz=1002.0)
    features = self.Eval(layer.StreamStep(layer.theta, tf.constant(_Quiet()[np.newaxis, : 1600 + 241])))
    np.testing.assert_array_equal(features, np.zeros([1, 10, 80]))

  def test_longer_windows_and_other_devices_are_left_to_lingvo(self):
    long = self._Frontend(frame_size_ms=40.0)
    self.assertFalse(mel_product.Suits(long.mel))
    features = long.StreamStep(long.theta, tf.constant(_Quiet()[np.newaxis, : 1600 + long.overlap_samples]))
    self.assertEqual(self.Eval(features).shape, (1, 10, 80))
    with self.NewGraph():
      mel = self._Frontend().mel
    self.assertTrue(mel_product.Suits(mel))
    with mock.patch.object(tf.config, 'list_physical_devices', lambda kind: [kind]):
      self.assertFalse(mel_product.Suits(mel))


if __name__ == '__main__':
  absltest.main()
