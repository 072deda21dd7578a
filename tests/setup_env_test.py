"""Set-up leaves no half-made environment as ready, and ends in one line; the locks pin all that it installs."""

import ast
import errno
import fcntl
import glob
import io
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from packaging import requirements
from packaging import utils

from tools import setup_env
from tools.common import pythons

ROOT = setup_env.ROOT


class MakeEnvironmentTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.venv = os.path.join(tempfile.mkdtemp(), '.venv')
    os.makedirs(os.path.join(self.venv, 'bin'))
    os.symlink(sys.executable, os.path.join(self.venv, 'bin', 'python'))
    with open(os.path.join(self.venv, 'pyvenv.cfg'), 'w'):
      pass
    python = pythons.Python(sys.version_info[:2], sys.executable, True)
    self.choice = pythons.Choice('classic' if python.version == (3, 10) else 'current', python)
    self.stamp = os.path.join(self.venv, 'ready')
    self.output = io.StringIO()
    self.enter_context(mock.patch('sys.stdout', self.output))

  def _WriteStamp(self, **changes):
    stamp = {'digest': setup_env._Digest(self.choice), 'root': ROOT}
    with open(self.stamp, 'w') as f:
      json.dump({**stamp, **changes}, f)

  def test_nothing_runs_when_the_stamp_fits(self):
    self._WriteStamp()
    with mock.patch.object(setup_env, '_Run') as run:
      setup_env.MakeEnvironment(self.choice, self.venv)
    run.assert_not_called()
    self.assertIn('up to date', self.output.getvalue())

  def test_a_failed_install_leaves_no_stamp(self):
    for changes in ({'digest': 'of another lock'}, {'root': '/a/checkout/moved/since'}):
      with self.subTest(changes):
        self._WriteStamp(**changes)
        with mock.patch.object(setup_env, '_Run', side_effect=setup_env.SetupError('setup: install failed')):
          with self.assertRaises(setup_env.SetupError):
            setup_env.MakeEnvironment(self.choice, self.venv)
        self.assertFalse(os.path.exists(self.stamp))

  def _Made(self):
    """Makes the environment without running a command; returns the modules of the commands."""
    with mock.patch.object(setup_env, '_Run') as run:
      setup_env.MakeEnvironment(self.choice, self.venv)
    commands = [call.args[0] for call in run.call_args_list]
    return [command[command.index('-m') + 1] for command in commands]

  def test_only_a_finished_environment_of_this_checkout_is_updated_in_place(self):
    self.assertEqual(self._Made(), ['venv', 'pip', 'pip', 'compileall'])  # No stamp: pip may have been killed.
    self.assertEqual(self._Made(), [])
    self._WriteStamp(digest='of another lock')
    self.assertEqual(self._Made(), ['pip', 'pip', 'compileall'])
    self._WriteStamp(root='/a/checkout/moved/since')
    self.assertEqual(self._Made(), ['venv', 'pip', 'pip', 'compileall'])
    self.assertEqual(sorted(os.listdir(self.venv)), ['bin', 'pyvenv.cfg', 'ready', 'setup.log'])

  def test_a_command_or_a_version_makes_it_old_another_place_of_the_interpreter_does_not(self):
    digest, python = setup_env._Digest(self.choice), self.choice.python
    moved = self.choice._replace(python=python._replace(path='/elsewhere/python'))
    self.assertEqual(setup_env._Digest(moved), digest)
    self.assertNotEqual(setup_env._Digest(self.choice._replace(python=python._replace(version=(3, 99)))), digest)
    with mock.patch.object(setup_env, '_Steps', return_value={'install': ['pip', '--another-flag']}):
      self.assertNotEqual(setup_env._Digest(self.choice), digest)

  def test_a_folder_that_is_no_environment_is_left_alone(self):
    os.remove(os.path.join(self.venv, 'pyvenv.cfg'))
    with self.assertRaisesRegex(setup_env.SetupError, f'^setup: {self.venv} is no environment of Python: remove it'):
      self._Made()
    self.assertEqual(os.listdir(self.venv), ['bin'])

  def test_too_small_a_disk_is_told_before_anything_is_written(self):
    with (
      mock.patch.object(setup_env.shutil, 'disk_usage', return_value=mock.Mock(free=1.2e9)),
      self.assertRaisesRegex(setup_env.SetupError, r'needs 4 GB, 1\.2 GB are free on that disk$'),
    ):
      self._Made()

  def _Main(self, **patch):
    """Runs main with a patched step; returns exit code and standard error."""
    errors = io.StringIO()
    with (
      mock.patch('sys.stderr', errors),
      mock.patch.object(pythons, 'Find', return_value=[]),
      mock.patch.object(pythons, 'ChooseStack', return_value=self.choice),
      mock.patch.object(setup_env, '_Run', **patch),
    ):
      return setup_env.main(['--venv', self.venv]), errors.getvalue()

  def test_signals_and_a_full_disk_end_in_one_line_and_leave_no_stamp(self):
    interrupted = 'setup: interrupted; the environment is not ready, the same command makes it\n'
    for fault, code, line in (
      (KeyboardInterrupt(), 130, interrupted),
      (KeyboardInterrupt(signal.SIGTERM), 143, interrupted),
      (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'log'), 1, 'setup: log: No space left on device\n'),
      (setup_env.SetupError('setup: install failed'), 1, 'setup: install failed\n'),
    ):
      with self.subTest(repr(fault)):
        self.assertEqual(self._Main(side_effect=fault), (code, line))
        self.assertFalse(os.path.exists(self.stamp))

  def test_a_stamp_is_whole_or_missing(self):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with mock.patch.object(setup_env.os, 'fsync', side_effect=full):
      self.assertEqual(self._Main(), (1, 'setup: No space left on device\n'))
    self.assertFalse(os.path.exists(self.stamp))

  def test_an_interrupt_ends_all_processes_of_a_step(self):
    # A shell ignores Ctrl-C in its background processes.
    log, script = os.path.join(self.venv, 'log'), 'sleep 60 & echo $!; wait'
    self.addCleanup(signal.signal, signal.SIGALRM, signal.signal(signal.SIGALRM, setup_env._Interrupt))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    with self.assertRaises(KeyboardInterrupt):
      setup_env._Run(['sh', '-c', script], log, 'step')
    with open(log) as f:
      child = f.read().strip()
    deadline = time.time() + 10
    while os.path.exists(f'/proc/{child}/exe') and time.time() < deadline:  # A dead one that is not reaped has none.
      time.sleep(0.01)
    self.assertFalse(os.path.exists(f'/proc/{child}/exe'))

  def test_a_second_set_up_waits_for_the_first_and_finds_its_work_done(self):
    log = os.path.join(os.path.dirname(self.venv), '.setup.log')
    waits = threading.Event()

    def Print(text, **_):
      if 'waiting' in text:
        waits.set()

    with mock.patch.object(setup_env, 'print', Print, create=True), mock.patch.object(setup_env, '_Run') as run:
      with open(log, 'a') as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = threading.Thread(target=setup_env.MakeEnvironment, args=(self.choice, self.venv))
        second.start()
        self.assertTrue(waits.wait(10))
        self._WriteStamp()
      second.join()
    run.assert_not_called()

  def test_the_environment_of_another_checkout_is_left_alone(self):
    self._WriteStamp(root=os.path.dirname(self.venv))
    link = os.path.join(tempfile.mkdtemp(), '.venv')
    os.symlink(self.venv, link)
    with (
      mock.patch.object(setup_env, '_Run') as run,
      self.assertRaisesRegex(
        setup_env.SetupError, f'^setup: {link} is the environment of {os.path.dirname(self.venv)}: remove'
      ),
    ):
      setup_env.MakeEnvironment(self.choice, link)
    run.assert_not_called()
    self.assertTrue(os.path.exists(self.stamp))

  def test_progress_tells_fetching_from_writing(self):
    log, script = os.path.join(self.venv, 'log'), 'echo Collecting a; {}sleep 0.5'
    for printed, told in (
      ('', '1 of 2 packages fetched'),
      ('echo Installing collected packages: a, b; ', 'all are fetched, writing'),
    ):
      with mock.patch.object(setup_env, 'PROGRESS_SECONDS', 0.3):
        setup_env._Run(['sh', '-c', script.format(printed)], log, 'install', total=2)
      self.assertRegex(self.output.getvalue().splitlines()[-1], rf'^  install: \d s, {told}')

  def test_failure_shows_the_end_of_the_log_and_its_place(self):
    log = os.path.join(self.venv, 'log')
    errors = io.StringIO()
    with mock.patch('sys.stderr', errors):
      with self.assertRaisesRegex(setup_env.SetupError, rf'^setup: step failed \(exit code 3\); .* {re.escape(log)}$'):
        setup_env._Run(['sh', '-c', 'printf wrong; exit 3'], log, 'step')
      self.assertEqual(errors.getvalue(), '  wrong\n')
      with self.assertRaisesRegex(setup_env.SetupError, '^setup: step failed: the disk is full$'):
        setup_env._Run(['sh', '-c', 'echo "OSError: [Errno 28] No space left on device"; exit 1'], log, 'step')
    self.assertEqual(errors.getvalue(), '  wrong\n')


