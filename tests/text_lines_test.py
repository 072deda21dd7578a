"""Lines of text files end where the file says, in UTF-8 and nothing else."""

import gzip
import os
import string
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.utils import text_lines

# What str.splitlines() takes for the end of a line, besides \n and \r\n.
_NO_ENDS = '\v\f\x1c\x1d\x1e\x85\u2028\u2029'


class LinesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    temporary = tempfile.TemporaryDirectory()
    self.addCleanup(temporary.cleanup)
    self._folder = temporary.name

  def _Write(self, data, name='text.txt'):
    path = os.path.join(tempfile.mkdtemp(dir=self._folder), name)
    with (gzip.open if name.endswith('.gz') else open)(path, 'wb') as f:
      f.write(data)
    return path

  def _Lines(self, data, name='text.txt'):
    return list(text_lines.Lines(self._Write(data, name)))

  def _AssertRefused(self, data, message, name='text.txt'):
    path = self._Write(data, name)
    with self.assertRaises(errors.DatasetError) as raised:
      list(text_lines.Lines(path))
    self.assertEqual(str(raised.exception), message.replace('PATH', path))

  @parameterized.parameters(*_NO_ENDS)
  def test_a_line_ends_only_at_line_feeds(self, c):
    self.assertLen(f'a{c}b'.splitlines(), 2)
    self.assertEqual(self._Lines(f'a{c}b\nc{c}\r\n{c}'.encode()), [(1, f'a{c}b'), (2, f'c{c}'), (3, c)])

  def test_a_carriage_return_inside_a_line_is_kept(self):
    self.assertEqual(self._Lines(b'a\rb\r\nc\r\r\n'), [(1, 'a\rb'), (2, 'c\r')])

  @parameterized.parameters('text.txt', 'text.txt.gz')
  def test_every_line_comes_back_with_its_number(self, name):
    lines = ['', string.printable.replace('\n', ''), ' ä\u00a0\U0001f600 ', '', 'last']
    for end in ('\n', '\r\n'):
      for last in ('', end):
        data = (end.join(lines) + last).encode()
        self.assertEqual(self._Lines(data, name), list(enumerate(lines, 1)))
        self.assertEqual(self._Lines(b'\xef\xbb\xbf' + data, name), list(enumerate(lines, 1)))
    self.assertEqual(self._Lines(b'', name), [])

  def test_marks_of_concatenated_files_are_left_out(self):
    self.assertEqual(self._Lines(b'\xef\xbb\xbfa\n\xef\xbb\xbfb \xef\xbb\xbfc\n'), [(1, 'a'), (2, 'b \ufeffc')])

  def test_other_encodings_are_refused_with_their_place(self):
    self._AssertRefused('gut\nschön\n'.encode('latin-1'), 'PATH:2: expected text in UTF-8 (invalid start byte)')
    self._AssertRefused(b'a\nb\xe2\x82', 'PATH:2: expected text in UTF-8 (unexpected end of data)')
    for encoding in ('UTF-16', 'UTF-32'):
      self._AssertRefused(
        'a\nb\n'.encode(encoding),
        f'PATH: expected text in UTF-8, found {encoding}; convert it: iconv -f {encoding} -t UTF-8',
      )
    self._AssertRefused('a\n'.encode('utf-16-le'), 'PATH:1: expected text in UTF-8, found a null byte')
    self._AssertRefused(b'a\rb\rc\r', r'PATH: expected lines that end in \n or \r\n, found only \r')

  def test_damaged_gzip_data_are_refused(self):
    data = gzip.compress(os.urandom(3000).hex().encode())
    for damaged, reason in (
      (b'text\n', "Not a gzipped file (b'te')"),
      (data[:-600], 'Compressed file ended before the end-of-stream marker was reached'),
    ):
      path = self._Write(damaged)
      os.rename(path, path + '.gz')
      with self.assertRaises(errors.DatasetError) as raised:
        list(text_lines.Lines(path + '.gz'))
      self.assertEqual(str(raised.exception), f'{path}.gz: expected data of gzip ({reason})')

  def test_remote_files_are_read_as_local_ones(self):
    for name in ('text.txt', 'text.txt.gz'):
      path = self._Write(b'\xef\xbb\xbfa\r\nb\xe2\x80\xa8c', name)
      self.assertEqual(list(text_lines.Lines(f'file://{path}')), [(1, 'a'), (2, 'b\u2028c')])


if __name__ == '__main__':
  absltest.main()
