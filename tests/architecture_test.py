"""Imports between packages go one way, and docs/architecture.md shows them as they are.

`UPDATE_ARCHITECTURE=1 python -m pytest tests/architecture_test.py` writes the page's picture and table again. The order
of the table stays: it is the order of the packages, from those that import nothing to those that import all. The row of
a new package is put in by hand, wherever its order is right.
"""

import ast
import os
import re

from absl.testing import absltest

from tests import package_imports

_PAGE = os.path.join(package_imports.ROOT, 'docs', 'architecture.md')
_BLOCK = re.compile(r'(?s)(<!-- packages: .*? -->\n)(.*?)(<!-- end of packages -->\n)')
_ROW = re.compile(r'(?m)^\| \[(\w+)(?:/|\.py)?\]\(\.\./\S+\) \| (.*) \|$')
_MOST_LINES = 300


def _Read():
  with open(_PAGE, encoding='utf-8') as f:
    return f.read()


def _Order():
  """Packages in the order of the page's table."""
  return [name for name, _ in _ROW.findall(_BLOCK.search(_Read()).group(0))]


def _Row(package):
  for path in (f'fm_lingvo/{package}/', f'fm_lingvo/{package}.py', f'{package}/'):
    if os.path.exists(os.path.join(package_imports.ROOT, path)):
      return f'| [{os.path.basename(path.rstrip("/"))}](../{path}) | {package_imports.Sentence(package)} |'
  raise ValueError(f'{package}: no such package or module')


def _Generated(order):
  """The page's picture and table."""
  arrows = package_imports.Reduced(package_imports.Graph())
  lines = ['```mermaid', 'graph TD']
  for package in reversed(order):
    lines += [f'  {package} --> {other}' for other in reversed(order) if other in arrows.get(package, ())]
  return '\n'.join([*lines, '```', '', '| package | what is inside |', '|---|---|', *map(_Row, order)]) + '\n'


class ArchitectureTest(absltest.TestCase):
  def test_the_page_shows_the_imports_as_they_are(self):
    text, generated = _Read(), _Generated(_Order())
    if os.environ.get('UPDATE_ARCHITECTURE'):
      with open(_PAGE, 'w', encoding='utf-8') as f:
        f.write(_BLOCK.sub(lambda m: m.group(1) + generated + m.group(3), text))
    else:
      shown = _BLOCK.search(text).group(2)
      self.assertEqual(shown, generated, 'UPDATE_ARCHITECTURE=1 python -m pytest tests/architecture_test.py writes it')

  def test_packages_import_only_those_above_them_in_the_table(self):
    order = _Order()
    self.assertCountEqual(order, package_imports.Graph(), 'docs/architecture.md has a row for each package')
    for folder in package_imports.FOLDERS:
      for path in package_imports.Sources(folder):
        package = package_imports.Package(package_imports.Module(path))
        for line, name in package_imports.Imports(path) if package else ():
          imported = package_imports.Package(name)
          if imported not in (package, None):
            self.assertIn(imported, order[: order.index(package)], f'{path}:{line}: {package} may not import {name}')

  def test_the_library_knows_neither_experiments_nor_tools_nor_tests(self):
    for path in package_imports.Sources('fm_lingvo'):
      for line, name in package_imports.Imports(path):
        self.assertNotIn(package_imports.Package(name), ('params', 'tools', 'tests'), f'{path}:{line}: {name}')

  def test_params_and_tools_import_under_names_that_the_wheel_has_too(self):
    # There they are fm_lingvo.params and fm_lingvo.tools: their own modules by relative imports.
    for folder in ('params', 'tools'):
      for path in package_imports.Sources(folder):
        for node in ast.walk(package_imports.Parse(path)):
          if isinstance(node, ast.ImportFrom) and not node.level:
            self.assertNotIn(node.module.split('.')[0], ('params', 'tools', 'tests'), f'{path}:{node.lineno}')

  def test_every_package_says_in_a_sentence_what_is_inside(self):
    for folder in package_imports.FOLDERS:
      for path in package_imports.Sources(folder):
        if path.endswith('__init__.py'):
          doc = ast.get_docstring(package_imports.Parse(path)) or ''
          self.assertRegex(doc.partition('\n\n')[0], r'(?s)^\S.{10,}\.$', f'{path}: no docstring of a sentence')

  def test_no_file_is_too_long_to_be_read_at_once(self):
    for folder in package_imports.FOLDERS:
      for path in package_imports.Sources(folder):
        with open(os.path.join(package_imports.ROOT, path), encoding='utf-8') as f:
          self.assertLessEqual(sum(1 for _ in f), _MOST_LINES, path)


class ReducedTest(absltest.TestCase):
  def test_arrows_that_follow_from_others_are_left_out(self):
    graph = {'a': {'b', 'c', 'd'}, 'b': {'c'}, 'c': {'d'}, 'd': set()}
    self.assertEqual(package_imports.Reduced(graph), {'a': {'b'}, 'b': {'c'}, 'c': {'d'}, 'd': set()})


if __name__ == '__main__':
  absltest.main()
