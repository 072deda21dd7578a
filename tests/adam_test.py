"""Adam with slots created at once has the variables and the updates of Lingvo's."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import optimizer
from lingvo.core import py_utils

from fm_lingvo.training import adam
from tests import graph_case


class AdamTest(graph_case.GraphCase):
  def _Trained(self, cls):
    """Names of all variables, and their values after two steps."""
    with self.NewGraph():
      with tf.variable_scope('task'):
        one = tf.get_variable('one', initializer=tf.constant([1.0, -2.0]), use_resource=True)
        two = tf.get_variable('two', initializer=tf.constant([[0.5]]), use_resource=True)
      pairs = py_utils.NestedMap(one=py_utils.VarGrad(one, 2.0 * one), two=py_utils.VarGrad(two, two - 3.0))
      layer = cls.ParamsB().Instantiate()
      step = layer.Apply(0.1, pairs)
      self.Eval(*[v.read_value() for v in (one, two)])
      for _ in range(2):
        self._session.run(step)
      variables = tf.global_variables()
      self.created = {op.name for op in tf.get_default_graph().get_operations()}
      return [v.op.name for v in variables], self.Eval(*[v.read_value() for v in variables])

  def test_variables_and_updates_are_those_of_lingvo(self):
    names, values = self._Trained(adam.Adam)
    # As zero_variables creates them: the optimizer of this TensorFlow still asks for its slots where adam.py answers.
    self.assertContainsSubset({'task/one/Adam/zeros', 'task/two/Adam_1/zeros'}, self.created)
    expected_names, expected = self._Trained(optimizer.Adam)
    self.assertCountEqual(names, expected_names)
    self.assertIn('task/one/Adam', names)
    expected = dict(zip(expected_names, expected, strict=True))
    for name, value in zip(names, values, strict=True):
      np.testing.assert_array_equal(value, expected[name])

  def test_params_of_lingvos_adam_are_replaced_wherever_they_are(self):
    p = optimizer.Accumulator.Params().Set(optimizer_tpl=optimizer.Adam.ParamsB())
    adam.Use(p)
    self.assertIs(p.optimizer_tpl.cls, adam.Adam)


if __name__ == '__main__':
  absltest.main()
