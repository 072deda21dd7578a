"""The soak tool tells what grows from what does not."""

from absl.testing import absltest

from tools import soak


class CompareTest(absltest.TestCase):
  def _Samples(self, memory, files=lambda i: 20, threads=lambda i: 9):
    return [{'memory_mb': memory(i), 'files': files(i), 'threads': threads(i)} for i in range(100)]

  def test_what_start_up_takes_is_no_leak(self):
    self.assertEqual(soak.Compare(self._Samples(lambda i: 500 + min(i, 30) * 10))[1], [])

  def test_a_leak_of_each_kind_is_found(self):
    self.assertEqual(soak.Compare(self._Samples(lambda i: 500 + i))[1], ['memory_mb'])
    self.assertEqual(soak.Compare(self._Samples(lambda i: 500, files=lambda i: 20 + i // 20))[1], ['files'])
    self.assertEqual(soak.Compare(self._Samples(lambda i: 500, threads=lambda i: 9 + (i > 70)))[1], ['threads'])


if __name__ == '__main__':
  absltest.main()
