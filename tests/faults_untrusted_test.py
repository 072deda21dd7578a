"""Hostile Gin files, manifests, listings, tokenizers and archives do no harm, and a local cluster's ports are not reached."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import flagsaver

from tools.faults import outcome
from tools.faults import untrusted_faults


class UntrustedTest(absltest.TestCase):
  def _Folder(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    return folder.name

  @flagsaver.flagsaver
  def test_all_of_it_is_refused_or_harmless(self):
    folder, here = self._Folder(), os.getcwd()
    self.addCleanup(os.chdir, here)
    cases = untrusted_faults.Run(folder, outcome.Size(full=False))
    self.assertGreater(len(cases), len(untrusted_faults.GIN) + len(untrusted_faults.PATHS))
    for case in cases:
      with self.subTest(case.name):
        if case.name.startswith('ports') and 'not permitted' in case.seen:
          self.skipTest('no network namespaces here')
        self.assertTrue(case.survived, case.seen)


if __name__ == '__main__':
  absltest.main()
