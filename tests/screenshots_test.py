"""Screenshots of TensorBoard: what counts as blank, errors, and the real thing."""

import contextlib
import io
import os
from unittest import mock

import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.run_files import tensorboard
from tests import event_case
from tests import graph_case  # noqa: F401 Sets up TensorFlow.
from tools import chromium
from tools import screenshots


def _Main(*argv):
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    code = screenshots.Main(['screenshots', *argv])
  return code, out.getvalue(), err.getvalue()


def _Png(pixels):
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(pixels.astype(np.uint8)).save(buffer, format='PNG')
  return buffer.getvalue()


class BlankBoxesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.pixels = np.full([100, 100, 3], 255)

  def _Blank(self, coloured=0.01, box=(0, 0, 50, 50)):
    return screenshots.BlankBoxes(_Png(self.pixels), [box], coloured)

  def test_one_colour_is_blank(self):
    self.assertLen(self._Blank(coloured=0.0), 1)

  def test_a_grid_without_a_line_is_blank(self):
    self.pixels[::10] = 190
    self.assertLen(self._Blank(), 1)
    self.assertEmpty(self._Blank(coloured=0.0))

  def test_a_coloured_line_is_not(self):
    self.pixels[20, :50] = (255, 112, 67)
    self.assertEmpty(self._Blank())

  def test_what_is_drawn_elsewhere_does_not_count(self):
    self.pixels[60:] = (255, 112, 67)
    self.assertLen(self._Blank(), 1)

  def test_a_box_outside_the_picture_is_blank(self):
    self.assertLen(self._Blank(box=(200, 200, 300, 300)), 1)


class ErrorsTest(absltest.TestCase):
  def test_without_chromium_the_package_is_named(self):
    with mock.patch.object(chromium, 'Find', return_value=None):
      code, _, err = _Main(self.create_tempdir().full_path)
    self.assertEqual(code, 2)
    self.assertIn('apt-get install chromium', err)
    self.assertEqual(err.count('\n'), 1)

  def test_an_unknown_tab_is_named(self):
    code, _, err = _Main('run', '--tabs=scalar')
    self.assertEqual(code, 2)
    self.assertIn('--tabs=scalar: expected some of scalars, images', err)

  def test_a_browser_that_does_not_start_is_an_error(self):
    with mock.patch.object(chromium, 'Find', return_value='/bin/false'):
      code, _, err = _Main(self.create_tempdir().full_path)
    self.assertEqual(code, 2)
    self.assertIn('Chromium ended', err)


class ChromiumTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    if chromium.Find() is None:
      self.skipTest('no Chromium here: apt-get install chromium')
    self.run_dir = self.create_tempdir().full_path
    self.output = self.create_tempdir().full_path

  def test_panels_render(self):
    rng = np.random.RandomState(0)
    event_case.WriteRun(self.run_dir)
    event_case.WriteSummaries(
      os.path.join(self.run_dir, 'eval_devhuman'),
      [
        (
          100,
          tensorboard.MaskedLogMel(
            'unlabeled/masked_log_mel',
            rng.randn(200, 80),
            np.arange(200) < 40,
            rng.randint(512, size=50),
            rng.randint(512, size=50),
            np.arange(50) < 10,
            200,
          ),
        ),
        (100, tensorboard.CodeHistogram('unlabeled/code_usage_0', rng.randint(9, size=512))),
        (100, tensorboard.Audio('unlabeled/audio', rng.randn(16000) * 0.1)),
        (100, tensorboard.Text('config.gin', 'BestRqPretrain.max_steps = 2000\n' * 9)),
      ],
    )
    code, out, err = _Main(self.run_dir, f'--output={self.output}')
    self.assertEqual((code, err), (0, ''))
    self.assertIn('unlabeled/masked_accuracy', out)
    for tab in ('scalars', 'images', 'histograms', 'audio', 'text'):
      path = os.path.join(self.output, f'tensorboard_{tab}.png')
      self.assertGreater(os.path.getsize(path), 10000, tab)

  def test_missing_tags_and_broken_scripts_are_errors(self):
    event_case.WriteScalars(os.path.join(self.run_dir, 'train'), [(1, {'other': 1.0})])
    with chromium.Browser() as browser, screenshots.TensorBoard(self.run_dir) as board:
      self.assertEqual(board.Tags('scalars', 'other'), ['other'])
      with self.assertRaisesRegex(errors.ConfigError, 'no scalars with a tag like .*found: other'):
        board.Tags('scalars', 'accuracy', timeout=1)
      with self.assertRaisesRegex(errors.ConfigError, 'Chromium: ReferenceError: nothing'):
        browser.Evaluate('nothing.here')


if __name__ == '__main__':
  absltest.main()
