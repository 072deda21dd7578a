"""The soak distinguishes what grows from what does not."""

from absl.testing import absltest

from tests.faults import soak


class CompareTest(absltest.TestCase):
  def _Grown(self, memory, files=lambda i: 20, threads=lambda i: 9):
    samples = [{'memory_mb': memory(i), 'files': files(i), 'threads': threads(i)} for i in range(100)]
    return [name for name, (_, _, grown) in soak.Compare(samples).items() if grown]

  def test_what_start_up_takes_is_no_leak(self):
    self.assertEqual(self._Grown(lambda i: 500 + min(i, 30) * 10), [])

  def test_a_leak_of_each_kind_is_found(self):
    self.assertEqual(self._Grown(lambda i: 500 + i), ['memory_mb'])
    self.assertEqual(self._Grown(lambda i: 500, files=lambda i: 20 + i // 20), ['files'])
    self.assertEqual(self._Grown(lambda i: 500, threads=lambda i: 9 + (i > 70)), ['threads'])


if __name__ == '__main__':
  absltest.main()
