"""Fault injection that needs whole trainers: each is a real process, forked from one that has imported TensorFlow."""

import tempfile

import pytest
from absl.testing import absltest

from tests.faults import gin_inputs
from tests.faults import kills
from tests.faults import nonfinite
from tests.faults import records
from tests.faults import runs
from tests.faults import suite


@pytest.mark.slow
class ProcessesTest(absltest.TestCase):
  def _CheckSurvived(self, kind, expected):
    """Injects the fast part of a kind of fault, so many of them; all must be survived."""
    cases = list(kind(suite.Suite(self.enter_context(tempfile.TemporaryDirectory()), full=False)))
    self.assertLen(cases, expected)
    for case in cases:
      with self.subTest(case.name):
        self.assertTrue(case.survived, case.seen)

  def test_steps_with_nan_are_skipped_counted_and_named(self):
    self._CheckSurvived(nonfinite.Run, 1)

  def test_damaged_and_missing_shards_are_named_and_left_out(self):
    self._CheckSurvived(records.Run, 3)

  def test_a_run_has_one_writer_and_keeps_its_sizes(self):
    self._CheckSurvived(runs.SecondTrainerAndChanges, 2)

  def test_a_killed_run_ends_bit_by_bit_as_one_that_was_not(self):
    self._CheckSurvived(kills.Kills, 3)

  def test_mutated_gin_inputs_run_dry_or_end_in_one_line(self):
    self._CheckSurvived(gin_inputs.Run, 26)


if __name__ == '__main__':
  absltest.main()
