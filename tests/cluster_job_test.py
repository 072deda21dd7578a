"""The evaluation job: which checkpoints it evaluates; cluster_test.py runs it beside a cluster."""

import os
import tempfile
from unittest import mock

from absl.testing import absltest
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.evaluation import cluster_job
from fm_lingvo.run_files import metrics_log


class _Evaluations:
  """Stands for run_evaluations.Evaluations: writes rows, evaluates nothing."""

  def __init__(self, params, logdir):
    self._rows = metrics_log.MetricsLog(logdir)
    self.steps = []

  def Evaluator(self, unused_name):
    return mock.Mock()

  def Run(self, name, step, weights):
    del weights
    self._rows.Write(name, step, {'loss': 1.0})
    self.steps.append(step)
    return {}, f'step {step}'


class EvaluationJobTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.logdir = folder.name

  def _Run(self, checkpoints, max_steps=8):
    """Runs a job that finds, time after time, these newest checkpoints; returns the steps it evaluated."""
    params = hyperparams.Params()
    params.Define('task', hyperparams.Params(), '')
    params.task.Define('train', hyperparams.Params(), '')
    params.task.train.Define('max_steps', max_steps, '')
    found = iter([path and os.path.join(self.logdir, 'train', path) for path in checkpoints])
    with (
      mock.patch.object(cluster_job.run_evaluations, 'Evaluations', _Evaluations),
      mock.patch.object(cluster_job.run_dir, 'CopyTokenizers'),
      mock.patch.object(cluster_job.reader, 'Checkpoint'),
      mock.patch.object(cluster_job.run_checkpoints, 'Newest', side_effect=lambda _: next(found)),
    ):
      job = cluster_job.EvaluationJob('Dev', params, self.logdir)
      job.Run(poll_seconds=0)
      return job._evaluations.steps

  def test_each_newest_checkpoint_once_and_the_end_after_the_last(self):
    self.assertEqual(
      self._Run([None, 'ckpt-00000002', 'ckpt-00000002', 'ckpt-00000006', 'ckpt-00000008', 'never read']), [2, 6, 8]
    )

  def test_a_job_that_is_started_again_evaluates_what_is_left(self):
    self._Run(['ckpt-00000004'], max_steps=4)
    self.assertEqual(self._Run(['ckpt-00000004', 'ckpt-00000008']), [8])
    self.assertEqual(self._Run(['ckpt-00000008']), [])
    rows = metrics_log.ReadMetrics(os.path.join(self.logdir, 'metrics.jsonl'))
    self.assertEqual([row['step'] for row in rows], [4, 8])

  def test_rows_of_other_data_sets_do_not_count(self):
    metrics_log.MetricsLog(self.logdir).Write('Test', 8, {})
    self.assertEqual(self._Run(['ckpt-00000008']), [8])

  def test_a_checkpoint_without_a_step_is_named(self):
    with self.assertRaisesRegex(errors.ConfigError, r'/train/mean-of: no step in its name; expected ckpt-STEP'):
      self._Run(['mean-of'])


if __name__ == '__main__':
  absltest.main()
