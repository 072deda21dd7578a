"""Checkpoints that are broken in every way, restored by the code of a resumed run, many of them in one process."""

import os
import random
import shutil
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from fm_lingvo import checkpoints
from fm_lingvo import errors
from fm_lingvo import handover
from lingvo import compat as tf
from lingvo.core import checkpointer as lingvo_checkpointer
from lingvo.core import py_utils
import numpy as np
from tests import stage_case
from tools.faults import checkpoint_faults
from tools.faults import determinism_faults
from tools.faults import tiny


class RestoreTest(stage_case.StageCase, parameterized.TestCase):
  """A run with checkpoints of steps 2, 4 and 6, whose weights are random and differ."""

  def setUp(self):
    super().setUp()
    original = lingvo_checkpointer.Checkpointer, lingvo_checkpointer.custom_saver.Saver
    self.addCleanup(setattr, lingvo_checkpointer, 'Checkpointer', original[0])
    self.addCleanup(setattr, lingvo_checkpointer.custom_saver, 'Saver', original[1])
    handover.PatchLingvo()
    self.run_dir = os.path.join(self.folder, 'run')
    self._train = os.path.join(self.run_dir, 'train')
    os.makedirs(self._train)
    self.task = stage_case.TaskParams(head='best_rq').Instantiate()
    self._checkpointer = handover.Checkpointer(self._train, stage_case.Model(self.task))
    self.values = {}
    for step in (2, 4, 6):
      self.values[step] = self.Randomized(self.task, seed=step)
      self.session.run(tf.assign(py_utils.GetGlobalStep(), step))
      self._checkpointer.Save(self.session, step)

  def _Restored(self):
    """Step that a resumed run goes on from, once its weights are those of that step."""
    self._checkpointer.Restore(self.session, force_reinitialize=True)
    step = int(self.session.run(py_utils.GetGlobalStep()))
    for name, value in self.Eval({v.op.name: v for v in self.task.vars.Flatten()}).items():
      np.testing.assert_array_equal(value, self.values[step][name], name)
    return step

  def test_the_newest_is_restored_where_nothing_is_wrong(self):
    self.assertEqual(self._Restored(), 6)

  def test_a_resumed_run_takes_few_steps_of_its_session_however_many_variables_it_has(self):
    self.assertGreater(len(self.values[6]), 20)
    sess = self.session  # Of which each use takes a step.
    with mock.patch.object(sess, 'run', wraps=sess.run) as run:
      self._checkpointer.Restore(sess, force_reinitialize=True)
    self.assertLessEqual(run.call_count, 3)  # Restores, looks for variables without a value, checks the records.

  @parameterized.parameters(*checkpoint_faults.NEWEST)
  def test_a_broken_newest_one_gives_way_to_the_one_before(self, fault):
    checkpoint_faults.NEWEST[fault](self.run_dir, [2, 4, 6], random.Random(fault))
    step = self._Restored()
    self.assertIn(step, (4, 6) if fault.startswith('`checkpoint`') else (4,))

  def test_no_flipped_bit_changes_a_weight_in_silence(self):
    rng = random.Random(1)
    for i in range(25):
      kept = tiny.Copy(self.run_dir, os.path.join(self.folder, 'kept'))
      name = rng.choice(['.index', '.data-00000-of-00001'])
      checkpoint_faults.FlipBit(tiny.Prefix(self.run_dir, 6) + name, rng)
      with self.subTest(i):
        self.assertIn(self._Restored(), (4, 6))  # 6: a bit that nothing reads, such as padding.
      shutil.rmtree(self.run_dir)
      shutil.copytree(kept, self.run_dir)
      shutil.rmtree(kept)

  def test_where_none_is_whole_the_run_is_refused_by_their_names(self):
    for step in (2, 4, 6):
      os.truncate(tiny.Prefix(self.run_dir, step) + '.data-00000-of-00001', 10)
    with self.assertRaisesRegex(errors.ConfigError, 'ckpt-00000006: .*ckpt-00000002: .*a new run is not started'):
      self._Restored()

  def test_a_list_that_names_what_is_gone_starts_no_new_run(self):
    for name in os.listdir(self._train):
      if name.startswith('ckpt-'):
        os.remove(os.path.join(self._train, name))
    with self.assertRaisesRegex(errors.ConfigError, 'checkpoint: names ckpt-00000006, which is not there'):
      self._Restored()

  def test_runs_that_differ_in_a_weight_are_told_apart(self):
    other = tiny.Copy(self.run_dir, os.path.join(self.folder, 'other'))
    self.assertEmpty(determinism_faults.Differing(self.run_dir, other, 6))
    for suffix in ('.index', '.data-00000-of-00001'):
      shutil.copy(tiny.Prefix(other, 4) + suffix, tiny.Prefix(other, 6) + suffix)
    differing = determinism_faults.Differing(self.run_dir, other, 6)
    self.assertIn('global_step', differing)
    self.assertGreater(len(differing), 5)

  def test_an_empty_folder_is_a_new_run(self):
    shutil.rmtree(self._train)
    os.makedirs(self._train)
    self.assertIsNone(self._checkpointer.Restore(self.session, force_reinitialize=True))

  def test_after_the_clock_is_set_back_the_newest_checkpoint_stays(self):
    state = os.path.join(self._train, 'checkpoint')
    with open(state, encoding='utf-8') as f:
      text = f.read()
    with open(state, 'w', encoding='utf-8') as f:
      f.write(text.replace('timestamps: 1', 'timestamps: 9'))  # Centuries ahead.
    saver = self._checkpointer._saver._saver  # pylint: disable=protected-access
    saver._keep_latest_n, saver._keep_every_n_hours = 2, None  # pylint: disable=protected-access
    self.values[8] = self.Randomized(self.task, seed=8)
    self.session.run(tf.assign(py_utils.GetGlobalStep(), 8))
    self._checkpointer.Save(self.session, 8)
    self.assertEqual([checkpoints.Step(p) for p in checkpoints.Prefixes(self._train)], [8, 6])
    self.assertEqual(self._Restored(), 8)

  def test_a_copy_under_another_name_stays_and_stops_no_run(self):
    for name in os.listdir(self._train):
      if name.startswith('ckpt-00000002.'):
        shutil.copy(os.path.join(self._train, name), os.path.join(self._train, name.replace('00000002', 'best')))
    saver = self._checkpointer._saver._saver  # pylint: disable=protected-access
    saver._keep_latest_n, saver._keep_every_n_hours = 2, None  # pylint: disable=protected-access
    for step in (8, 10, 12):
      self.values[step] = self.Randomized(self.task, seed=step)
      self.session.run(tf.assign(py_utils.GetGlobalStep(), step))
      self._checkpointer.Save(self.session, step)
    self.assertEqual([checkpoints.Step(p) for p in checkpoints.Prefixes(self._train)], [12, 10, -1])
    self.assertEqual(self._Restored(), 12)

  def test_what_a_kill_left_of_a_checkpoint_is_removed_and_nothing_else(self):
    os.makedirs(os.path.join(self._train, 'ckpt-00000008_temp'))
    before = sorted(n for n in os.listdir(self._train) if not n.endswith('_temp'))
    checkpoints.RemoveUnfinished(self._train)
    self.assertEqual(sorted(os.listdir(self._train)), before)


if __name__ == '__main__':
  absltest.main()
