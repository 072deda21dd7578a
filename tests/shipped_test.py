"""What the project ships is found from any working directory, and a command without RUN takes the shipped model."""

import os
import tempfile

from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.utils import shipped
from tools.common import recordings

_GIN = 'params/gin'  # A folder that is always there.


class FolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(self.folder)

  def test_a_folder_of_the_user_is_taken_before_a_shipped_one(self):
    self.assertEqual(shipped.Folder(_GIN), os.path.join(shipped.ROOT, _GIN))
    os.makedirs(_GIN)
    self.assertEqual(shipped.Folder(_GIN), _GIN)

  def test_other_paths_stay(self):
    for path in ('nowhere', '/nowhere', 'gs://bucket/run', '-'):
      self.assertEqual(shipped.Folder(path), path)


class SplitRunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = self.enter_context(tempfile.TemporaryDirectory())
    for path in ('run/config.gin', 'calls/deep/a.flac', 'a.wav', 'texts/a.txt'):
      os.makedirs(os.path.dirname(f'{self.folder}/{path}'), exist_ok=True)
      with open(f'{self.folder}/{path}', 'w', encoding='utf-8'):
        pass

  def test_the_first_path_is_the_run_unless_it_is_a_recording(self):
    run, calls, sound = (f'{self.folder}/{name}' for name in ('run', 'calls', 'a.wav'))
    for paths, expected in (
      ([run, sound], (run, [sound])),
      ([run, calls, '-'], (run, [calls, '-'])),
      ([sound], (shipped.MODEL, [sound])),
      ([calls, sound], (shipped.MODEL, [calls, sound])),
      (['-'], (shipped.MODEL, ['-'])),
      # A folder that is neither: loading it says what is missing.
      ([f'{self.folder}/texts', sound], (f'{self.folder}/texts', [sound])),
    ):
      self.assertEqual(recordings.SplitRun(paths), expected)

  def test_what_cannot_be_is_said(self):
    for paths, message in (
      (['absent.wav'], '^absent.wav: no such run or recording$'),
      (['runs/absent', f'{self.folder}/a.wav'], '^runs/absent: no such run or recording$'),
      ([f'{self.folder}/rnu', f'{self.folder}/a.wav'], 'rnu: no such run or recording; did you mean .*/run[?]$'),
      ([f'{self.folder}/run'], 'run: a run alone; expected recordings after it$'),
      ([f'{self.folder}/texts'], 'texts: no recordings in this folder, and no config.gin of a run$'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message):
        recordings.SplitRun(paths)


if __name__ == '__main__':
  absltest.main()
