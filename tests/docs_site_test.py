"""The documentation site: every page has a place in its navigation, and the reference says what the code says."""

import json
import os
import tempfile

import yaml
from absl.testing import absltest
from lingvo.core import hyperparams

from tests import pages
from tools.docs_site import docstrings
from tools.docs_site import reference
from tools.docs_site import site_pages


def _Places(nav):
  """Pages of a navigation, in their order."""
  for entry in nav:
    for value in entry.values():
      yield from _Places(value) if isinstance(value, list) else [value]


class _Layer:
  """A layer of the test's own."""

  @classmethod
  def Params(cls):
    p = hyperparams.InstantiableParams(cls)
    p.Define('size', 3, 'Number of things, > 0 | none.')
    return p

  def FProp(self, theta, inputs):
    """Doubles the inputs.

    Args:
      theta: Weights.
      inputs: [B, T], with *stars*.

    Returns:
      [B, T].
    """


class NavigationTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.nav = yaml.safe_load(pages.Read('mkdocs.yml'))['nav']

  def test_every_page_has_one_place_and_every_place_a_page(self):
    places = list(_Places(self.nav))
    self.assertLen(places, len(set(places)), 'a page has two places')
    expected = {page.removeprefix('docs/') for page in pages.PAGES[1:]} | set(site_pages.OUTSIDE)
    expected |= {'results/README.md', 'notebooks/README.md', 'reference/', 'reference/experiments.md'}
    self.assertEmpty(expected - set(places), 'mkdocs.yml, nav: pages without a place')
    self.assertEmpty(set(places) - expected, 'mkdocs.yml, nav: places without a page')

  def test_the_pages_of_the_reference_have_places(self):
    found = site_pages.Nav([{'A': [{'C': 'c.md'}]}, {'Code': 'reference/'}], ['reference/x.md'])
    self.assertEqual(list(_Places(found)), ['c.md', 'reference/x.md'])

  def test_nothing_is_loaded_from_another_host(self):
    config = yaml.safe_load(pages.Read('mkdocs.yml'))
    self.assertIs(config['theme']['font'], False)
    self.assertEqual(set(config) & {'extra_javascript', 'extra_css', 'repo_url'}, set())


class LinksTest(absltest.TestCase):
  def test_a_link_leads_to_where_its_file_is_in_the_site(self):
    for page, link, expected in (
      ('data.md', '../SECURITY.md#networks', 'security.md#networks'),
      ('data.md', 'scale.md', 'scale.md'),
      ('index.md', 'docs/data.md', 'data.md'),
      ('data.md', '../fm_lingvo/hydra.py', 'source/fm_lingvo/hydra.py.txt'),
      ('data.md', '../params/gin', 'source/params/gin/files.md'),
      ('data.md', 'results/recipe.json', 'source/docs/results/recipe.json.txt'),
      ('results/README.md', '../../tools/results.py', '../source/tools/results.py.txt'),
      ('data.md', 'https://a.b/c', 'https://a.b/c'),
      ('data.md', '#splits', '#splits'),
    ):
      with self.subTest(link):
        self.assertEqual(site_pages.Moved(f'a [b]({link}) c', page), f'a [b]({expected}) c')

  def test_a_link_to_nothing_is_an_error_and_code_has_no_links(self):
    with self.assertRaisesRegex(ValueError, r'docs/data.md: link to nothing.md: no such file'):
      site_pages.Moved('[a](nothing.md)', 'data.md')
    code = '```text\n[a](nothing.md)\n```\n`[b](nothing.md)`'
    self.assertEqual(site_pages.Moved(code, 'data.md'), code)

  def test_a_notebook_is_its_texts_and_its_code(self):
    cells = [{'cell_type': 'markdown', 'source': ['# A\n', 'b']}, {'cell_type': 'code', 'source': ['x = 1']}]
    self.assertEqual(site_pages.Notebook(json.dumps({'cells': cells})), '# A\nb\n\n```python\nx = 1\n```\n')


class ReferenceTest(absltest.TestCase):
  def test_a_class_has_its_params_and_methods(self):
    text = '\n'.join(reference.ClassLines('_Layer', _Layer))
    self.assertIn('A layer of the test', text)
    self.assertIn('| `size` | `3` | Number of things, \\> 0 \\| none. |', text)
    self.assertIn('- `inputs`: \\[B, T\\], with \\*stars\\*.', text)
    self.assertIn('**Returns**', text)

  def test_comments_beside_knobs_are_their_meanings(self):
    from params import base

    found = docstrings.Comments(base.SpeechKnobs)
    self.assertEqual(found['data_dir'], 'Folder whose sub-folders are data sets.')
    self.assertStartsWith(found['max_seconds'], 'Longer speech')

  def test_pages_are_written_for_every_package_without_the_experiments_and_tools(self):
    packages = reference.Packages()
    self.assertContainsSubset({'fm_lingvo', 'fm_lingvo.hydra', 'fm_lingvo.layers'}, packages)
    self.assertIn('fm_lingvo.layers.quantizer', packages['fm_lingvo.layers'])
    self.assertNoCommonElements(packages, {'fm_lingvo.params', 'fm_lingvo.tools'})
    text = reference.PackagePage('fm_lingvo.errors', packages['fm_lingvo.errors'])
    self.assertIn('### ConfigError', text)
    with tempfile.TemporaryDirectory() as folder:
      reference.WritePage(os.path.join(folder, 'new'), 'errors', text)
      self.assertTrue(os.path.exists(os.path.join(folder, 'new', 'errors.md')))


if __name__ == '__main__':
  absltest.main()
