"""Paths that the user gives: `~` is the home folder, wherever a path enters."""

import os
from unittest import mock

from absl.testing import absltest

from fm_lingvo.utils import files


class FilesTest(absltest.TestCase):
  def test_a_leading_tilde_is_the_home_folder_and_nothing_else_changes(self):
    with mock.patch.dict(os.environ, {'HOME': '/home/me'}):
      for path, expected in (
        ('~', '/home/me'),
        ('~/data/a', '/home/me/data/a'),
        ('~no-such-user/a', '~no-such-user/a'),
        ('data/~/a', 'data/~/a'),
        ('', ''),
        ('-', '-'),
        ('gs://bucket/~/a', 'gs://bucket/~/a'),
      ):
        with self.subTest(path):
          self.assertEqual(files.ExpandUser(path), expected)


if __name__ == '__main__':
  absltest.main()
