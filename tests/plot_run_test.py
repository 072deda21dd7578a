"""Properties of the scalars read from event files, and of their plot."""

import contextlib
import io
import os
import time

import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from tests import event_case
from tools import event_files
from tools import plot_run


class EventFilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_dir = self.create_tempdir().full_path

  def _Write(self, steps, value):
    event_case.WriteScalars(os.path.join(self.run_dir, 'train'), [(step, {'loss': value}) for step in steps])
    time.sleep(0.01)  # A file begins with its time of creation.

  def test_all_data_sets_and_tags_are_read(self):
    event_case.WriteRun(self.run_dir)
    datasets = event_files.ReadRun(self.run_dir)
    self.assertEqual(set(datasets), {'train', 'eval_devhuman'})
    accuracy = datasets['eval_devhuman']['unlabeled/masked_accuracy']
    np.testing.assert_array_equal(accuracy.step, [50, 100])
    np.testing.assert_allclose(accuracy.value, [0.05, 0.12], rtol=1e-6)

  def test_where_files_of_a_resumed_run_overlap_the_newer_wins(self):
    self._Write([10, 20, 30, 40], 1.0)
    self._Write([25, 35], 2.0)  # Resumed from step 20, summarised every 15 steps.
    loss = event_files.ReadRun(self.run_dir)['train']['loss']
    np.testing.assert_array_equal(loss.step, [10, 20, 25, 35])
    np.testing.assert_array_equal(loss.value, [1.0, 1.0, 2.0, 2.0])

  def test_a_file_without_scalars_drops_nothing(self):
    self._Write([10, 20], 1.0)
    self._Write([], 2.0)
    loss = event_files.ReadRun(self.run_dir)['train']['loss']
    np.testing.assert_array_equal(loss.step, [10, 20])

  def test_a_file_cut_off_by_a_kill_is_read_up_to_there(self):
    self._Write([10, 20, 30], 1.0)
    folder = os.path.join(self.run_dir, 'train')
    path = os.path.join(folder, os.listdir(folder)[0])
    os.truncate(path, os.path.getsize(path) - 5)
    loss = event_files.ReadRun(self.run_dir)['train']['loss']
    np.testing.assert_array_equal(loss.step, [10, 20])

  def test_errors(self):
    with self.assertRaisesRegex(errors.ConfigError, 'absent: no such run directory'):
      event_files.ReadRun(os.path.join(self.run_dir, 'absent'))
    with self.assertRaisesRegex(errors.ConfigError, 'no event files .expected .*train'):
      event_files.ReadRun(self.run_dir)
    self._Write([10], 1.0)
    datasets = event_files.ReadRun(self.run_dir)
    with self.assertRaisesRegex(errors.ConfigError, 'no scalar BRANCH/masked_accuracy; tags found: loss'):
      event_files.Branch(self.run_dir, datasets)

  def test_of_several_branches_one_must_be_chosen(self):
    event_case.WriteScalars(
      os.path.join(self.run_dir, 'train'),
      [(1, {**event_case.Metrics(branch='source'), **event_case.Metrics(branch='target')})],
    )
    datasets = event_files.ReadRun(self.run_dir)
    with self.assertRaisesRegex(errors.ConfigError, '--branch=NAME .* source, target'):
      event_files.Branch(self.run_dir, datasets)
    self.assertEqual(event_files.Branch(self.run_dir, datasets, 'target'), 'target')
    with self.assertRaisesRegex(errors.ConfigError, 'did you mean source'):
      event_files.Branch(self.run_dir, datasets, 'sourse')


class PlotRunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_dir = self.create_tempdir().full_path
    self.output = os.path.join(self.create_tempdir().full_path, 'plots', 'pretrain.png')

  def _Main(self, *argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = plot_run.Main(['plot_run', *argv, f'--output={self.output}'])
    return code, out.getvalue(), err.getvalue()

  def _Pixels(self):
    from PIL import Image

    return np.asarray(Image.open(self.output).convert('RGB'), np.int16)

  def test_every_panel_has_lines(self):
    event_case.WriteRun(self.run_dir)
    code, out, err = self._Main(self.run_dir)
    self.assertEqual((code, err), (0, ''))
    self.assertIn(f'wrote {self.output}', out)
    pixels = self._Pixels()
    coloured = pixels.max(axis=-1) - pixels.min(axis=-1) > 60
    height, width = coloured.shape
    for row in range(3):
      for column in range(2):
        panel = coloured[row * height // 3 : (row + 1) * height // 3, column * width // 2 : (column + 1) * width // 2]
        self.assertGreater(panel.sum(), 500, (row, column))

  def test_the_plot_shows_the_values(self):
    event_case.WriteRun(self.run_dir)
    self._Main(self.run_dir)
    before = self._Pixels()
    time.sleep(0.01)
    event_case.WriteScalars(os.path.join(self.run_dir, 'eval_devhuman'), [(100, event_case.Metrics(accuracy=0.07))])
    self._Main(self.run_dir)
    self.assertTrue((before != self._Pixels()).any())

  def test_what_is_left_out_is_said(self):
    event_case.WriteRun(self.run_dir)
    event_case.WriteScalars(os.path.join(self.run_dir, 'eval_devsynthetic'), [(100, event_case.Metrics())])
    self.assertIn('eval_devsynthetic is not plotted', self._Main(self.run_dir)[1])

  def test_several_runs_share_the_axes(self):
    other = self.create_tempdir().full_path
    for run in (self.run_dir, other):
      event_case.WriteRun(run)
    self.assertEqual(self._Main(self.run_dir, other)[0], 0)

  def test_errors_are_one_line(self):
    event_case.WriteRun(self.run_dir)
    for argv, message in (
      ([self.create_tempdir().full_path], 'no event files'),
      ([self.run_dir, '--datasets=eval_devhumans'], 'did you mean eval_devhuman?'),
      ([self.run_dir, '--branch=unlabelled'], 'did you mean unlabeled?'),
    ):
      with self.subTest(message):
        code, _, err = self._Main(*argv)
        self.assertEqual(code, 2)
        self.assertIn(message, err)
        self.assertEqual(err.count('\n'), 1)
        self.assertFalse(os.path.exists(self.output))

  def test_what_cannot_be_written_is_one_line(self):
    event_case.WriteRun(self.run_dir)
    self.output = os.path.join(self.create_tempfile().full_path, 'plot.png')
    code, _, err = self._Main(self.run_dir)
    self.assertEqual(code, 1)
    self.assertRegex(err, '^plot_run: --output=.*: cannot be written .*\n$')

  def test_a_name_without_an_ending_is_refused(self):
    event_case.WriteRun(self.run_dir)
    folder = os.path.dirname(self.output)
    for name in ('pretrain', 'pretrain.', '.png'):
      self.output = os.path.join(folder, name)
      code, _, err = self._Main(self.run_dir)
      self.assertEqual(code, 2)
      self.assertIn(f'plot_run: --output={self.output}: expected a name that ends in .png, ', err)
    self.assertFalse(os.path.exists(folder))

  def test_an_unknown_format_is_named(self):
    event_case.WriteRun(self.run_dir)
    self.output = self.output.replace('.png', '.nix')
    code, _, err = self._Main(self.run_dir)
    self.assertEqual(code, 2)
    self.assertRegex(err, r'--output=.*nix: .*png')


if __name__ == '__main__':
  absltest.main()
