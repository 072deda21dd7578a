"""The loop of a local run: whenever a signal comes, it ends with a checkpoint of its last step; resumed, it goes on;
it ends early where its best metric no longer improves.

Builds the training graph of a tiny model once; evaluations are replaced.
"""

import contextlib
import glob
import io
import os
import re
import signal
import tempfile
from unittest import mock

import numpy as np
from lingvo import model_registry

from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.config import gin_config
from fm_lingvo.run_files import metrics_log
from fm_lingvo.training import stop_signals
from fm_lingvo.training import train_loop
from fm_lingvo.utils import own_names
from params import asr
from tests import graph_case
from tests import tiny_data


class LoopTest(graph_case.GraphCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.run_folder = os.path.join(folder.name, 'run')
    data_dir = os.path.join(folder.name, 'data')
    tiny_data.WriteAll(data_dir)
    knobs = {'data_dir': data_dir, 'max_steps': 12, 'summary_interval_steps': 2, 'save_interval_steps': 4}
    bindings = [f'BestRqPretrain.{name} = {value!r}' for name, value in knobs.items()]
    train = {
      'eval_datasets': ['DevHuman'],
      'eval_interval_steps': 3,
      'best_metric': 'DevHuman/loss',
      'early_stop_patience': 2,
    }
    bindings += [f'task.train.{name} = {value!r}' for name, value in train.items()]
    gin_config.Configure('asr.BestRqPretrain', [], [*tiny_data.Bindings(asr.BestRqPretrain), *bindings])
    try:
      params = {name: model_registry.GetParams('asr.BestRqPretrain', name) for name in ('Train', 'DevHuman')}
    finally:
      gin_config.Reset()
    cls.runner = train_loop.LocalRunner(params['Train'], {'DevHuman': params['DevHuman']}, cls.run_folder, '')

  def _SetBack(self, step):
    """Removes the run's checkpoints after a step; 0: all, and what names them, so that it is a new run."""
    for path in glob.glob(f'{self.run_folder}/*/ckpt-*'):
      if int(re.search(r'ckpt-(\d+)', path).group(1)) > step:
        os.remove(path)
    if not step:
      for path in glob.glob(f'{self.run_folder}/*/checkpoint'):
        os.remove(path)

  def _Start(self, **replaced):
    """Starts or resumes the run; replaced: methods of the runner. Returns what it prints."""
    self.runner.RequestStop(None)
    out = io.StringIO()
    with contextlib.ExitStack() as stack:
      for name, function in {'_FirstBatches': lambda *unused: {'loss': 1.0}, **replaced}.items():
        stack.enter_context(mock.patch.object(self.runner, name, function))
      stack.enter_context(contextlib.redirect_stdout(out))
      self.runner.Start()
    return out.getvalue()

  def _Improving(self, unused_sess, unused_name, step, *unused):
    """In place of an evaluation."""
    return {'loss': 1.0 / step}

  def test_every_metric_is_of_a_branch_or_has_a_name_of_ours(self):
    # And so no branch or stream can have a metric's name, see own_names_test.
    owners = {name.partition('/')[0] for name in self.runner.task.eval_metrics}
    self.assertContainsSubset(owners, {*own_names.METRICS, 'unlabeled'})

  def test_a_signal_between_two_checkpoints_saves_one(self):
    self._SetBack(0)
    write = self.runner._WriteTrain

    def _WriteTrain(*args):
      self.runner.RequestStop(signal.SIGTERM)
      return write(*args)

    def _Evaluate(*unused):
      self.runner.RequestStop(signal.SIGTERM)

    for method, function, step in (('_WriteTrain', _WriteTrain, 2), ('_Evaluate', _Evaluate, 3)):
      with (
        self.subTest(method),
        self.assertRaisesRegex(stop_signals.Interrupted, f'^SIGTERM: checkpoint at step {step} saved'),
      ):
        self._Start(**{method: function})
      self.assertEqual(run_checkpoints.Step(run_checkpoints.Newest(f'{self.run_folder}/train')), step)

  def _Trained(self):
    """Rows of metrics of training, and the variables after the last step."""
    reader = graph_case.tf.train.load_checkpoint(f'{self.run_folder}/train/ckpt-00000012')
    variables = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    rows = metrics_log.ReadMetrics(f'{self.run_folder}/metrics.jsonl')
    return [row for row in rows if row['dataset'] == 'train'], variables

  def test_a_run_resumed_from_an_older_checkpoint_ends_as_it_did(self):
    self._SetBack(0)
    self._Start(_Evaluate=self._Improving)
    rows, variables = self._Trained()
    self.assertEqual([row['step'] for row in rows], [2, 4, 6, 8, 10, 12])
    self._SetBack(4)
    self._Start(_Evaluate=self._Improving)
    again, resumed = self._Trained()
    self.assertEqual([row['step'] for row in again], [row['step'] for row in rows])
    # The same batches with the same masks.
    np.testing.assert_allclose([row['loss'] for row in again], [row['loss'] for row in rows], rtol=1e-3)
    self.assertEqual(
      [row['unlabeled/masked_fraction'] for row in again][3:], [row['unlabeled/masked_fraction'] for row in rows][3:]
    )
    self.assertEqual(resumed.keys(), variables.keys())
    for name, value in variables.items():
      np.testing.assert_allclose(resumed[name], value, rtol=1e-3, atol=1e-4, err_msg=name)

  def test_a_run_whose_best_metric_does_not_improve_ends_early_and_keeps_its_best_checkpoint(self):
    self._SetBack(0)
    out = self._Start(_Evaluate=lambda *unused: {'loss': 1.0})
    self.assertIn('ended early at step 9: DevHuman/loss has not improved in 2 evaluations, since step 3', out)
    self.assertRegex(out, r'best: DevHuman/loss 1 at step 3, \S+/best/ckpt-00000003\n')
    self.assertEqual(run_checkpoints.Step(run_checkpoints.Newest(f'{self.run_folder}/train')), 9)
    self.assertTrue(os.path.exists(f'{self.run_folder}/best/ckpt-00000003.index'))
    rows = metrics_log.ReadMetrics(f'{self.run_folder}/metrics.jsonl')
    self.assertEqual([row['step'] for row in rows if row['dataset'] == 'train'], [2, 4, 6, 8, 9])


if __name__ == '__main__':
  graph_case.absltest.main()
