"""What one line of an error keeps: the reason, without TensorFlow's traces."""

from absl.testing import absltest

from fm_lingvo import errors


class ErrorsTest(absltest.TestCase):
  def test_reason_is_what_the_error_says(self):
    for message, expected in (
      ('x is not a directory', 'x is not a directory'),
      ('', 'ValueError'),
      ('first\nsecond', 'first'),
      ('2 root error(s) found.\n  (0) DATA_LOSS: corrupt  record\n  (1) other', 'DATA_LOSS: corrupt record'),
      ("Graph execution error:\n\nNode: 'a'\nno space left\n\t [[{{node a}}]]", 'no space left'),
      ('w' * 999, 'w' * 160),
    ):
      with self.subTest(message[:20]):
        self.assertEqual(errors.Reason(ValueError(message)), expected)

  def test_writing_names_what_was_written_and_leaves_other_errors_alone(self):
    with self.assertRaisesRegex(errors.RunError, r'^runs/a: cannot be written \(No space left on device\)$'):
      with errors.Writing('runs/a'):
        raise OSError(28, 'No space left on device')
    with self.assertRaises(KeyError):
      with errors.Writing('runs/a'):
        raise KeyError('a')

  def test_messages_are_one_line(self):
    self.assertEqual(str(errors.ConfigError('a\nb\x1b[0m')), 'a b [0m')


if __name__ == '__main__':
  absltest.main()
