"""Checkpoints of older versions, whose variables had other names, are read, and runs start and resume from them.

Builds graphs of a tiny task: what is restored are the variables of a task and of its optimizer.
"""

import os
import shutil
import tempfile

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import hydra
from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import renamed_variables
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.heads import ctc_head
from tests import stage_case


def _TaskParams(init_from=''):
  """A transducer and CTC on one stream."""
  p = stage_case.TaskParams(init_from=init_from)
  hydra.HydraTask.AddHead(
    p, 'ctc', ctc_head.CtcHead.Params().Set(tokenizer_file=stage_case.TOKENIZER, spec_augment=None)
  )
  hydra.HydraTask.AddBranch(p, 'branch_ctc', stream='stream', head='ctc', weight=0.3, decode=False)
  return p


def _OldName(name):
  """What today's variable was called before CTC was a branch of its own; None: there was none."""
  return None if name == 'task/ctc/tokenizer_record/var' else name.replace('/ctc/proj/', '/transducer/ctc/')


def _Trained():
  """A task with its optimizer's variables, in this graph."""
  task = _TaskParams().Instantiate()
  metrics, _ = task.FPropTower(task.theta, stage_case.Batch())
  task.learners[0].Apply(metrics, task.vars)
  return task


def setUpModule():
  """A run of an older version, made once, and what its variables hold, by today's names."""
  global _old, _values, _weights
  _old = tempfile.mkdtemp()
  os.makedirs(_old + '/train')
  with tf.Graph().as_default(), tf.Session() as sess:
    py_utils.GetOrCreateGlobalStepVar()
    _weights = {v.op.name for v in _Trained().vars.Flatten()}
    sess.run(tf.global_variables_initializer())
    rng = np.random.RandomState(0)
    sess.run([tf.assign(v, rng.randn(*v.shape)) for v in tf.trainable_variables()])
    _values = sess.run({v.op.name: v for v in tf.global_variables()})
    saved = {_OldName(v.op.name): v for v in tf.global_variables() if _OldName(v.op.name)}
    tf.train.Saver(saved).save(sess, _old + '/train/ckpt', 10)


def tearDownModule():
  shutil.rmtree(_old)


class RenamedVariablesTest(stage_case.StageCase):
  def _AssertRestored(self, found):
    for name, value in found.items():
      np.testing.assert_array_equal(value, _values[name], name)

  def test_names_of_today_stay(self):
    names = [*_values, 'task/encoder/adapters/ctc/block_0/after_block/up/w/var', 'task/other/ctc/w/var']
    self.assertEqual(renamed_variables.Names(names), {name: name for name in names})
    run, _ = self.MakeRun('new')
    self.assertFalse(reader.Checkpoint(run).renamed)

  def test_they_are_read_under_today_s_names(self):
    found = reader.Checkpoint(_old)
    self.assertTrue(found.renamed)
    self.assertEqual(set(found.weights), _weights)
    self.assertEqual(set(found.weights) | set(found.others), set(_values))
    self._AssertRestored(found.Values(_values))

  def test_a_new_run_starts_from_one(self):
    task = _TaskParams(init_from=_old).Instantiate()
    lines, loaded = warm_start.Restore(task, self.session)
    self.assertEqual(loaded, _weights)
    self.assertIn(': ctc (3 variables', lines[0])
    self.assertEqual(lines[1], 'left unused in it: nothing')
    self._AssertRestored(self.Eval({v.op.name: v for v in task.vars.Flatten()}))

  def test_a_run_resumes_with_its_optimizer(self):
    task = _Trained()
    self.assertIn('task/ctc/proj/w/var/Adam', _values)
    with tf.Session() as sess:
      saver = checkpointer.Checkpointer(_old + '/train', stage_case.Model(task), train_params=task.params.train)
      self.assertEqual(saver.Restore(sess, force_reinitialize=True), _old + '/train/ckpt-10')
      self.assertEqual(sess.run(py_utils.GetGlobalStep()), _values['global_step'])
      self._AssertRestored(sess.run({v.op.name: v for v in tf.global_variables()}))


if __name__ == '__main__':
  stage_case.graph_case.absltest.main()
