"""Names that users choose do not meet those of our own metrics, layers, rows and folders."""

import types
from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo.core import schedule

from fm_lingvo import errors
from fm_lingvo import hydra
from fm_lingvo.config import gin_config
from fm_lingvo.config import registry
from fm_lingvo.data import hydra_input
from fm_lingvo.data import importers as api
from fm_lingvo.heads import best_rq_head
from fm_lingvo.heads import branch as branch_lib
from fm_lingvo.run_files import metrics_log
from fm_lingvo.training import flag_checks
from fm_lingvo.utils import own_names
from params import asr
from tools import prepare_data
from tools.common import exit_codes
from tools.prepare import importers


def _Task(branch='unlabeled', head='best_rq', stream='unlabeled'):
  p = hydra.HydraTask.Params()
  hydra.HydraTask.AddHead(p, head, best_rq_head.BestRqHead.Params())
  hydra.HydraTask.AddBranch(p, branch, stream, head)
  return p


class OwnNamesTest(absltest.TestCase):
  def test_a_branch_that_is_named_as_a_metric_of_ours_is_refused(self):
    branch_lib.CheckAll(_Task())
    for name in (*own_names.METRICS, 'items', 'get'):
      with self.assertRaises(errors.ConfigError) as caught:
        branch_lib.CheckAll(_Task(branch=name))
      self.assertEqual(
        str(caught.exception), f'task.branches.{name}: this name is taken; expected another one, such as {name}_1'
      )
    # Why: this metric of it would be taken for that of a skipped step.
    self.assertTrue(own_names.IsSkipped({'skipped/loss': (1.0, 1.0)}))

  def test_a_head_that_is_named_as_another_layer_is_refused(self):
    for name in ('encoder', 'frontend', 'input', 'learners', 'unlabeled_weight'):
      p = _Task(head=name)
      p.branches.unlabeled.weight_schedule = schedule.Constant.Params()
      with self.assertRaisesRegex(errors.ConfigError, rf'^task\.heads\.{name}: this name is taken'):
        branch_lib.CheckAll(p)

  def test_adapters_that_are_named_as_a_head_are_refused(self):
    # Else `/ctc/`, the variables of the decoder, would be found in encoder/adapters/ctc/, too.
    p = _Task(head='ctc')
    p.encoder.adapters = ['target', 'ctc']
    with self.assertRaisesRegex(errors.ConfigError, r'^task\.encoder\.adapters\.ctc: this name is taken'):
      branch_lib.CheckAll(p)

  def test_a_stream_that_is_named_as_a_metric_of_ours_is_refused(self):
    p = hydra_input.HydraInput.Params()
    hydra_input.AddStream(p, 'throughput', hydra_input.StreamParams())
    with self.assertRaisesRegex(errors.ConfigError, r'^input\.streams\.throughput: this name is taken'):
      hydra_input.Validate(p)

  def test_metrics_and_tensors_of_a_head_do_not_replace_ours(self):
    tensors = {'mask': 1}
    own_names.Add(tensors, {'features': 2}, 'task.heads.mine')
    self.assertEqual(tensors, {'mask': 1, 'features': 2})
    with self.assertRaisesRegex(errors.ConfigError, r'^task\.heads\.mine: the name mask is taken; expected'):
      own_names.Add(tensors, {'mask': 3}, 'task.heads.mine')
    with self.assertRaisesRegex(errors.ConfigError, '^metrics: the name labeled/examples is taken'):
      metrics_log.Aggregate([{'labeled/examples': (1.0, 1.0)}], [{'labeled/weights': np.ones([2])}])

  def test_best_metric_must_be_of_a_branch_or_stream(self):
    p = _Task(branch='masked')
    for metric in ('loss', 'masked/loss', 'unlabeled/examples'):
      branch_lib.CheckMetric(p, metric)
    with self.assertRaisesRegex(
      errors.ConfigError,
      "^task.train.best_metric: branch or stream = 'maskde': expected one of masked, unlabeled; did you mean masked",
    ):
      branch_lib.CheckMetric(p, 'maskde/loss')
    with self.subTest('before a run starts, and by --dry_run'):
      gin_config.Configure('asr.Supervised', (), ["task.train.best_metric = 'DevTarget/labled/wer'"])
      self.addCleanup(gin_config.Reset)
      with self.assertRaisesRegex(errors.ConfigError, "'labled': expected .*did you mean labeled?"):
        flag_checks.CheckDatasets(types.SimpleNamespace(model='asr.Supervised', job=''))

  def test_an_option_of_an_importer_is_no_flag_of_the_tool(self):
    for names in (('num_shards',), ('mine', 'mine')):
      importer = api.Importer(print, tuple(api.Option(name, None, '') for name in names))
      with (
        mock.patch.object(importers, 'GetImporter', return_value=importer),
        self.assertRaisesRegex(exit_codes.UsageError, f'^--importer=radio: its option {names[0]}: this name is taken$'),
      ):
        prepare_data._OwnOptions('radio', [f'--{names[0]}=1'])

  def test_names_of_experiments_and_data_sets(self):
    def Register(name, **methods):
      registry.RegisterExperiment(type(name, (asr.BestRqPretrain,), methods), name='test.OwnNames')

    def DataSet(self):
      return None

    for name, methods, message in (
      ('lower', {}, 'lower: expected a name that begins with a capital; in Gin, others are paths of params'),
      (
        'Rows',
        {'train': DataSet},
        'Rows.train: rows of metrics.jsonl with this name are of training',
      ),
      (
        'Knob',
        {'__annotations__': {'experiment': str}, 'experiment': ''},
        "Knob.experiment: TensorBoard's HParams have",
      ),
      ('Two', {'devhuman': DataSet}, 'Two.devhuman: differs from DevHuman in capitals alone; their evaluations would'),
    ):
      with self.subTest(name), self.assertRaisesRegex(TypeError, message):
        Register(name, **methods)


if __name__ == '__main__':
  absltest.main()
