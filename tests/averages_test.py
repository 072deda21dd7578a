"""Averages: of gradients over steps, of weights over training, and over checkpoints."""

import functools
import os
import shutil
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import cluster_factory
from lingvo.core import optimizer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.checkpoints import reader
from fm_lingvo.config import gin_config
from fm_lingvo.evaluation import evaluator
from tests import graph_case
from tests import run_case
from tests import stage_case
from tools import average_checkpoints


class GradientAccumulationTest(graph_case.GraphCase):
  def _Optimizer(self, steps):
    """The optimizer that an experiment with that knob has."""
    self.addCleanup(gin_config.Reset)
    gin_config.Configure('asr.Supervised', (), [f'Supervised.gradient_accumulation_steps = {steps}'])
    p = model_registry.GetParams('asr.Supervised', 'Train').task
    return p.train.learner.optimizer

  def _Train(self, steps, gradients):
    """Value of a variable after each step."""
    with self.NewGraph():
      p = self._Optimizer(steps)
      w = tf.get_variable('w', initializer=tf.constant([1.0, -1.0]))
      step = py_utils.GetOrCreateGlobalStepVar()
      gradient = tf.placeholder(tf.float32, [2])
      layer = p.Set(name='opt').Instantiate()
      update = layer.Apply(0.1, py_utils.NestedMap(w=py_utils.VarGrad(w, gradient)))
      with tf.control_dependencies([update]):
        update = tf.assign_add(step, 1)
      self.Eval(w)
      values = []
      for g in gradients:
        self._session.run(update, {gradient: g})
        values.append(self.Eval(w))
    return values

  def test_one_step_is_plain_adam(self):
    self.assertIs(self._Optimizer(1).cls, optimizer.Adam)

  def test_steps_are_applied_at_once_as_their_mean(self):
    gradients = np.random.RandomState(0).randn(6, 2)
    whole = self._Train(1, gradients.reshape([2, 3, 2]).mean(axis=1))
    parts = self._Train(3, gradients)
    np.testing.assert_allclose(parts[2], whole[0], rtol=1e-6)
    np.testing.assert_allclose(parts[5], whole[1], rtol=1e-6)
    for k in (0, 1):
      np.testing.assert_array_equal(parts[k], [1.0, -1.0])
      np.testing.assert_array_equal(parts[3 + k], parts[2])


class MovingAveragesTest(stage_case.StageCase):
  @classmethod
  @functools.cache
  def _Trained(cls):
    """(Params, model, graph, Params of an evaluation) of a tiny experiment with moving averages that starts from a run.

    Its training graph is built once for all tests.
    """
    folder = tempfile.mkdtemp()
    cls.addClassCleanup(shutil.rmtree, folder)
    data, run = os.path.join(folder, 'data'), os.path.join(folder, 'run')
    run_case.WriteData(data)
    run_case.MakeRun(run, 'asr.Supervised', data)
    run_case.Configure('asr.Supervised', data, 'task.train.ema_decay = 0.5', f'Supervised.init_from = {run!r}')
    try:
      params, dev = (model_registry.GetParams('asr.Supervised', name) for name in ('Train', 'DevSource'))
    finally:
      gin_config.Reset()
    with tf.Graph().as_default() as graph, cluster_factory.Cluster(params.cluster):
      tf.random.set_seed(1234)
      model = params.Instantiate()
      model.ConstructFPropBPropGraph()
    return params, model, graph, dev

  def test_averages_start_where_a_run_starts_and_evaluations_use_them(self):
    params, model, graph, dev = self._Trained()
    evaluation = evaluator.Evaluator(dev)
    with graph.as_default(), cluster_factory.Cluster(params.cluster):
      start = checkpointer.StartAverages(model)
      weights = evaluation.CopyWeights(tf.get_default_graph(), self.session)
      values = self.Randomized(model.GetTask())
      averages = {v.op.name: model.ema.average(v) for v in model.variables_for_ema}
      before = self.Eval(averages)
      self.Eval(start)
      after = self.Eval(averages)
      raw = self.Randomized(model.GetTask(), seed=1)
      tf.train.Saver(tf.global_variables()).save(self.session, os.path.join(self.folder, 'both'))
      alone = [*model.GetTask().vars.Flatten(), py_utils.GetOrCreateGlobalStepVar()]
      tf.train.Saver(alone).save(self.session, os.path.join(self.folder, 'alone'))
    self.assertNotEmpty(averages)
    for name, average in after.items():
      np.testing.assert_array_equal(average, values[name])
      self.assertFalse(np.array_equal(before[name], average), name)
    with self.subTest('evaluations use them'):
      self._CheckEvaluation(evaluation, weights)
    for name, wanted, checkpoint in (
      ('those of a checkpoint', values, reader.Checkpoint(self.folder + '/both')),
      ('its weights where these are asked for', raw, reader.Checkpoint(self.folder + '/both', averages=False)),
      ('the weights of a checkpoint without averages', raw, reader.Checkpoint(self.folder + '/alone')),
    ):
      with self.subTest(name):
        read = evaluation.ReadWeights(checkpoint)
        for variable in averages:
          np.testing.assert_array_equal(read[variable], wanted[variable], variable)
          np.testing.assert_array_equal(read[variable + reader.AVERAGE], wanted[variable], variable)

  def _CheckEvaluation(self, evaluation, weights):
    """An evaluation's loss depends on the averages of weights, not on the weights."""
    averaged = {n for n in weights if n.endswith('/ExponentialMovingAverage')}
    raw = {n.rpartition('/')[0] for n in averaged}
    self.assertNotEmpty(averaged)
    self.assertContainsSubset(raw, weights)

    def _Loss(changed):
      values, _, _ = evaluation.Run({n: v + 0.5 * (n in changed) for n, v in weights.items()})
      return values['loss']

    self.assertEqual(_Loss(raw), _Loss(()))
    self.assertNotAlmostEqual(_Loss(averaged), _Loss(()), places=2)

  def test_jobs_of_a_cluster_start_averages_there_too(self):
    params, model, graph, _ = self._Trained()
    with graph.as_default(), cluster_factory.Cluster(params.cluster):
      saver = checkpointer.Checkpointer(os.path.join(self.folder, 'cluster'), model)
      before = self.Eval({v.op.name: v for v in model.variables_for_ema})
      saver.Restore(self.session, force_reinitialize=True)
      after = self.Eval({v.op.name: v for v in model.variables_for_ema})
      averages = self.Eval({v.op.name: model.ema.average(v) for v in model.variables_for_ema})
    self.assertNotEmpty(averages)
    self.assertTrue(any(not np.array_equal(before[name], after[name]) for name in after))
    for name, average in averages.items():
      np.testing.assert_array_equal(average, after[name], name)

  def test_what_reads_a_checkpoint_gets_the_averages(self):
    prefix = os.path.join(self.folder, 'ckpt')
    with self.NewGraph():
      names = ('task/a/w/var', 'task/a/w/var/ExponentialMovingAverage', 'task/b/w/var')
      variables = [tf.get_variable(n, initializer=float(i)) for i, n in enumerate(names)]
      self.Eval(variables[0])
      tf.train.Saver(variables).save(self.session, prefix)
    checkpoint = reader.Checkpoint(prefix)
    self.assertTrue(checkpoint.averaged)
    self.assertEqual(list(checkpoint.weights), ['task/a/w/var', 'task/b/w/var'])
    self.assertEqual([checkpoint.Read(n) for n in checkpoint.weights], [1.0, 2.0])
    with self.subTest('unless it asks for the weights'):
      checkpoint = reader.Checkpoint(prefix, averages=False)
      self.assertFalse(checkpoint.averaged)
      self.assertEqual([checkpoint.Read(n) for n in (*checkpoint.weights, names[1])], [0.0, 2.0, 0.0])

  def test_averages_of_frozen_weights_stay_bit_equal(self):
    frozen = tf.get_variable('w', initializer=np.random.RandomState(0).randn(1000).astype(np.float32))
    averages = tf.train.ExponentialMovingAverage(decay=0.999, num_updates=py_utils.GetGlobalStep())
    update = averages.apply([frozen])
    before = self.Eval(frozen)
    for _ in range(3):
      self.Eval(update)
    np.testing.assert_array_equal(self.Eval(averages.average(frozen)), before)


