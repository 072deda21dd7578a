"""Modules of Lingvo that few commands use are loaded when they are used."""

import os
import sys
from unittest import mock

from absl.testing import absltest

from fm_lingvo.runtime import lazy_imports


class LazyImportsTest(absltest.TestCase):
  def test_a_module_is_run_when_it_is_used(self):
    folder = self.create_tempdir().full_path
    for name in ('lazy_one', 'eager_one'):
      with open(os.path.join(folder, f'{name}.py'), 'w', encoding='utf-8') as f:
        f.write('import sys\nsys.seen_in_test.append(__name__)\nVALUE = 3\n')
    self.enter_context(mock.patch.object(sys, 'path', [folder, *sys.path]))
    self.enter_context(mock.patch.object(sys, 'meta_path', list(sys.meta_path)))
    self.enter_context(mock.patch.dict(sys.modules))
    self.enter_context(mock.patch.object(sys, 'seen_in_test', [], create=True))
    self.enter_context(mock.patch.object(lazy_imports, '_LAZY', ('lazy_one',)))
    lazy_imports.Install()
    lazy_imports.Install()
    import eager_one  # noqa: F401
    import lazy_one

    self.assertEqual(sys.seen_in_test, ['eager_one'])
    self.assertEqual(lazy_one.VALUE, 3)
    self.assertEqual(sys.seen_in_test, ['eager_one', 'lazy_one'])

  def test_the_modules_exist(self):
    for name in lazy_imports._LAZY:
      path = os.path.join(*name.split('.'))
      self.assertTrue(any(os.path.exists(os.path.join(p, f'{path}.py')) for p in sys.path), name)


if __name__ == '__main__':
  absltest.main()
