"""Learning rates of groups of variables: exact multiples, and what no group names trains as without groups.

Builds graphs of two variables, since the property is one of the update.
"""

import numpy as np
from absl.testing import flagsaver
from absl.testing import parameterized
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import optimizer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.config import train_params
from fm_lingvo.run_files import metrics_log
from fm_lingvo.training import nonfinite_steps
from params import asr  # noqa: F401
from tests import graph_case

_ADAM = optimizer.Adam.ParamsB()
_ACCUMULATED = optimizer.Accumulator.Params().Set(optimizer_tpl=_ADAM, accum_steps=2, dtype=tf.float32)


class RateGroupsTest(graph_case.GraphCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(flagsaver.flagsaver(enable_check_numerics=False))  # As fm_lingvo/training/launch.py does.
    self.addCleanup(gin_config.Reset)

  def _Train(self, groups, opt=_ADAM, steps=4):
    """(dict: name of a variable -> [values after each step], metrics of the last step)."""
    with self.NewGraph():
      variables = py_utils.NestedMap(
        {
          name: py_utils.CreateVariable(name, py_utils.WeightParams([3], init=py_utils.WeightInit.Constant(1.0)))
          for name in ('adapter', 'decoder', 'other')
        }
      )
      learner = (
        nonfinite_steps.Learner.Params()
        .Set(name='loss', learning_rate=0.01, optimizer=opt, clip_gradient_norm_to_value=1.0, rate_groups=groups)
        .Instantiate()
      )

      def _Step():
        loss = tf.add_n([tf.reduce_sum((w - i) ** 2) for i, w in enumerate(variables.Flatten(), 2)])
        _, update, metrics = learner.Apply({'loss': (loss, tf.constant(1.0))}, variables)
        with tf.control_dependencies([update]):
          return metrics, tf.assign_add(py_utils.GetGlobalStep(), 1)

      fetches = _Step()
      found = {name: [] for name in variables}
      with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for _ in range(steps):
          metrics, _ = sess.run(fetches)
          for name, value in sess.run({name: variables[name] for name in variables}).items():
            found[name].append(value)
    return found, metrics

  @parameterized.parameters((_ADAM,), (_ACCUMULATED,), (optimizer.SGD.Params(),))
  def test_the_first_update_is_a_multiple_and_the_others_are_bit_equal(self, opt):
    steps = 2 if 'accum_steps' in opt else 1
    plain, _ = self._Train([], opt, steps)
    scaled, metrics = self._Train([['adapters', 'adapter', 3.0], ['decoder', 'decoder', 0.5]], opt, steps)
    np.testing.assert_array_equal(scaled['other'], plain['other'])
    for name, factor in (('adapter', 3.0), ('decoder', 0.5)):
      np.testing.assert_allclose(scaled[name][-1] - 1.0, factor * (plain[name][-1] - 1.0), rtol=1e-4)
    self.assertAlmostEqual(metrics['learning_rate_of/adapters'][0], 0.03, places=6)

  def test_a_factor_of_one_changes_nothing(self):
    plain, _ = self._Train([])
    scaled, _ = self._Train([('all', '.', 1.0)])
    for name, values in plain.items():
      np.testing.assert_array_equal(scaled[name], values)

  def test_groups_without_variables_or_with_those_of_another_are_refused(self):
    with self.assertRaisesRegex(errors.ConfigError, '^task.train.learner.rate_groups: gone: its .* matches no'):
      self._Train([('gone', 'adaptor', 2.0)])
    with self.assertRaisesRegex(errors.ConfigError, 'rate_groups: b: adapter/var:0 is in another group, too'):
      self._Train([('a', 'adapter', 2.0), ('b', '^adap', 2.0)])

  @parameterized.parameters(
    ([('a', 'x')], r'a list of \(name, regular expression, factor\)'),
    ([('a b', 'x', 2.0)], "a name of letters, digits and _, not 'a b'"),
    ([('a', 'x', 0.0)], 'a factor > 0 of a, not 0.0'),
    ([('a', '(', 2.0)], r"a regular expression of a, not '\('"),
    ([('a', 'x', 2.0), ('a', 'y', 2.0)], 'names that differ'),
  )
  def test_a_wrong_group_is_named(self, groups, expected):
    gin_config.Configure('asr.Supervised', (), [])
    tp = model_registry.GetParams('asr.Supervised', 'Train').task.train
    tp.learner.rate_groups = groups
    with self.assertRaisesRegex(errors.ConfigError, rf'^task\.train\.learner\.rate_groups = .*: expected {expected}'):
      train_params.Validate('task.train', tp)

  def test_the_scalars_have_the_names_of_the_groups(self):
    one = (1.0, 1.0)
    values = metrics_log.Aggregate([{'learning_rate/loss': one, 'learning_rate_of/adapters/loss': (3.0, 1.0)}], [])
    self.assertEqual(values, {'learning_rate': 1.0, 'learning_rate/adapters': 3.0})

  def test_the_knobs_of_adapter_finetuning_make_groups(self):
    for knobs, expected in (
      ([], []),
      (['adapter_lr_scale = 3.0'], [('adapters', 'encoder/adapters/target/', 3.0)]),
      (['decoder_lr_scale = 0.5'], [('decoder', '/transducer/|/ctc/', 0.5)]),
    ):
      gin_config.Configure('asr.AdapterFinetune', (), [f'AdapterFinetune.{knob}' for knob in knobs])
      self.assertEqual(
        model_registry.GetParams('asr.AdapterFinetune', 'Train').task.train.learner.rate_groups, expected
      )
      gin_config.Reset()


if __name__ == '__main__':
  graph_case.absltest.main()
