"""Rows of docs/results/faults.json: what they count and keep."""

import os
import tempfile

from absl.testing import absltest

from fm_lingvo import errors
from tests.faults import __main__ as faults
from tests.faults import suite
from tools.figures import forms
from tools.figures import results
from tools.figures import tables


class TableTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.path = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), 'faults.json')

  def _Row(self, kind='gin', survived=30, lost=1):
    cases = [suite.Case(f'fault {i}', i < survived, f'said {i}') for i in range(survived + lost)]
    return faults.Row(kind, cases, 1.25, ['--seed=2'])

  def test_a_row_counts_and_keeps_every_fault_that_was_not_survived(self):
    row = self._Row()
    self.assertEqual((row['injected'], row['survived']), (31, 30))
    self.assertIn({'fault': 'fault 30', 'survived': False, 'seen': 'said 30'}, row['seen'])
    self.assertLess(len(row['seen']), 20)
    self.assertEqual(row['command'], 'python -m tests.faults gin --seed=2')

  def test_a_row_measured_again_replaces_the_old_one_in_the_order_of_the_kinds(self):
    for kind, lost in (('gin', 1), ('kills', 0), ('gin', 0)):
      faults.AddRow(self.path, self._Row(kind, lost=lost))
    result = results.Load(self.path)
    self.assertEqual([(r['kind'], r['injected'] - r['survived']) for r in result['rows']], [('kills', 0), ('gin', 0)])
    self.assertIn(f'| {faults.KINDS["gin"][2]} | 30 | 30 | 1 |', tables.Faults(result))

  def test_counts_that_cannot_be_are_refused(self):
    for change in ({'survived': 40}, {'injected': 0, 'survived': 0}, {'survived': -1}):
      with self.assertRaisesRegex(errors.ConfigError, r'rows\[0\]: survived = '):
        forms.Check({'form': 'faults', 'rows': [{**self._Row(), **change}]}, self.path)

  def test_messages_are_kept_without_the_folders_of_a_machine(self):
    cases = [suite.Case('x', True, 'resumed from /home/me/deep/run/train/ckpt-1, and --logdir=/a/b/c/d: gone')]
    seen = faults.Row('gin', cases, 1)['seen'][0]['seen']
    self.assertNotIn('/home/me', seen)
    self.assertIn('train/ckpt-1', seen)


if __name__ == '__main__':
  absltest.main()
