"""Properties of the metrics read from a run, and of their plot."""

import contextlib
import io
import os
import tempfile

import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from tests import metrics_case
from tools import plot_run
from tools.bench import run_figures


class RunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_dir = self.enter_context(tempfile.TemporaryDirectory())

  def test_all_data_sets_and_metrics_are_read(self):
    metrics_case.WriteRun(self.run_dir)
    run = run_figures.Read(self.run_dir)
    self.assertEqual(set(run), {'train', 'eval_devhuman'})
    self.assertEqual(run_figures.Series(run['eval_devhuman'], 'unlabeled/masked_accuracy'), ([50, 100], [0.05, 0.12]))

  def test_the_newest_row_of_a_step_counts(self):
    for steps, loss in (([10, 20, 30], 1.0), ([20, 25], 2.0)):
      metrics_case.Write(self.run_dir, 'train', [(step, {'loss': loss}) for step in steps])
    rows = run_figures.Read(self.run_dir)['train']
    self.assertEqual(run_figures.Series(rows, 'loss'), ([10, 20, 25, 30], [1.0, 2.0, 2.0, 1.0]))

  def test_a_row_without_a_metric_drops_nothing_of_it(self):
    metrics_case.Write(self.run_dir, 'train', [(10, {'loss': 1.0}), (20, {'loss': 1.0}), (30, {})])
    self.assertEqual(run_figures.Series(run_figures.Read(self.run_dir)['train'], 'loss')[0], [10, 20])

  def test_a_file_cut_off_by_a_kill_is_read_up_to_there(self):
    metrics_case.Write(self.run_dir, 'train', [(step, {'loss': 1.0}) for step in (10, 20, 30)])
    path = os.path.join(self.run_dir, 'metrics.jsonl')
    os.truncate(path, os.path.getsize(path) - 5)
    self.assertEqual(run_figures.Series(run_figures.Read(self.run_dir)['train'], 'loss')[0], [10, 20])

  def test_errors(self):
    with self.assertRaisesRegex(errors.ConfigError, 'absent: no such run directory'):
      run_figures.Read(os.path.join(self.run_dir, 'absent'))
    with self.assertRaisesRegex(errors.ConfigError, 'no metrics .expected .*metrics.jsonl'):
      run_figures.Read(self.run_dir)
    metrics_case.Write(self.run_dir, 'train', [(10, {'loss': 1.0})])
    with self.assertRaisesRegex(errors.ConfigError, 'no metric BRANCH/masked_accuracy; there are loss'):
      run_figures.Branch(self.run_dir, run_figures.Read(self.run_dir))

  def test_of_several_branches_one_must_be_chosen(self):
    metrics_case.Write(
      self.run_dir, 'train', [(1, {**metrics_case.Metrics(branch='source'), **metrics_case.Metrics(branch='target')})]
    )
    run = run_figures.Read(self.run_dir)
    with self.assertRaisesRegex(errors.ConfigError, '--branch=NAME .* source, target'):
      run_figures.Branch(self.run_dir, run)
    self.assertEqual(run_figures.Branch(self.run_dir, run, 'target'), 'target')
    with self.assertRaisesRegex(errors.ConfigError, 'did you mean source'):
      run_figures.Branch(self.run_dir, run, 'sourse')


class PlotRunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_dir = self.enter_context(tempfile.TemporaryDirectory())
    self.output = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), 'plots', 'pretrain.png')

  def _Main(self, *argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = plot_run.Main(['plot_run', *argv, f'--output={self.output}'])
    return code, out.getvalue(), err.getvalue()

  def _Pixels(self):
    from PIL import Image

    return np.asarray(Image.open(self.output).convert('RGB'), np.int16)

  def test_every_panel_has_lines_which_show_the_values(self):
    metrics_case.WriteRun(self.run_dir)
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
    metrics_case.Write(self.run_dir, 'DevHuman', [(100, metrics_case.Metrics(accuracy=0.07))])
    self._Main(self.run_dir)
    self.assertTrue((pixels != self._Pixels()).any())

  def test_several_runs_share_the_axes_and_what_is_left_out_is_said(self):
    other = self.enter_context(tempfile.TemporaryDirectory())
    for run in (self.run_dir, other):
      metrics_case.WriteRun(run)
    metrics_case.Write(self.run_dir, 'DevSynthetic', [(100, metrics_case.Metrics())])
    code, out, _ = self._Main(self.run_dir, other)
    self.assertEqual(code, 0)
    self.assertIn('eval_devsynthetic is not plotted', out)

  def test_errors_are_one_line(self):
    metrics_case.WriteRun(self.run_dir)
    for argv, message in (
      ([self.enter_context(tempfile.TemporaryDirectory())], 'no metrics'),
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
    metrics_case.WriteRun(self.run_dir)
    self.output = os.path.join(self.enter_context(tempfile.NamedTemporaryFile()).name, 'plot.png')
    code, _, err = self._Main(self.run_dir)
    self.assertEqual(code, 1)
    self.assertRegex(err, '^plot_run: --output=.*: cannot be written .*\n$')

  def test_a_name_without_an_ending_is_refused(self):
    metrics_case.WriteRun(self.run_dir)
    folder = os.path.dirname(self.output)
    for name in ('pretrain', 'pretrain.', '.png'):
      self.output = os.path.join(folder, name)
      code, _, err = self._Main(self.run_dir)
      self.assertEqual(code, 2)
      self.assertIn(f'plot_run: --output={self.output}: expected a name that ends in .png, ', err)
    self.assertFalse(os.path.exists(folder))

  def test_an_unknown_format_is_named(self):
    metrics_case.WriteRun(self.run_dir)
    self.output = self.output.replace('.png', '.nix')
    code, _, err = self._Main(self.run_dir)
    self.assertEqual(code, 2)
    self.assertRegex(err, r'--output=.*nix: .*png')


if __name__ == '__main__':
  absltest.main()
