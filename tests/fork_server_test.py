"""A command in a fork of tests/fork_server.py is as one in a process of its own; here the server imports little."""

import os
import signal
import subprocess
import sys
import tempfile
import time

from absl.testing import absltest

from tests import fork_server
from tests import process_case

_MODULE = """
import os, sys, time
print(__name__, sys.argv[1:], os.getcwd(), os.environ['ONE'], sys.executable, sys.stdin.read())
print('error', file=sys.stderr)
if 'wait' in sys.argv:
  open('waits', 'w').write(str(os.getpid()))
  time.sleep(60)
sys.exit(sys.argv[1:] == ['fail'] and 7)
"""


class ForkServerTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.folder = os.path.realpath(cls.enter_context(tempfile.TemporaryDirectory()))
    cls.python = os.path.join(cls.folder, 'python')
    cls.enter_context(fork_server.Server(process_case.ROOT, 'json')).WriteProgram(cls.python)
    with open(os.path.join(cls.folder, 'said.py'), 'w', encoding='utf-8') as f:
      f.write(_MODULE)

  def _Start(self, *arguments, **environment):
    return subprocess.Popen(
      [self.python, *arguments],
      cwd=self.folder,
      env={**os.environ, 'ONE': '1', **environment},
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  def test_streams_arguments_folder_environment_and_exit_code_are_the_command_s(self):
    for argument, code in (('a b', 0), ('fail', 7)):
      process = self._Start('-m', 'said', argument)
      out, err = process.communicate('input')
      self.assertEqual(out, f"__main__ ['{argument}'] {self.folder} 1 {self.python} input\n")
      self.assertEqual((process.returncode, err), (code, 'error\n'))

  def test_what_is_no_module_or_shall_be_fresh_is_the_interpreter_s(self):
    process = self._Start('-c', 'import sys; print(sys.executable)')
    self.assertEqual(process.communicate(), (f'{sys.executable}\n', ''))
    process = self._Start('-m', 'said', FRESH_INTERPRETER='1')
    self.assertIn(f' {sys.executable} ', process.communicate('')[0])

  def test_an_exception_is_a_traceback_and_exit_code_1(self):
    process = self._Start('-m', 'no_such_module')
    _, err = process.communicate()
    self.assertEqual(process.returncode, 1)
    self.assertIn('No module named no_such_module', err)

  def _Waiting(self):
    """(a command that waits, the process of its fork)."""
    path = os.path.join(self.folder, 'waits')
    if os.path.exists(path):
      os.remove(path)
    process = self._Start('-m', 'said', 'wait')
    process.stdin.close()
    self.addCleanup(process.wait)
    self.addCleanup(process.kill)
    self.addCleanup(process.stdout.close)
    self.addCleanup(process.stderr.close)
    while not os.path.exists(path) or not os.path.getsize(path):
      time.sleep(0.01)
    with open(path, encoding='utf-8') as f:
      return process, int(f.read())

  def test_signals_reach_the_fork_and_its_end_is_the_command_s(self):
    for signum, code in ((signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, -signal.SIGINT)):
      process, _ = self._Waiting()
      process.send_signal(signum)
      self.assertEqual(process.wait(20), code)

  def test_a_fork_ends_with_its_command(self):
    process, fork = self._Waiting()
    process.kill()
    deadline = time.monotonic() + 20
    while os.path.exists(f'/proc/{fork}') and time.monotonic() < deadline:
      time.sleep(0.01)
    self.assertFalse(os.path.exists(f'/proc/{fork}'))


if __name__ == '__main__':
  absltest.main()
