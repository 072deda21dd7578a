"""tools/common/exit_codes.py: what ends a tool is one line and the code that its page says."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.data import dataset
from tools import check_data
from tools.common import exit_codes

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _Report(run, **kwargs):
  err = io.StringIO()
  with contextlib.redirect_stderr(err):
    return exit_codes.Report('tool', run, **kwargs), err.getvalue()


class ReportTest(parameterized.TestCase):
  @parameterized.parameters(
    (errors.ConfigError('--a=1: expected 2'), 2, '--a=1: expected 2'),
    (exit_codes.UsageError('--b: no such flag'), 2, '--b: no such flag'),
    (dataset.DatasetError('d: no such\ndata set'), 2, 'd: no such data set'),
    (errors.RunError('o: cannot be written'), 1, 'o: cannot be written'),
    (FileExistsError(17, 'File exists', 'o/p'), 1, 'o/p: File exists'),
    (OSError(28, 'No space left on device'), 1, 'No space left on device'),
    (BrokenPipeError(32, 'Broken pipe'), 1, 'Broken pipe'),  # Not that of standard output.
    (KeyboardInterrupt(), 130, 'interrupted'),
    (KeyboardInterrupt(signal.SIGTERM), 143, 'interrupted'),
  )
  def test_an_error_is_a_code_and_a_line(self, error, code, line):
    self.assertEqual(_Report(mock.Mock(side_effect=error)), (code, f'tool: {line}\n'))

  def test_a_result_is_the_code_and_none_is_0(self):
    self.assertEqual([_Report(lambda code=code: code) for code in (None, 0, 1)], [(0, ''), (0, ''), (1, '')])

  def test_what_ctrl_c_means_is_the_tools_own(self):
    self.assertEqual(_Report(mock.Mock(side_effect=KeyboardInterrupt), interrupted='goes on'), (130, 'tool: goes on\n'))
    self.assertEqual(_Report(mock.Mock(side_effect=KeyboardInterrupt(15)), interrupted=None), (143, ''))

  def test_a_bug_keeps_its_traceback(self):
    with self.assertRaises(KeyError):
      _Report(mock.Mock(side_effect=KeyError))

  def test_ctrl_c_ends_a_tool_between_two_of_its_inputs(self):
    err = io.StringIO()
    with (
      mock.patch.object(check_data, 'Check', side_effect=KeyboardInterrupt) as check,
      contextlib.redirect_stderr(err),
    ):
      self.assertEqual(check_data.Main(['check_data', 'a', 'b']), 130)
    self.assertEqual((check.call_count, err.getvalue()), (1, 'check_data: interrupted\n'))

  @parameterized.parameters((False,), (True,))
  def test_standard_output_that_is_full_or_closed(self, unbuffered):
    env = {**os.environ, 'PYTHONUNBUFFERED': '1' if unbuffered else ''}
    command = [
      sys.executable,
      '-c',
      'import sys\nfrom tools.common import exit_codes\nsys.exit(exit_codes.Report("tool", lambda: print("x" * 9)))',
    ]
    with open('/dev/full', 'w', encoding='utf-8') as full:
      done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=_ROOT, env=env, check=False)
    self.assertEqual(done.returncode, 1)
    self.assertRegex(done.stderr, r'^tool: .*No space left on device\)?\n$')
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, 'w') as closed:
      done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, cwd=_ROOT, env=env, check=False)
    self.assertEqual((done.returncode, done.stderr), (1, ''))


if __name__ == '__main__':
  absltest.main()
