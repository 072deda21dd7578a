"""Augmentation of waveforms: each effect does what its params say, and nothing else."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.data import speed_perturb
from fm_lingvo.data import waveform_augment
from tests import graph_case

RATE = 16000
OFF = dict(speed_range=None, reverb_prob=0.0, noise_prob=0.0, eq_prob=0.0, telephone_prob=0.0, gain_db_range=None)


def _Tone(hertz, samples, amplitude=0.3):
  return (amplitude * np.sin(2 * np.pi * hertz * np.arange(samples) / RATE)).astype(np.float32)


def _Speechlike(samples, seed=0, amplitude=0.05):
  """Noise whose level changes as syllables do, float32 [samples]."""
  level = 1 + np.sin(2 * np.pi * 3 * np.arange(samples) / RATE)
  noise = np.random.RandomState(seed).randn(samples) * level * amplitude
  return np.clip(noise, -0.9, 0.9).astype(np.float32)


def _Power(x):
  return float(np.mean(np.square(x, dtype=np.float64)))


def _Decibels(a, b):
  return 10 * np.log10(_Power(a) / _Power(b))


class AugmentTest(graph_case.GraphCase):
  def _Run(self, rows, seed=1, ids=None, size=None, **params):
    """Augments a list of waveforms; returns a list of those without padding."""
    ids = ids or [f'utt-{i}' for i in range(len(rows))]
    size = size or max(map(len, rows))
    padded = np.stack([np.pad(r, [0, size - len(r)]) for r in rows])
    with self.NewGraph():
      p = waveform_augment.Params().Set(**{'effects_prob': 1.0, **params})
      waveform_augment.Validate('augment', p)
      out, num_samples = self.Eval(
        *waveform_augment.Augment(
          p,
          tf.constant(padded),
          tf.constant([len(r) for r in rows], tf.int32),
          waveform_augment.Seeds(seed, tf.constant(ids)),
        )
      )
    for row, n in zip(out, num_samples):
      np.testing.assert_array_equal(row[n:], 0)
    self.assertLessEqual(out.max(), 1 - 2.0**-15)
    self.assertGreaterEqual(out.min(), -1)
    self.assertTrue(np.isfinite(out).all())
    return [row[:n] for row, n in zip(out, num_samples)]

  def test_all_off_is_identity(self):
    rows = [_Speechlike(9000), _Speechlike(20000, 1)]
    for got, row in zip(self._Run(rows, **OFF), rows):
      np.testing.assert_array_equal(got, row)

  def test_a_share_of_the_utterances_has_effects_and_the_others_none(self):
    rows = [_Speechlike(4000, i) for i in range(64)]
    params = dict(OFF, noise_prob=1.0, noise_snr_db_range=[10.0, 10.0])
    everyone = self._Run(rows, **params)
    some = self._Run(rows, **params, effects_prob=0.25)
    touched = [not np.array_equal(x, row) for x, row in zip(some, rows)]
    self.assertBetween(sum(touched), 6, 28)
    for x, whole, row, has in zip(some, everyone, rows, touched):
      self.assertGreater(np.abs(whole - row).max(), 0.01)
      np.testing.assert_allclose(x, whole if has else row, atol=1e-4)

  def test_effects_that_are_not_drawn_leave_the_waveform(self):
    rows = [_Speechlike(9000), _Speechlike(20000, 1)]
    got = self._Run(rows, **{**OFF, 'noise_prob': 1e-9, 'eq_prob': 1e-9, 'reverb_prob': 1e-9, 'telephone_prob': 1e-9})
    for x, row in zip(got, rows):
      # TensorFlow 2.13's FFT has errors of a step of PCM16 at full scale.
      np.testing.assert_allclose(x, row, atol=2.0**-14)
      self.assertLess(_Decibels(x - row, row), -80)

  def test_padding_and_neighbours_do_not_change_an_utterance(self):
    row = _Speechlike(15000)
    params = dict(reverb_prob=1.0, noise_prob=1.0, eq_prob=1.0, telephone_prob=1.0)
    for babble_prob in (0.0, 1.0):
      with self.subTest(babble_prob):
        (alone,) = self._Run([row], ids=['x'], babble_prob=babble_prob, **params)
        _, among, _ = self._Run(
          [_Speechlike(31000, 1, 0.3), row, np.zeros([0], np.float32)],
          ids=['a', 'x', ''],
          size=50001,
          babble_prob=babble_prob,
          **params,
        )
        np.testing.assert_allclose(among, alone, atol=2e-6)

  def test_same_seed_same_result_other_seed_or_id_another(self):
    row = _Speechlike(8000)
    (one,) = self._Run([row], seed=5, ids=['x'], noise_prob=1.0)
    (again,) = self._Run([row], seed=5, ids=['x'], noise_prob=1.0)
    np.testing.assert_array_equal(one, again)
    for seed, utt_id in ((6, 'x'), (5, 'y')):
      (other,) = self._Run([row], seed=seed, ids=[utt_id], noise_prob=1.0)
      size = min(len(one), len(other))
      self.assertGreater(_Power(one[:size] - other[:size]), 1e-3 * _Power(one))

  def test_speed_sets_duration_and_pitch(self):
    for factor in (0.9, 1.0, 1.1, 1.25):
      with self.subTest(factor):
        (got,) = self._Run([_Tone(1000, 32000)], **{**OFF, 'speed_range': [factor, factor]})
        self.assertAlmostEqual(len(got), 32000 / factor, delta=1)
        expected = _Tone(1000 * factor, len(got))
        middle = slice(200, -200)
        self.assertLess(_Decibels(got[middle] - expected[middle], expected), -60)

  def test_speed_keeps_high_tones_and_removes_what_would_alias(self):
    (kept,) = self._Run([_Tone(6000, 32000)], **{**OFF, 'speed_range': [1.1, 1.1]})
    self.assertLess(abs(_Decibels(kept, _Tone(6600, len(kept)))), 0.5)
    (gone,) = self._Run([_Tone(7900, 32000)], **{**OFF, 'speed_range': [1.1, 1.1]})
    self.assertLess(_Decibels(gone[200:-200], _Tone(7900, 32000)), -25)

  def test_speeds_fill_the_range(self):
    rows = [_Speechlike(8000)] * 64
    lengths = [len(x) for x in self._Run(rows, **{**OFF, 'speed_range': [0.9, 1.1]})]
    self.assertBetween(min(lengths), 7272, 7400)
    self.assertBetween(max(lengths), 8700, 8889)
    self.assertGreater(len(set(lengths)), 50)

  def test_noise_has_the_ratio_asked_for(self):
    rows = [_Speechlike(48000, i) for i in range(4)]
    for snr in (0.0, 20.0):
      for slope, babble_prob in ((0.0, 0.0), (-3.0, 0.0), (0.0, 1.0)):
        with self.subTest(snr=snr, slope=slope, babble=babble_prob):
          got = self._Run(
            rows,
            **{
              **OFF,
              'noise_prob': 1.0,
              'noise_snr_db_range': [snr, snr],
              'noise_slope_db_range': [slope, slope],
              'babble_prob': babble_prob,
            },
          )
          for x, row in zip(got, rows):
            self.assertAlmostEqual(_Decibels(row, x - row), snr, delta=1.0)

  def test_noise_has_the_slope_asked_for(self):
    row = _Speechlike(160000)
    for slope in (0.0, -6.0):
      (got,) = self._Run(
        [row],
        **{
          **OFF,
          'noise_prob': 1.0,
          'noise_snr_db_range': [10.0, 10.0],
          'noise_slope_db_range': [slope, slope],
          'babble_prob': 0.0,
        },
      )
      spectrum = np.abs(np.fft.rfft(got - row)) ** 2
      band = [spectrum[int(0.9 * f * 10) : int(1.1 * f * 10)].mean() for f in (500, 4000)]
      self.assertAlmostEqual(10 * np.log10(band[1] / band[0]), 3 * slope, delta=1.0)

  def test_babble_is_not_the_speech_itself(self):
    row = _Speechlike(48000)
    (got,) = self._Run([row], **{**OFF, 'noise_prob': 1.0, 'babble_prob': 1.0})
    noise = got - row
    self.assertLess(abs(np.corrcoef(noise, row)[0, 1]), 0.05)

  def test_telephone_removes_what_is_outside_its_band(self):
    p = {
      **OFF,
      'telephone_prob': 1.0,
      'telephone_low_hz_range': [300.0, 300.0],
      'telephone_high_hz_range': [3400.0, 3400.0],
    }
    for hertz, low, high in ((1000, -0.5, 0.5), (3000, -0.5, 0.5), (100, -60, -25), (4500, -90, -45), (7000, -90, -45)):
      with self.subTest(hertz):
        tone = _Tone(hertz, 32000)
        (got,) = self._Run([tone], **p)
        self.assertBetween(_Decibels(got[2000:-2000], tone[2000:-2000]), low, high)

  def test_equaliser_stays_within_slope_and_ripple(self):
    tone = _Tone(2000, 16000, 0.1)
    got = self._Run([tone] * 16, **{**OFF, 'eq_prob': 1.0, 'eq_slope_db_range': [3.0, 3.0], 'eq_ripple_db': 4.0})
    gains = [_Decibels(x[2000:-2000], tone[2000:-2000]) for x in got]
    self.assertBetween(min(gains), -1.2, 2)
    self.assertBetween(max(gains), 4, 7.2)

  def test_room_keeps_direct_sound_and_decays(self):
    click = np.zeros([8000], np.float32)
    click[1000] = 0.9
    (got,) = self._Run(
      [click], **{**OFF, 'reverb_prob': 1.0, 'reverb_t60_range': [0.2, 0.2], 'reverb_drr_db_range': [3.0, 3.0]}
    )
    self.assertEqual(np.argmax(np.abs(got)), 1000)
    self.assertAlmostEqual(_Decibels(got[1000:1001], click[1000:1001]), -10 * np.log10(1 + 10**-0.3), delta=0.01)
    np.testing.assert_allclose(got[:1000], 0, atol=1e-6)
    tail = got[1040 : 1000 + 3072]
    self.assertAlmostEqual(10 * np.log10(got[1000] ** 2 / np.sum(tail**2)), 3, delta=0.1)
    # 60 dB in 0.2 s.
    self.assertAlmostEqual(_Decibels(tail[1600:2400], tail[:800]), -30, delta=1.5)

  def test_gain_is_in_its_range_and_clips(self):
    tone = _Tone(500, 4000)
    got = self._Run([tone] * 20, **{**OFF, 'gain_db_range': [-12.0, 0.0]})
    gains = [_Decibels(x, tone) for x in got]
    self.assertBetween(min(gains), -12, -8)
    self.assertBetween(max(gains), -4, 0)
    (loud,) = self._Run([tone], **{**OFF, 'gain_db_range': [40.0, 40.0]})
    self.assertEqual((loud.min(), loud.max()), (-1.0, np.float32(1 - 2.0**-15)))

  def test_silence_and_empty_rows_stay_so(self):
    got = self._Run(
      [np.zeros([4000], np.float32), np.zeros([0], np.float32)], noise_prob=1.0, reverb_prob=1.0, telephone_prob=1.0
    )
    self.assertEqual(np.abs(got[0]).max(), 0)
    self.assertEmpty(got[1])

  def test_shape_is_static_where_the_input_is_and_bounds_it_elsewhere(self):
    p = waveform_augment.Params()
    seeds = waveform_augment.Seeds(0, tf.constant(['a', 'b']))
    out, _ = waveform_augment.Augment(p, tf.zeros([2, 9000]), tf.constant([9000, 1]), seeds)
    self.assertEqual(out.shape.as_list(), [2, speed_perturb.MaxSamples(9000, p.speed_range)])
    dynamic = tf.placeholder_with_default(tf.zeros([2, 9000]), [None, None])
    out, _ = waveform_augment.Augment(p, dynamic, tf.constant([9000, 1]), seeds)
    self.assertEqual(self.Eval(out).shape, (2, speed_perturb.MaxSamples(9000, p.speed_range)))

  def test_runs_in_a_tf_data_pipeline(self):
    p = waveform_augment.Params()
    rows = np.stack([_Speechlike(8000, i) for i in range(2)])

    def Map(step, waveforms):
      return waveform_augment.Augment(
        p, waveforms, tf.constant([8000, 5000]), waveform_augment.Seeds(step, tf.constant(['a', 'b']))
      )

    ds = tf.data.Dataset.range(2).map(lambda step: (step, tf.constant(rows))).map(Map)
    direct = waveform_augment.Augment(
      p, tf.constant(rows), tf.constant([8000, 5000]), waveform_augment.Seeds(0, tf.constant(['a', 'b']))
    )
    out = tf.data.make_one_shot_iterator(ds).get_next()
    (got, lengths), (expected, _) = self.Eval(out, direct)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    self.assertFalse(np.array_equal(self.Eval(*out)[1], lengths))

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('noise_prob', 1.5, 'noise_prob = 1.5: expected a probability in [0, 1]'),
      ('speed_range', [1.1, 0.9], 'expected None or [least, greatest] in [0.5, 2]'),
      ('speed_range', 1.1, 'speed_range = 1.1: expected None or'),
      ('noise_snr_db_range', None, 'noise_snr_db_range = None: expected [least, greatest] in [-100, 100]'),
      ('telephone_high_hz_range', [3000.0, 9000.0], 'greatest] in [2000, 7900]'),
      ('eq_ripple_db', -1, 'eq_ripple_db = -1: expected dB in [0, 100]'),
      ('recorded.max_minutes', 1e5, 'recorded.max_minutes = 100000.0: expected minutes > 0 and <= 2000'),
    ):
      with self.subTest(field, value=value):
        with self.assertRaises(errors.ConfigError) as caught:
          waveform_augment.Validate('input.a', waveform_augment.Params().Set(**{field: value}))
        self.assertIn(expected, str(caught.exception))
        self.assertStartsWith(str(caught.exception), f'input.a.{field} = ')
        self.assertNotIn('\n', str(caught.exception))


if __name__ == '__main__':
  absltest.main()