class LocksTest(parameterized.TestCase):
  def _Read(self, name):
    with open(os.path.join(ROOT, name)) as f:
      lines = [line.split('#')[0].strip().rstrip('\\') for line in f]
    return [requirements.Requirement(line) for line in lines if line and not line.startswith('--hash=')]

  def _Pins(self, reqs, version):
    env = {'python_version': version, 'python_full_version': version + '.1'}
    return {utils.canonicalize_name(r.name): str(r.specifier) for r in reqs if not r.marker or r.marker.evaluate(env)}

  @parameterized.parameters(('classic', '3.10'), ('current', '3.11'), ('current', '3.12'), ('current', '3.13'))
  def test_lock_holds_every_direct_dependency_at_its_version(self, stack, version):
    direct = self._Pins(self._Read('requirements.txt') + self._Read('requirements/dev.txt'), version)
    lock = self._Pins(self._Read(f'requirements/{stack}.txt'), version)
    self.assertEqual({n: lock.get(n) for n in direct}, direct)

  @parameterized.parameters('classic', 'current')
  def test_every_package_of_a_lock_has_hashes(self, stack):
    with open(os.path.join(ROOT, 'requirements', stack + '.txt')) as f:
      entries = f.read().replace('\\\n', ' ').splitlines()
    self.assertGreater(len(entries), 100)
    for entry in entries:
      self.assertRegex(entry, r'^\S+==\S+ .*--hash=sha256:[0-9a-f]{64}')

  @parameterized.parameters('classic', 'current')
  def test_lock_pins_all_and_leaves_the_overrides_out(self, stack):
    reqs = self._Read(f'requirements/{stack}.txt')
    for r in reqs:
      self.assertRegex(str(r.specifier), r'^==[^*,]+$', r.name)
    left_out = {utils.canonicalize_name(r.name) for r in self._Read('requirements/overrides.txt')}
    self.assertEmpty(left_out & {utils.canonicalize_name(r.name) for r in reqs})


class PackageDataTest(parameterized.TestCase):
  @parameterized.parameters('params', 'tools')
  def test_an_installed_package_has_every_data_file(self, package):
    with open(os.path.join(ROOT, 'pyproject.toml')) as f:
      globs = ast.literal_eval(re.search(rf'(?m)^"fm_lingvo.{package}" = (\[.*\])$', f.read()).group(1))
    folder = os.path.join(ROOT, package)
    packed = {path for pattern in globs for path in glob.glob(os.path.join(folder, pattern))}
    there = {
      path
      for path in glob.glob(os.path.join(folder, '**'), recursive=True)
      if path.endswith(('.gin', '.html', '.npz', '.model', '.txt')) or '/models/' in path and os.path.isfile(path)
    }
    self.assertNotEmpty(there)
    self.assertEqual(packed, there)


if __name__ == '__main__':
  absltest.main()
