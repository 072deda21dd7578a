"""Staging directories: what becomes a data set's folder, locally and remotely."""

import os
import tempfile

from absl.testing import absltest

from fm_lingvo.utils import files
from tools.common import exit_codes
from tools.prepare import staging_dirs


class StagingDirsTest(absltest.TestCase):
  def _Staging(self, output, text):
    staging = staging_dirs.Make(output)
    with files.Open(os.path.join(staging, 'dataset.json'), 'w') as f:
      f.write(text)
    return staging

  def _Read(self, output):
    with files.Open(os.path.join(output, 'dataset.json')) as f:
      return f.read()

  def test_the_data_set_of_another_run_is_replaced_only_where_that_was_asked_for(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    for output in (f'{folder}/set', 'ram://staging_dirs_test/set'):  # The second as TensorFlow reaches gs://.
      with self.subTest(output):
        staging_dirs.Publish(self._Staging(output, 'first'), output, overwrite=False)
        second = self._Staging(output, 'second')
        with self.assertRaisesRegex(exit_codes.UsageError, 'another run has created it in the meantime'):
          staging_dirs.Publish(second, output, overwrite=False)
        self.assertEqual(self._Read(output), 'first')
        staging_dirs.Publish(second, output, overwrite=True)
        self.assertEqual(self._Read(output), 'second')
        staging_dirs.CheckReplaceable(output)
        with files.Open(os.path.join(output, 'notes.txt'), 'w') as f:
          f.write('mine')
        with self.assertRaisesRegex(exit_codes.UsageError, 'has notes.txt, which no data set has'):
          staging_dirs.CheckReplaceable(output)


if __name__ == '__main__':
  absltest.main()
