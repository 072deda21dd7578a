"""Every step of every experiment compiles with XLA; what does not is named, with its line.

XLA takes most of a minute for an experiment. asr.BestRqPretrain stands for all of them in the fast tests; the losses
and layers of the others are compiled by their own tests.
"""

import re
from unittest import mock

import pytest
from absl import flags
from absl.testing import absltest
from absl.testing import parameterized
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo import hydra
from fm_lingvo.config import gin_config
from fm_lingvo.config import registry
from fm_lingvo.training import xla_check
from params import labeled
from tests import graph_case
from tests import tiny_data
from tests import xla_dumps

_EXPERIMENTS = sorted(
  n for n in registry.ListExperiments() if registry.Known()[n].__module__.rpartition('.')[2] in ('asr', 'librispeech')
)

_FAST = 'asr.BestRqPretrain'


class XlaCheckTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    saved = flags.FLAGS.enable_asserts
    flags.FLAGS.enable_asserts = False
    self.addCleanup(setattr, flags.FLAGS, 'enable_asserts', saved)
    self.addCleanup(gin_config.Reset)
    # Evaluation compiles the same ops for a tenth of its seconds, and runs them once.
    self.enter_context(mock.patch.object(labeled, '_LONGEST_SECONDS', 4.0))

  def _Check(self, name, *bindings):
    knobs = name.rpartition('.')[2]
    gin_config.Configure(
      name,
      (),
      [
        *tiny_data.Bindings(registry.Known()[name]),
        f'{knobs}.max_seconds = 2.0',
        f'{knobs}.batch_seconds = 4.0',
        *bindings,
      ],
    )
    return list(xla_check.Check(name, xla_dumps.FOLDER))

  def test_an_experiment_without_speech_is_refused(self):
    gin_config.Configure('text.LanguageModel')
    with self.assertRaisesRegex(errors.ConfigError, '--mode=xla_check: text.LanguageModel reads no speech'):
      list(xla_check.Check('text.LanguageModel', xla_dumps.FOLDER))

  def test_every_step_compiles(self):
    self._CheckSteps(_FAST)

  @parameterized.parameters(*(name for name in _EXPERIMENTS if name != _FAST))
  @pytest.mark.slow
  def test_every_step_of_other_experiments_compiles(self, name):
    self._CheckSteps(name)

  def _CheckSteps(self, name):
    bindings = []
    if name == 'asr.FromScratch':  # With all its streams.
      bindings = ['FromScratch.source_weight = 1.0', 'FromScratch.gradient_accumulation_steps = 2']
    elif name == 'asr.JustHydra':
      bindings = ['JustHydra.source_best_rq_weight = 0.1', 'JustHydra.num_codebooks = 2', 'task.train.ema_decay = 0.9']
    elif name == 'asr.AdapterFinetune':
      bindings = ['AdapterFinetune.adapter_lr_scale = 3.0', 'AdapterFinetune.train_layer_norms = True']
    reports = self._Check(name, *bindings)
    self.assertEqual(reports[0].step, 'Train')
    self.assertGreater(len(reports), 1)
    for report in reports:
      self.assertGreater(report.ops, 500)
      self.assertGreater(report.temp_bytes, 10000)
      self.assertGreater(report.seconds, 0)
      self.assertRegex(
        xla_check.Format(report),
        (
          r'^\w+: compiled, [\d,]+ ops, \d+\.\d MB of temporary memory, \d+\.\d s '
          r'\(batch: \w+ \d+ x \d+\.\d s'
        ),
      )
    streams = {name for name in reports[0].batch}
    expected = {'labeled'}
    if name == 'asr.FromScratch':
      expected = {'labeled', 'source'}
    elif 'Pretrain' in name or 'Hydra' in name:
      expected = {'unlabeled'} | ({'labeled'} if 'Hydra' in name else set())
    self.assertEqual(streams, expected)

  @parameterized.parameters('asr.JustHydra', 'asr.AdapterFinetune')
  @pytest.mark.slow
  def test_every_step_compiles_in_bfloat16(self, name):
    knobs = name.rpartition('.')[2]
    for report in self._Check(name, f'{knobs}.compute_dtype = "bfloat16"'):
      self.assertGreater(report.ops, 500)

  def test_an_op_that_does_not_compile_is_named_with_its_line(self):
    original = hydra.HydraTask.ComputeLoss

    def ComputeLoss(task, *args):
      metrics, tensors = original(task, *args)
      metrics['more'] = tf.numpy_function(lambda x: x, [metrics['loss'][0]], tf.float32), 1.0
      return metrics, tensors

    with mock.patch.object(hydra.HydraTask, 'ComputeLoss', ComputeLoss):
      with self.assertRaises(xla_check.XlaError) as caught:
        self._Check('asr.BestRqPretrain')
    message = str(caught.exception)
    self.assertNotIn('\n', message)
    self.assertRegex(message, r"^Train: PyFunc: No registered 'PyFunc' OpKernel for XLA_CPU")
    self.assertRegex(message, re.escape(__file__) + r':\d+: .*tf\.numpy_function\(')


del graph_case  # Sets up TensorFlow.

if __name__ == '__main__':
  absltest.main()
