"""The Bazel front door: every test is a target, the trainer is one, and the queries need no network."""

import glob
import os
import re
import shutil
import subprocess
import tempfile

from absl.testing import absltest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class BuildFilesTest(absltest.TestCase):
  def test_every_package_has_a_build_file(self):
    for package in ('.', 'bazel', 'fm_lingvo', 'params', 'tests', 'tools'):
      self.assertTrue(os.path.exists(os.path.join(ROOT, package, 'BUILD')), package)

  def test_workspace_is_not_named_as_a_python_package(self):
    with open(os.path.join(ROOT, 'WORKSPACE')) as f:
      name = re.search(r'^workspace\(name = "(\w+)"\)', f.read(), re.M).group(1)
    self.assertFalse(os.path.exists(os.path.join(ROOT, name, '__init__.py')), name)

  def test_every_test_file_runs_on_its_own(self):
    for path in sorted(glob.glob(os.path.join(ROOT, 'tests', '*_test.py'))):
      with open(path) as f:
        self.assertRegex(
          f.read(),
          r"(?m)^if __name__ == '__main__':\n(  .*\n)*?  (\w+\.)+main\(\)",
          f'{path}: `python {os.path.basename(path)}` would pass without running a test',
        )


class QueryTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    if 'TEST_SRCDIR' in os.environ and 'RUNFILES_DIR' in os.environ:
      self.skipTest('inside bazel test: no workspace here to query')
    if not shutil.which('bazel'):
      self.skipTest('bazel is not on PATH (Debian: bazel-bootstrap)')
    # A server of the test's own, or a running build would make it wait.
    self.bazel = ['bazel', '--output_base=' + tempfile.mkdtemp(), '--max_idle_secs=60']
    self.addCleanup(self._Bazel, 'clean', '--expunge')

  def _Bazel(self, *args):
    return subprocess.run([*self.bazel, *args], cwd=ROOT, capture_output=True, check=False, timeout=300)

  def _Query(self, expression):
    run = self._Bazel('query', '--noshow_progress', expression)
    self.assertEqual(run.returncode, 0, run.stderr.decode())
    return set(run.stdout.decode().split())

  def test_every_test_file_is_a_target_and_the_trainer_has_its_experiments(self):
    files = glob.glob(os.path.join(ROOT, 'tests', '*_test.py'))
    expected = {'//tests:' + os.path.basename(f)[: -len('.py')] for f in files}
    self.assertEqual(self._Query('tests(//tests/...)'), expected)
    sources = self._Query('kind("source file", deps(//fm_lingvo:trainer))')
    self.assertContainsSubset({'//fm_lingvo:trainer.py', '//params:asr.py'}, sources)


if __name__ == '__main__':
  absltest.main()
