"""The part of the fault suite that needs whole trainers: each is a real process, forked from one that has imported TensorFlow."""

import tempfile

from absl.testing import absltest

from tools.faults import gin_faults
from tools.faults import kill_faults
from tools.faults import numeric_faults
from tools.faults import outcome
from tools.faults import record_faults
from tools.faults import run_faults

_FAST = outcome.Size(full=False)


class ProcessesTest(absltest.TestCase):
  def _Folder(self):
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    return folder.name

  def _Survived(self, module, expected):
    """Runs the fast part of a kind; everything in it must be survived."""
    cases = module.Run(self._Folder(), _FAST)
    self.assertLen(cases, expected)
    for case in cases:
      with self.subTest(case.name):
        self.assertTrue(case.survived, case.seen)

  def test_steps_with_nan_are_skipped_counted_and_named(self):
    self._Survived(numeric_faults, 1)

  def test_damaged_and_missing_shards_are_named_and_left_out(self):
    self._Survived(record_faults, 3)

  def test_a_run_has_one_writer_and_keeps_its_sizes(self):
    self._Survived(run_faults, 2)

  def test_a_killed_run_ends_bit_by_bit_as_one_that_was_not(self):
    self._Survived(kill_faults, 3)

  def test_mutated_gin_inputs_run_dry_or_end_in_one_line(self):
    self._Survived(gin_faults, 26)


if __name__ == '__main__':
  absltest.main()
