"""Set-up picks the fitting stack, or says in one line what is missing.

Python     (major, minor), path, whether it can make environments
stack      classic (Python 3.10, any glibc) or current (3.11 to 3.13, glibc >= 2.38)
"""

import ast
import os
import stat
import sys
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from tools import setup_env
from tools.common import pythons

ROOT = setup_env.ROOT
DEBIAN_12, DEBIAN_13 = (2, 36), (2, 41)


def _Python(version, has_venv=True, path=None):
  version = tuple(int(v) for v in version.split('.'))
  return pythons.Python(version, path or '/usr/bin/python{}.{}'.format(*version), has_venv)


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
    choice = pythons.ChooseStack(glibc, _Pythons(*versions))
    self.assertEqual((choice.stack, choice.python.version), (stack, version))

  def test_first_of_one_version_wins(self):
    found = [_Python('3.10', path='/a/python3.10'), _Python('3.10', path='/b/python3.10')]
    self.assertEqual(pythons.ChooseStack(DEBIAN_12, found).python.path, '/a/python3.10')

  def test_interpreter_without_venv_is_passed_over(self):
    found = [_Python('3.13', has_venv=False), _Python('3.11')]
    self.assertEqual(pythons.ChooseStack(DEBIAN_13, found).python.version, (3, 11))

  @parameterized.parameters(
    (DEBIAN_12, ('3.11', '3.9', '3.12'), 'glibc 2.36 needs Python 3.10', 'found 3.9, 3.11, 3.12'),
    (DEBIAN_13, ('3.14', '3.9'), 'glibc 2.41 needs Python 3.11 to 3.13', 'found 3.9, 3.14'),
    (DEBIAN_12, (), 'uv python install 3.10, or pyenv', 'found no Python'),
  )
  def test_no_fit_says_in_one_line_what_to_install(self, glibc, versions, need, found):
    with self.assertRaises(pythons.NoneFits) as raised:
      pythons.ChooseStack(glibc, _Pythons(*versions))
    message = str(raised.exception)
    self.assertIn(need, message)
    self.assertIn(found, message)
    self.assertNotIn('\n', message)

  def test_missing_ensurepip_names_the_package(self):
    with self.assertRaisesRegex(pythons.NoneFits, r'^setup: Python 3\.13 at .*install python3\.13-venv.*$'):
      pythons.ChooseStack(DEBIAN_13, [_Python('3.13', has_venv=False)])

  @parameterized.parameters(('aarch64', 'Linux', DEBIAN_13), ('arm64', 'Darwin', None), ('x86_64', 'Linux', None))
  def test_machines_without_wheels_are_refused(self, machine, system, glibc):
    with self.assertRaisesRegex(pythons.NoneFits, f'Linux x86_64 with glibc only; this is {system} {machine}'):
      pythons.ChooseStack(glibc, _Pythons('3.10', '3.13'), machine, system)


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
    found = pythons.Find({'PATH': root + '/shims', 'HOME': '/nonexistent'})
    self.assertEqual([p.path for p in found], [f'{root}/versions/{v}/bin/python3.10' for v in ('3.10.13', '3.10.9')])

  def test_versions_of_uv_count_wherever_it_keeps_them(self):
    home = tempfile.mkdtemp()
    folders = {'.local/share/uv/python': {}, 'data/uv/python': {'XDG_DATA_HOME': home + '/data'}}
    folders['own'] = {'UV_PYTHON_INSTALL_DIR': home + '/own', 'XDG_DATA_HOME': home + '/data'}
    for folder, variables in folders.items():
      with self.subTest(folder):
        python = f'{home}/{folder}/cpython-3.10.18-linux-x86_64-gnu/bin/python3.10'
        self._Executable(python, 'echo 3 10 1 cpython; echo')
        found = pythons.Find({'PATH': '', 'HOME': home, **variables})
        self.assertEqual([p.path for p in found], [python])

  def test_other_implementations_are_left_out(self):
    root = tempfile.mkdtemp()
    self._Executable(root + '/python3.11', 'echo 3 11 1 pypy; echo')
    self.assertEqual(pythons.Find({'PATH': root, 'HOME': '/nonexistent'}), [])

  def test_an_active_environment_is_seen_through(self):
    if sys.prefix == sys.base_prefix:
      self.skipTest('not in a virtual environment')
    found = pythons.Find({'PATH': os.path.join(sys.prefix, 'bin'), 'HOME': '/nonexistent'})
    self.assertNotEmpty(found)
    for python in found:
      self.assertFalse(python.path.startswith(sys.prefix + os.sep), python)

  def test_runs_on_the_oldest_python_that_may_start_it(self):
    for name in ('tools/setup_env.py', 'tools/__init__.py', 'tools/common/__init__.py', 'tools/common/pythons.py'):
      with open(os.path.join(ROOT, name)) as f:
        ast.parse(f.read(), feature_version=(3, 8))


if __name__ == '__main__':
  absltest.main()
