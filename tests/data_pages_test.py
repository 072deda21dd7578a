"""The pages about data say what is so: importers, options, keys, reasons, messages and examples are the code's."""

import glob
import os
import re

from absl import flags
from absl.testing import absltest

from fm_lingvo.audio import rejection
from fm_lingvo.data import manifest_keys
from fm_lingvo.data import normalizers
from tests import pages
from tools import prepare_data
from tools.prepare import importers

_PAGES = ('docs/data.md', 'docs/data_formats.md', 'docs/transcripts.md', 'docs/data_problems.md')
_MAX_LINES = 150
_PLACEHOLDER = re.compile(r'\b[A-Z]{2,}(?:_[A-Z]+)*\b(?!-)')  # Of messages: NAME, FILE; not UTF-8.


def _Table(page, header):
  """Returns the rows, lists of cells, of the first table of a page with these header cells."""
  match = re.search(
    rf'(?m)^\| {re.escape(" | ".join(header))} \|\n\|[-|:]+\|\n((?:\|.*\n)+)', pages.Read(f'docs/{page}.md')
  )
  if match is None:
    raise AssertionError(f'docs/{page}.md: no table with the header {header}')
  return [[cell.strip() for cell in line.strip().strip('|').split(' | ')] for line in match.group(1).splitlines()]


def _Code(cell):
  """Returns what a cell has between backticks."""
  return re.findall(r'`([^`]+)`', cell)


def _Source():
  r"""Returns the source of the tools and of fm_lingvo/, with adjacent strings joined and \\ as \."""
  paths = [
    p for top in ('tools', 'fm_lingvo') for p in glob.glob(os.path.join(pages.ROOT, top, '**/*.py'), recursive=True)
  ]
  text = '\n'.join(pages.Read(path) for path in paths)
  return re.sub(r'[\'"]\n\s*f?[\'"]', '', text).replace('\\\\', '\\')


class ImportersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.table = _Table('data', ('importer', 'command', 'what is read', 'what is refused'))

  def test_every_importer_has_a_row(self):
    self.assertCountEqual([_Code(row[0])[0] for row in self.table], importers.BUILT_IN)

  def test_the_commands_have_flags_that_the_importer_uses(self):
    mine = flags.FLAGS.get_flags_for_module(prepare_data.__name__)
    general = {flag.name for flag in mine}
    for name, command, *_ in self.table:
      importer = importers.GetImporter(_Code(name)[0])
      used = re.findall(r'--(\w+)=(\S+)', _Code(command)[0])
      self.assertEqual(used[0], ('importer', _Code(name)[0]))
      own = {option.name for option in importer.own_options}
      for flag, _ in used[1:]:
        self.assertIn(flag, {*own, *(general & set(importer.shared_options))}, command)

  def test_the_options_of_importers_are_on_the_pages(self):
    text = ''.join(map(pages.Read, _PAGES))
    for name in importers.BUILT_IN:
      for option in importers.GetImporter(name).own_options:
        if not option.name.endswith('_column'):  # --NAME_column.
          self.assertRegex(text, rf'--{option.name}\b', f'option of {name}')

  def test_the_defaults_of_the_normalizer(self):
    (first, normalizer), *others = _Table('transcripts', ('importer', 'default normaliser'))
    named = [name for name in importers.BUILT_IN if importers.GetImporter(name).normalizer == 'prompts']
    self.assertEqual(normalizer, '`prompts`')
    self.assertCountEqual(_Code(first), [*named, 'demo'])
    self.assertEqual([row[-1] for row in others], ['`english`', '`basic`'])
    for name in set(importers.BUILT_IN) - set(named):
      self.assertIsNone(importers.GetImporter(name).normalizer, name)


class KeysTest(absltest.TestCase):
  def test_every_key_has_a_row_with_its_other_names(self):
    table = _Table('data_formats', ('key', 'other names', 'meaning'))
    self.assertEqual({_Code(key)[0]: _Code(names) for key, names, _ in table}, manifest_keys.ALIASES)


class ProblemsTest(absltest.TestCase):
  def test_every_reason_has_a_row(self):
    table = _Table('data_problems', ('reason', 'what it means', 'what to do'))
    self.assertEqual([_Code(row[0])[0] for row in table], list(rejection.REASONS))

  def test_the_messages_are_in_the_source(self):
    source = _Source()
    messages = [row[0].strip('`') for row in _Table('data_problems', ('message', 'what it means', 'what to do'))]
    self.assertNotEmpty(messages)
    for message in messages:
      parts = [part.strip(' :') for part in _PLACEHOLDER.split(message) if len(part) >= 8]
      self.assertNotEmpty(parts, message)
      for part in parts:
        self.assertTrue(part in source, f'docs/data_problems.md: {message}: nothing says {part!r}')


class TranscriptsTest(absltest.TestCase):
  def test_the_normalizers_are_those_that_exist(self):
    table = _Table('transcripts', ('normaliser', 'what it does'))
    self.assertEqual([_Code(row[0])[0] for row in table], list(normalizers.NAMES))

  def test_the_examples_are_what_the_normalizers_return(self):
    table = _Table('transcripts', ('normaliser', 'result'))
    self.assertGreaterEqual(len(table), 2 * len(normalizers.NAMES))
    text = ''
    for name, result in ((_Code(name)[0], _Code(result)[0]) for name, result in table):
      text = result if name == 'none' else text
      self.assertEqual(normalizers.Get(name)(text, 'en'), result, name)


class PagesTest(absltest.TestCase):
  def test_the_pages_are_short(self):
    for page in _PAGES:
      self.assertLessEqual(len(pages.Read(page).splitlines()), _MAX_LINES, page)

  def test_the_index_lists_every_page_and_readme_the_index(self):
    for page in set(pages.PAGES[1:]) - {'docs/pages.md'}:
      self.assertIn(f']({page.removeprefix("docs/")})', pages.Read('docs/pages.md'))
    self.assertIn('](docs/pages.md)', pages.Read('README.md'))


if __name__ == '__main__':
  absltest.main()
