"""Broken checkpoints, restored by the code of a resumed run, all in one process."""

import contextlib
import os
import random
import shutil
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import checkpointer as lingvo_checkpointer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.runtime import session
from tests import graph_case
from tests import stage_case
from tests.faults import checkpoints as checkpoint_faults
from tests.faults import tiny_run


class RestoreTest(stage_case.StageCase):
  """A run with checkpoints of steps 2, 4 and 6, whose weights are random and differ.

  Its graph, session and checkpointer are made once; each test begins with a fresh copy of its folder.
  """

  _kept = None  # TinyRun whose folder nothing changes.

  def setUp(self):
    super().setUp()
    original = lingvo_checkpointer.Checkpointer, lingvo_checkpointer.custom_saver.Saver
    self.addCleanup(setattr, lingvo_checkpointer, 'Checkpointer', original[0])
    self.addCleanup(setattr, lingvo_checkpointer.custom_saver, 'Saver', original[1])
    checkpointer.PatchLingvo()
    cls = type(self)
    if cls._kept is None:
      self._MakeRun()
    else:
      cls._kept.Copy('run')
    self.enter_context(cls._graph.as_default())
    self._session, self.values = cls._made_session, dict(cls._made_values)
    self.addCleanup(shutil.rmtree, self.tiny.folder)

  @classmethod
  def _MakeRun(cls):
    folder = tempfile.mkdtemp()
    cls.addClassCleanup(shutil.rmtree, folder)
    cls.tiny = tiny_run.TinyRun(folder, 'run', data_dir=folder)
    cls._train = os.path.join(cls.tiny.folder, 'train')
    os.makedirs(cls._train)
    cls._made_values = {}
    with tf.Graph().as_default() as cls._graph:
      tf.random.set_seed(1234)
      py_utils.GetOrCreateGlobalStepVar()
      cls.task = stage_case.TaskParams(head='best_rq').Instantiate()
      cls._checkpointer = checkpointer.Checkpointer(cls._train, stage_case.Model(cls.task))
      cls._made_session = tf.Session(config=session.Config())
      cls._made_session.run(tf.global_variables_initializer())
      for step in (2, 4, 6):
        cls._made_values[step] = cls._Assigned(step)
        cls._checkpointer.Save(cls._made_session, step)
    cls._kept = cls.tiny.Copy('kept_for_all')

  @classmethod
  def _Assigned(cls, step):
    """Gives every weight a random value, and the global step this one; returns the values by name."""
    rng = np.random.RandomState(step)
    variables = {v.op.name: v for v in cls.task.vars.Flatten()}
    values = {v: rng.randn(*v.shape) for v in variables.values() if v.trainable}
    graph_case.Load(cls._made_session, {**values, py_utils.GetGlobalStep(): step})
    return cls._made_session.run(variables)

  def _Restored(self):
    """Restores as a resumed run does, and checks the weights; returns the step."""
    self._checkpointer.Restore(self.session, force_reinitialize=True)
    step = int(self.session.run(py_utils.GetGlobalStep()))
    for name, value in self.Eval({v.op.name: v for v in self.task.vars.Flatten()}).items():
      np.testing.assert_array_equal(value, self.values[step][name], name)
    return step

  def test_the_newest_is_restored_if_nothing_is_broken(self):
    self.assertEqual(self._Restored(), 6)

  def test_a_resumed_run_takes_few_steps_of_its_session_however_many_variables_it_has(self):
    self.assertGreater(len(self.values[6]), 20)
    sess = self.session
    with mock.patch.object(sess, 'run', wraps=sess.run) as run:
      self._checkpointer.Restore(sess, force_reinitialize=True)
    self.assertLessEqual(run.call_count, 2)  # Restores, and checks the records.

  @contextlib.contextmanager
  def _UndoneLater(self, name):
    """A subtest that may break the run; its folder is then as it was."""
    kept = self.tiny.Copy('kept')
    with self.subTest(name):
      yield
    shutil.rmtree(self.tiny.folder)
    kept.Copy('run')
    shutil.rmtree(kept.folder)

  def test_the_one_before_a_broken_newest_one_is_restored(self):
    for fault in checkpoint_faults.NEWEST:
      with self._UndoneLater(fault):
        checkpoint_faults.Break(fault, self.tiny, random.Random(fault))
        self.assertIn(self._Restored(), (4, 6) if fault.startswith('`checkpoint`') else (4,))

  def test_no_flipped_bit_changes_a_weight_unnoticed(self):
    rng = random.Random(1)
    for i in range(25):
      with self._UndoneLater(i):
        checkpoint_faults.FlipBit(self.tiny.Prefix(6) + rng.choice(['.index', '.data-00000-of-00001']), rng)
        self.assertIn(self._Restored(), (4, 6))  # 6: a bit that nothing reads, such as padding.

  def test_a_run_without_a_whole_checkpoint_is_refused_and_all_are_named(self):
    for step in (2, 4, 6):
      os.truncate(self.tiny.Prefix(step) + tiny_run.DATA, 10)
    with self.assertRaisesRegex(errors.ConfigError, 'ckpt-00000006: .*ckpt-00000002: .*a new run is not started'):
      self._Restored()

  def test_a_run_whose_checkpoints_are_gone_is_not_started_anew(self):
    for name in os.listdir(self._train):
      if name.startswith('ckpt-'):
        os.remove(os.path.join(self._train, name))
    with self.assertRaisesRegex(errors.ConfigError, 'checkpoint: names ckpt-00000006, which does not exist'):
      self._Restored()

  def test_weights_that_differ_are_found(self):
    other = self.tiny.Copy('other')
    self.assertEmpty(self.tiny.Differing(6, other))
    for suffix in ('.index', '.data-00000-of-00001'):
      shutil.copy(other.Prefix(4) + suffix, other.Prefix(6) + suffix)
    differing = self.tiny.Differing(6, other)
    self.assertIn('global_step', differing)
    self.assertGreater(len(differing), 5)

  def test_an_empty_folder_is_a_new_run(self):
    shutil.rmtree(self._train)
    os.makedirs(self._train)
    self.assertIsNone(self._checkpointer.Restore(self.session, force_reinitialize=True))

  def _KeepTwo(self):
    """Makes the checkpointer of this test keep the two newest checkpoints."""
    saver = self._checkpointer._saver._saver
    for name, value in (('_keep_latest_n', 2), ('_keep_every_n_hours', None)):
      self.enter_context(mock.patch.object(saver, name, value))

  def test_after_the_clock_is_set_back_the_newest_checkpoint_stays(self):
    state = os.path.join(self._train, 'checkpoint')
    with open(state, encoding='utf-8') as f:
      text = f.read()
    with open(state, 'w', encoding='utf-8') as f:
      f.write(text.replace('timestamps: 1', 'timestamps: 9'))  # Centuries ahead.
    self._KeepTwo()
    self.values[8] = self._Assigned(8)
    self._checkpointer.Save(self.session, 8)
    self.assertEqual([run_checkpoints.Step(p) for p in run_checkpoints.Prefixes(self._train)], [8, 6])
    self.assertEqual(self._Restored(), 8)

  def test_a_copied_checkpoint_with_another_name_stays_and_stops_no_run(self):
    for name in os.listdir(self._train):
      if name.startswith('ckpt-00000002.'):
        shutil.copy(os.path.join(self._train, name), os.path.join(self._train, name.replace('00000002', 'best')))
    self._KeepTwo()
    for step in (8, 10, 12):
      self.values[step] = self._Assigned(step)
      self._checkpointer.Save(self.session, step)
    self.assertEqual([run_checkpoints.Step(p) for p in run_checkpoints.Prefixes(self._train)], [12, 10, -1])
    self.assertEqual(self._Restored(), 12)

  def test_an_unfinished_checkpoint_of_a_killed_run_is_removed_and_nothing_else(self):
    os.makedirs(os.path.join(self._train, 'ckpt-00000008_temp'))
    before = sorted(n for n in os.listdir(self._train) if not n.endswith('_temp'))
    run_checkpoints.RemoveUnfinished(self._train)
    self.assertEqual(sorted(os.listdir(self._train)), before)


if __name__ == '__main__':
  absltest.main()
