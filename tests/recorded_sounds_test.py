"""Recorded noise and rooms in speech: ratio, alignment, energy, and what the result depends on."""

import contextlib
import io
import tempfile

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.data import recorded_sounds
from fm_lingvo.data import sound_bank
from fm_lingvo.data import waveform_augment
from tests import graph_case
from tests import sounds_case

RATE = sounds_case.RATE
OFF = dict(speed_range=None, effects_prob=0.0, gain_db_range=None)


def _Speechlike(samples, seed=0):
  rng = np.random.RandomState(seed)
  return (0.05 * rng.randn(samples) * (1 + np.sin(np.arange(samples) / 900))).astype(np.float32)


def _Decibels(a, b):
  return 10 * np.log10(np.sum(np.square(a, dtype=np.float64)) / np.sum(np.square(b, dtype=np.float64)))


class RecordedSoundsTest(graph_case.GraphCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.noise, cls.rooms = f'{folder.name}/musan', f'{folder.name}/RIRS_NOISES'
    sounds_case.WriteNoise(cls.noise)
    sounds_case.WriteRooms(cls.rooms)

  def _Run(self, rows, seed=1, ids=None, size=None, in_process=True, off=None, **recorded):
    """Augments a list of waveforms; returns a list of those without padding."""
    size = size or max(map(len, rows))
    padded = np.stack([np.pad(r, [0, size - len(r)]) for r in rows])
    p = waveform_augment.Params().Set(**(OFF if off is None else off))
    p.recorded.Set(**recorded)
    with self.NewGraph(), contextlib.redirect_stdout(io.StringIO()):
      waveform_augment.Validate('augment', p)
      seeds = waveform_augment.Seeds(seed, tf.constant(ids or [f'utt-{i}' for i in range(len(rows))]))
      lengths = tf.constant([len(r) for r in rows], tf.int32)
      tensors = recorded_sounds.Tensors(p.recorded, in_process)
      out, num_samples = self.Eval(*waveform_augment.Augment(p, tf.constant(padded), lengths, seeds, tensors))
    for row, n in zip(out, num_samples):
      np.testing.assert_array_equal(row[n:], 0)
    return [row[:n] for row, n in zip(out, num_samples)]

  def test_noise_has_the_ratio_asked_for(self):
    rows = [_Speechlike(n, n) for n in (48000, 30000, 20000)]
    for snr in (0.0, 20.0):
      got = self._Run(rows, noise_dir=self.noise, noise_prob=1.0, noise_snr_db_range=[snr, snr])
      for x, row in zip(got, rows):
        self.assertAlmostEqual(_Decibels(row, x - row), snr, delta=0.01)

  def test_noise_is_from_all_recordings_and_short_ones_are_repeated(self):
    rows = [_Speechlike(5 * RATE, i) for i in range(12)]
    got = self._Run(rows, noise_dir=self.noise, noise_prob=1.0, noise_snr_db_range=[0.0, 0.0])
    tones = 0
    for x, row in zip(got, rows):
      noise = (x - row)[-RATE:]
      spectrum = np.abs(np.fft.rfft(noise))
      tones += np.sum(spectrum[690:710] ** 2) > 0.9 * np.sum(spectrum**2)
      self.assertGreater(np.abs(noise).max(), 0.05)
    self.assertBetween(tones, 1, 11)

  def test_a_room_keeps_the_place_of_the_direct_sound(self):
    click = np.zeros([20000], np.float32)
    click[3000] = 0.9
    got = self._Run([click] * 8, rir_dir=self.rooms, rir_prob=1.0)
    for x in got:
      self.assertEqual(np.argmax(np.abs(x)), 3000)
      np.testing.assert_allclose(x[: 3000 - sound_bank.ROOM_DELAY], 0, atol=1e-5)
      self.assertAlmostEqual(_Decibels(x, click), 0.0, delta=0.05)
      self.assertAlmostEqual(abs(x[3000]), 0.9 / np.sqrt(2), delta=0.02)  # Direct sound and tail are equally strong.
    self.assertGreater(len({x.tobytes() for x in got}), 1)

  def test_a_room_is_a_convolution(self):
    row = _Speechlike(40000)
    (got,) = self._Run([row], rir_dir=self.rooms, rir_prob=1.0)
    with contextlib.redirect_stdout(io.StringIO()):
      bank = sound_bank.LoadRooms(self.rooms, 60.0)
    expected = []
    for start, size in zip(bank.starts, bank.sizes):
      whole = np.convolve(row.astype(np.float64), bank.samples[start : start + size])
      expected.append(whole[sound_bank.ROOM_DELAY : sound_bank.ROOM_DELAY + len(row)])
    # TensorFlow 2.13's FFT has errors of a few steps of PCM16.
    self.assertLess(min(_Decibels(got - x, x) for x in expected), -60)

  def test_a_share_has_noise_and_the_others_are_unchanged(self):
    rows = [_Speechlike(4000, i) for i in range(64)]
    got = self._Run(rows, noise_dir=self.noise, noise_prob=0.25)
    touched = [not np.array_equal(x, row) for x, row in zip(got, rows)]
    self.assertBetween(sum(touched), 6, 28)

  def test_padding_and_neighbours_do_not_change_an_utterance(self):
    row = _Speechlike(15000)
    both = dict(noise_dir=self.noise, noise_prob=1.0, rir_dir=self.rooms, rir_prob=1.0)
    (alone,) = self._Run([row], ids=['x'], **both)
    _, among, _ = self._Run(
      [_Speechlike(31000), row, np.zeros([0], np.float32)], ids=['a', 'x', ''], size=50001, **both
    )
    np.testing.assert_allclose(among, alone, atol=2e-6)
    (as_part_of_the_graph,) = self._Run([row], ids=['x'], in_process=False, **both)
    np.testing.assert_array_equal(as_part_of_the_graph, alone)
    (other,) = self._Run([row], ids=['x'], seed=2, **both)
    self.assertGreater(np.abs(other - alone).max(), 1e-3)

  def test_other_effects_are_drawn_as_without_recorded_sounds(self):
    row = _Speechlike(15000)
    plain = self._Run([row] * 4, off={})
    with_none = self._Run([row] * 4, off={}, noise_dir=self.noise, noise_prob=1e-9, rir_dir=self.rooms, rir_prob=0.0)
    for x, y in zip(plain, with_none):
      np.testing.assert_array_equal(x, y)

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('noise_prob', 1.5, 'noise_prob = 1.5: expected a probability in [0, 1]'),
      ('noise_snr_db_range', [5.0], 'noise_snr_db_range = [5.0]: expected [least, greatest] in [-100, 100]'),
      ('max_minutes', 0, 'max_minutes = 0: expected minutes > 0 and <= 2000'),
      ('noise_dir', None, "noise_dir = None: expected a folder of recordings, or none: ''"),
      ('rir_dir', '/no/such', "rir_dir = '/no/such': no such folder; the nearest that exists is /"),
    ):
      with self.subTest(field):
        p = waveform_augment.Params()
        p.recorded.Set(**{field: value})
        with self.assertRaises(errors.ConfigError) as caught:
          waveform_augment.Validate('input.a', p)
        self.assertEqual(str(caught.exception), f'input.a.recorded.{expected}')


if __name__ == '__main__':
  absltest.main()
