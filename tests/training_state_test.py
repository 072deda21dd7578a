"""A run that cannot go on with a setting says which one, in a real start as in a dry run.

Builds the training graphs of a model of one layer: their variables are what is tested.
"""

import contextlib
import types

from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import optimizer

from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import training_state
from tests import stage_case


def _Params(trained=None, accumulate=False, ema=0.0):
  p = stage_case.TaskParams(trained=trained, adapters=['a', 'b'], active_adapter='a')
  p.train.ema_decay = ema
  if accumulate:
    p.train.learner.optimizer = optimizer.Accumulator.Params().Set(optimizer_tpl=p.train.learner.optimizer)
  return p


class TrainingStateTest(stage_case.StageCase):
  def _Variables(self, p):
    """(task, names of the variables of its training graph)."""
    with self.NewGraph():
      task = p.Instantiate()
      metrics, _ = task.FPropTower(task.theta, stage_case.Batch())
      stage_case.graph_case.py_utils.GetOrCreateGlobalStepVar()
      task.learners[0].Apply(metrics, task.vars)
      if p.train.ema_decay:
        tf.train.ExponentialMovingAverage(p.train.ema_decay).apply(task.vars.Flatten())
      return task, {v.op.name for v in tf.global_variables()}

  def test_the_setting_that_adds_variables_is_named(self):
    began = _Params(trained='/encoder/')
    task, names = self._Variables(began)
    weights = {v.op.name for v in task.vars.Flatten()}
    checkpoint = types.SimpleNamespace(prefix='runs/a/train/ckpt-1', weights=weights, others=names - weights)
    for p, setting in (
      (began, None),
      (_Params('/encoder/', accumulate=True), 'gradient_accumulation_steps'),
      (_Params('/encoder/', ema=0.9), 'task.train.ema_decay'),
      (_Params(), 'task.train.learner.bprop_variable_filter'),
      (
        _Params(accumulate=True, ema=0.9),
        'gradient_accumulation_steps and task.train.ema_decay and task.train.learner',
      ),
    ):
      task, needed = self._Variables(p)
      missing = sorted(needed - names)
      self.assertEqual(bool(missing), setting is not None)
      expected = contextlib.nullcontext()
      for check in (
        lambda: training_state.CheckMissing(checkpoint, missing, [task]),
        lambda: training_state.CheckDeclared(checkpoint, task),
      ):
        if setting is not None:
          expected = self.assertRaisesRegex(
            reader.Unusable, f"^runs/a/train/ckpt-1: {setting}.*: the run began without .*init_from = 'runs/a' and init"
          )
        with self.subTest(setting), expected:
          check()
    training_state.CheckMissing(checkpoint, [*missing, 'task/encoder/block_7/w/var'], [task])  # Another model.


if __name__ == '__main__':
  absltest.main()
