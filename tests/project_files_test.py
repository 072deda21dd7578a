"""Files of the project itself agree: versions, what the images are built from, what the workflow runs."""

import glob
import os
import re

import yaml
from absl.testing import absltest

from tests import pages


def _Version():
  return re.search(r'(?m)^version = "(.*)"', pages.Read('pyproject.toml')).group(1)


class ProjectFilesTest(absltest.TestCase):
  def test_the_version_is_one(self):
    self.assertEqual(str(yaml.safe_load(pages.Read('CITATION.cff'))['version']), _Version())
    released = re.findall(r'(?m)^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d$', pages.Read('CHANGELOG.md'))
    self.assertEqual(released[0], _Version())
    self.assertIn('## [Unreleased]', pages.Read('CHANGELOG.md'))

  def test_ruff_is_the_same_before_a_commit_and_in_the_environment(self):
    (repository,) = [
      r
      for r in yaml.safe_load(pages.Read('.pre-commit-config.yaml'))['repos']
      if r['repo'].endswith('/ruff-pre-commit')
    ]
    self.assertIn(f'ruff=={repository["rev"].removeprefix("v")}\n', pages.Read('requirements/dev.txt'))

  def test_the_images_are_built_from_files_that_are_there_and_sent(self):
    sent = re.findall(r'(?m)^!(\S+)$', pages.Read('.dockerignore'))
    for name in ('Dockerfile', 'Dockerfile.gpu'):
      copied = re.findall(r'(?m)^COPY (?!--)(.*) \S+$', pages.Read(name))
      for path in ' '.join(copied).split():
        self.assertTrue(os.path.exists(os.path.join(pages.ROOT, path)), f'{name}: COPY {path}')
        self.assertIn(path.partition('/')[0], sent, f'.dockerignore: {name} needs {path}')

  def test_the_workflow_runs_targets_of_the_makefile(self):
    workflow = yaml.safe_load(pages.Read('.github/workflows/ci.yml'))
    steps = [step['run'] for job in workflow['jobs'].values() for step in job['steps'] if 'run' in step]
    targets = re.findall(r'(?m)^([a-z-]+):', pages.Read('Makefile'))
    for target in re.findall(r'make ([a-z-]+)', '\n'.join(steps)):
      self.assertIn(target, targets, f'.github/workflows/ci.yml: make {target}')
    for part in ('make lint', 'make docs-check', 'make test ', 'bash .ci/run'):
      self.assertTrue(any(step.startswith(part.strip()) for step in steps), part)

  def test_slow_tests_are_marked_below_their_parameters(self):
    # parameterized loses a mark that is put on what it makes: the test would run with the fast ones.
    for path in glob.glob(os.path.join(pages.ROOT, 'tests', '*_test.py')):
      with open(path, encoding='utf-8') as f:
        lost = re.search(r'@pytest\.mark\.\w+.*\n\s*@parameterized\..*', f.read())
      self.assertIsNone(lost, f'{path}: {lost and lost.group()}')

  def test_issue_templates_are_forms(self):
    folder = os.path.join(pages.ROOT, '.github', 'ISSUE_TEMPLATE')
    for name in set(os.listdir(folder)) - {'config.yml'}:
      form = yaml.safe_load(pages.Read(f'.github/ISSUE_TEMPLATE/{name}'))
      self.assertContainsSubset({'name', 'description', 'body'}, form, name)


if __name__ == '__main__':
  absltest.main()