class AverageCheckpointsTest(stage_case.StageCase):
  def _Run(self, *steps):
    """A run with a checkpoint for each step; its folder and their values."""
    with self.NewGraph():
      task = stage_case.TaskParams().Instantiate()
      self.Eval(tf.no_op())
      saver = tf.train.Saver(tf.global_variables())
      os.makedirs(os.path.join(self.folder, 'run', 'train'))
      values = []
      for step in steps:
        values.append(self.Randomized(task, seed=step))
        saver.save(self.session, os.path.join(self.folder, 'run', 'train', 'ckpt'), global_step=step)
    return os.path.join(self.folder, 'run'), values

  def test_weights_are_the_mean_and_records_stay(self):
    run, values = self._Run(1, 2, 3)
    output = os.path.join(self.folder, 'averaged')
    moved = os.path.join(self.folder, 'elsewhere')
    os.rename(run, moved)  # Its file `checkpoint` has absolute paths.
    everything = average_checkpoints.Average(moved, None, os.path.join(self.folder, 'everything'))
    self.assertIn('the mean of ckpt-1, ckpt-2, ckpt-3,', everything[0])
    lines = average_checkpoints.Average(moved, 2, output)
    self.assertRegex(lines[0], r'the mean of ckpt-2, ckpt-3, \d+ variables$')
    found = reader.Checkpoint(output)
    self.assertEqual(set(found.weights), set(values[0]))
    self.assertEqual(list(found.others), ['global_step'])
    for name in found.weights:
      if name.endswith('record/var'):
        np.testing.assert_array_equal(found.Read(name), values[0][name])
      else:
        np.testing.assert_allclose(found.Read(name), (values[1][name] + values[2][name]) / 2, atol=1e-6)

  def test_errors_are_one_line(self):
    run, _ = self._Run(1, 2)
    with self.assertRaisesRegex(errors.ConfigError, '^--last=3: expected 1 to 2, the'):
      average_checkpoints.Average(run, 3, os.path.join(self.folder, 'averaged'))
    with self.assertRaisesRegex(errors.ConfigError, 'exists already'):
      average_checkpoints.Average(run, 1, os.path.join(run, 'train', 'ckpt-1'))
    self.assertEqual(average_checkpoints.Main(['', os.path.join(self.folder, 'gone'), '--output=x']), 2)
    with mock.patch.object(average_checkpoints, 'Average', side_effect=errors.RunError('the disk is full')):
      self.assertEqual(average_checkpoints.Main(['', run, '--output=x']), 1)


if __name__ == '__main__':
  absltest.main()
