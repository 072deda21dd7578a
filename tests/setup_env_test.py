"""Set-up picks the fitting stack, says in one line what is missing, and leaves no half-made environment as ready.

Python     (major, minor), path, whether it can make environments
stack      classic (Python 3.10, any glibc) or current (3.11 to 3.13, glibc >= 2.38)
"""

import ast
import glob
import io
import json
import os
import re
import stat
import sys
import tempfile
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from packaging import requirements
from packaging import utils

from tools import setup_env

ROOT = setup_env.ROOT
DEBIAN_12, DEBIAN_13 = (2, 36), (2, 41)


def _Python(version, has_venv=True, path=None):
  version = tuple(int(v) for v in version.split('.'))
  return setup_env.Python(version, path or '/usr/bin/python{}.{}'.format(*version), has_venv)


def _Pythons(*versions):
  return [_Python(v) for v in versions]


class ChooseStackTest(parameterized.TestCase):
  @parameterized.parameters(
    (DEBIAN_12, ('3.11', '3.10'), 'classic', (3, 10)),
    (DEBIAN_12, ('3.13', '3.12', '3.11', '3.10', '3.9'), 'classic', (3, 10)),
    (DEBIAN_13, ('3.13',), 'current', (3, 13)),
    (DEBIAN_13, ('3.10', '3.11', '3.12'), 'current', (3, 12)),
    (DEBIAN_13, ('3.10',), 'classic', (3, 10)),
    (DEBIAN_13, ('3.14', '3.10'), 'classic', (3, 10)),
    ((2, 38), ('3.11', '3.10'), 'current', (3, 11)),
    ((2, 37), ('3.11', '3.10'), 'classic', (3, 10)),
    ((2, 4), ('3.11', '3.10'), 'classic', (3, 10)),  # 2.4 is older than 2.38, not newer.
  )
  def test_glibc_and_interpreters_decide(self, glibc, versions, stack, version):
    choice = setup_env.ChooseStack(glibc, _Pythons(*versions))
    self.assertEqual((choice.stack, choice.python.version), (stack, version))

  def test_first_of_one_version_wins(self):
    pythons = [_Python('3.10', path='/a/python3.10'), _Python('3.10', path='/b/python3.10')]
    self.assertEqual(setup_env.ChooseStack(DEBIAN_12, pythons).python.path, '/a/python3.10')

  def test_interpreter_without_venv_is_passed_over(self):
    pythons = [_Python('3.13', has_venv=False), _Python('3.11')]
    self.assertEqual(setup_env.ChooseStack(DEBIAN_13, pythons).python.version, (3, 11))

  @parameterized.parameters(
    (DEBIAN_12, ('3.11', '3.9', '3.12'), 'glibc 2.36 needs Python 3.10', 'found 3.9, 3.11, 3.12'),
    (DEBIAN_13, ('3.14', '3.9'), 'glibc 2.41 needs Python 3.11 to 3.13', 'found 3.9, 3.14'),
    (DEBIAN_12, (), 'uv python install 3.10, or pyenv', 'found no Python'),
  )
  def test_no_fit_says_in_one_line_what_to_install(self, glibc, versions, need, found):
    with self.assertRaises(setup_env.SetupError) as raised:
      setup_env.ChooseStack(glibc, _Pythons(*versions))
    message = str(raised.exception)
    self.assertIn(need, message)
    self.assertIn(found, message)
    self.assertNotIn('\n', message)

  def test_missing_ensurepip_names_the_package(self):
    with self.assertRaisesRegex(setup_env.SetupError, r'^setup: Python 3\.13 at .*install python3\.13-venv.*$'):
      setup_env.ChooseStack(DEBIAN_13, [_Python('3.13', has_venv=False)])

  @parameterized.parameters(('aarch64', 'Linux', DEBIAN_13), ('arm64', 'Darwin', None), ('x86_64', 'Linux', None))
  def test_machines_without_wheels_are_refused(self, machine, system, glibc):
    with self.assertRaisesRegex(setup_env.SetupError, f'Linux x86_64 with glibc only; this is {system} {machine}'):
      setup_env.ChooseStack(glibc, _Pythons('3.10', '3.13'), machine, system)


class FindPythonsTest(absltest.TestCase):
  def _Executable(self, path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
      f.write(f'#!/bin/sh\n{text}\n')
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)

  def test_pyenv_versions_count_and_dead_shims_do_not(self):
    root = tempfile.mkdtemp()
    self._Executable(root + '/shims/python3.10', 'echo "pyenv: python3.10: command not found" >&2; exit 127')
    for version in ('3.10.9', '3.10.13'):
      self._Executable(f'{root}/versions/{version}/bin/python3.10', 'echo 3 10 1 cpython; echo')
    found = setup_env.FindPythons({'PATH': root + '/shims', 'HOME': '/nonexistent'})
    self.assertEqual([p.path for p in found], [f'{root}/versions/{v}/bin/python3.10' for v in ('3.10.13', '3.10.9')])

  def test_versions_of_uv_count_wherever_it_keeps_them(self):
    home = tempfile.mkdtemp()
    folders = {'.local/share/uv/python': {}, 'data/uv/python': {'XDG_DATA_HOME': home + '/data'}}
    folders['own'] = {'UV_PYTHON_INSTALL_DIR': home + '/own', 'XDG_DATA_HOME': home + '/data'}
    for folder, variables in folders.items():
      with self.subTest(folder):
        python = f'{home}/{folder}/cpython-3.10.18-linux-x86_64-gnu/bin/python3.10'
        self._Executable(python, 'echo 3 10 1 cpython; echo')
        found = setup_env.FindPythons({'PATH': '', 'HOME': home, **variables})
        self.assertEqual([p.path for p in found], [python])

  def test_other_implementations_are_left_out(self):
    root = tempfile.mkdtemp()
    self._Executable(root + '/python3.11', 'echo 3 11 1 pypy; echo')
    self.assertEqual(setup_env.FindPythons({'PATH': root, 'HOME': '/nonexistent'}), [])

  def test_an_active_environment_is_seen_through(self):
    if sys.prefix == sys.base_prefix:
      self.skipTest('not in a virtual environment')
    found = setup_env.FindPythons({'PATH': os.path.join(sys.prefix, 'bin'), 'HOME': '/nonexistent'})
    self.assertNotEmpty(found)
    for python in found:
      self.assertFalse(python.path.startswith(sys.prefix + os.sep), python)

  def test_runs_on_the_oldest_python_that_may_start_it(self):
    for name in ('tools/setup_env.py', 'tools/__init__.py'):
      with open(os.path.join(ROOT, name)) as f:
        ast.parse(f.read(), feature_version=(3, 8))


class MakeEnvironmentTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.venv = os.path.join(tempfile.mkdtemp(), '.venv')
    os.makedirs(os.path.join(self.venv, 'bin'))
    os.symlink(sys.executable, os.path.join(self.venv, 'bin', 'python'))
    python = setup_env.Python(sys.version_info[:2], sys.executable, True)
    self.choice = setup_env.Choice('classic' if python.version == (3, 10) else 'current', python)
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
        setup_env._Run(['sh', '-c', 'echo disk full; exit 3'], log, 'step')
    self.assertIn('disk full', errors.getvalue())


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
