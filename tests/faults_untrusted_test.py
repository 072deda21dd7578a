"""Hostile Gin files, manifests, listings, tokenizers, archives do no harm; nobody reaches a local cluster's ports."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import flagsaver

from tests.faults import suite
from tests.faults import untrusted


class UntrustedTest(absltest.TestCase):
  @flagsaver.flagsaver
  def test_it_is_refused_or_harmless(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.addCleanup(os.chdir, os.getcwd())
    cases = list(untrusted.Run(suite.Suite(folder)))
    self.assertGreater(len(cases), len(untrusted.GIN) + len(untrusted.PATHS))
    for case in cases:
      with self.subTest(case.name):
        if case.name.startswith('ports') and 'not permitted' in case.seen:
          self.skipTest('no network namespaces here')
        self.assertTrue(case.survived, case.seen)


if __name__ == '__main__':
  absltest.main()
