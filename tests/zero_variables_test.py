"""Variables of zeros have all but the values of those that layers would have created."""

from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.runtime import zero_variables
from tests import graph_case


def _Described(variables):
  return {v.name: (v.dtype, v.shape.as_list(), v.trainable, v.device) for v in variables}


class ScopeTest(graph_case.GraphCase):
  def _Layer(self):
    return layers.FCLayer.Params().Set(name='fc', input_dim=3, output_dim=2).Instantiate()

  def test_as_created_one_by_one(self):
    with self.NewGraph():
      self._Layer()
      expected = [_Described(tf.global_variables()), _Described(tf.trainable_variables())]
      l2 = [v.name for v in tf.get_collection(py_utils.SKIP_LP_REGULARIZATION)]
    with self.NewGraph():
      with zero_variables.Scope():
        layer = self._Layer()
      self.assertEqual([_Described(tf.global_variables()), _Described(tf.trainable_variables())], expected)
      self.assertEqual([v.name for v in tf.get_collection(py_utils.SKIP_LP_REGULARIZATION)], l2)
      self.Eval([v.initializer for v in layer.vars.Flatten()])
      self.assertEqual(self.Eval(layer.vars.w).tolist(), [[0.0] * 2] * 3)
      graph_case.Load(self._session, {layer.vars.w: [[1.0, 2.0]] * 3})
      self.assertEqual(self.Eval(layer.FProp(layer.theta, tf.ones([1, 3]))).tolist(), [[3.0, 6.0]])


if __name__ == '__main__':
  absltest.main()
