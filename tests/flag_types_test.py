"""tools/common/flag_types.py: lists of numbers, and what is said of others."""

import argparse

from absl.testing import absltest
from absl.testing import parameterized

from tools.common import flag_types


class NumbersTest(parameterized.TestCase):
  def test_numbers_are_read(self):
    self.assertEqual(flag_types.Numbers(int)('1,8'), [1, 8])
    self.assertEqual(flag_types.Numbers(float)('0.16'), [0.16])

  @parameterized.parameters(
    (int, '1,x', "'1,x': expected whole numbers > 0 with commas between them"),
    (int, '0', "'0': expected whole numbers > 0"),
    (int, '', "'': expected whole numbers > 0"),
    (float, 'nan', "'nan': expected numbers > 0"),
    (float, '-1', "'-1': expected numbers > 0"),
  )
  def test_others_are_refused(self, kind, text, message):
    with self.assertRaisesRegex(argparse.ArgumentTypeError, message):
      flag_types.Numbers(kind)(text)


if __name__ == '__main__':
  absltest.main()
