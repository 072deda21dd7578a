"""Cuts of long speech: pieces within their limits, cut where it is quiet, whatever the speech."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.data import quiet_cuts
from tests import graph_case

RATE = 16000
HOP = 160


class QuietCutsTest(graph_case.GraphCase):
  def _Sizes(self, samples, shortest, longest):
    """Samples of each piece."""
    with self.NewGraph():
      starts = self.Eval(quiet_cuts.Starts(tf.constant(samples), shortest, longest))
    self.assertEqual(starts[0], 0)
    return np.diff([*starts, len(samples)])

  def test_all_pieces_are_within_the_limits(self):
    rng = np.random.RandomState(0)
    for size, shortest, longest in (
      (16 * RATE + 1, 1600, 16 * RATE),
      (17 * RATE, 8 * RATE, 16 * RATE),
      (20 * RATE + 77, 1600, 16 * RATE),
      (33 * RATE, 4800, 16 * RATE),
      (601 * RATE + 5, 0, 15 * RATE + 13),
      (RATE, 1600, 6400),
      (10000, 0, 320),
    ):
      for name, samples in (
        ('noise', rng.randint(-9000, 9000, size)),
        ('silence', np.zeros([size])),
        ('louder', np.arange(size) * 20000 // size),
        ('softer', 20000 - np.arange(size) * 20000 // size),
      ):
        with self.subTest(name, size=size, shortest=shortest, longest=longest):
          sizes = self._Sizes(samples.astype(np.int16), shortest, longest)
          self.assertGreater(len(sizes), 1)
          self.assertEqual(sizes.sum(), size)
          self.assertLessEqual(sizes.max(), longest)
          self.assertGreaterEqual(sizes.min(), max(shortest, longest // HOP // 4 * HOP))

  def test_what_is_short_enough_is_not_cut(self):
    for size in (1, RATE - 1, RATE):
      self.assertEqual(self._Sizes(np.ones([size], np.int16), 1600, RATE).tolist(), [size])

  def test_cuts_are_in_the_middle_of_pauses(self):
    rng = np.random.RandomState(1)
    samples = rng.randint(-9000, 9000, 40 * RATE).astype(np.int16)
    pauses = [11.5, 21.0, 30.3]
    for pause in pauses:
      middle = int(pause * RATE)
      samples[middle - 1600 : middle + 1600] //= 100
    cuts = np.cumsum(self._Sizes(samples, 1600, 16 * RATE))[:-1]
    np.testing.assert_allclose(cuts / RATE, pauses, atol=0.011)

  def test_a_loud_beginning_does_not_hide_a_pause(self):
    # Sums of squares of an hour must not swallow the differences of the quiet.
    samples = np.full([600 * RATE], 30000, np.int16)
    samples[595 * RATE :] = 3
    samples[int(597.3 * RATE) - 1600 : int(597.3 * RATE) + 1600] = 0
    cuts = np.cumsum(self._Sizes(samples, 0, 4 * RATE))[:-1]
    self.assertLess(np.abs(cuts / RATE - 597.3).min(), 0.011)


if __name__ == '__main__':
  absltest.main()
