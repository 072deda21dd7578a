"""A chain of layers that is traced once computes what the layers compute one by one."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.layers import conformer_encoder
from fm_lingvo.layers import shared_trace
from tests import graph_case


class SharedTraceTest(graph_case.GraphCase):
  def _Encoder(self, **overrides):
    p = conformer_encoder.ConformerEncoder.Params().Set(
      model_dim=8, num_layers=3, num_heads=2, kernel_size=3, dropout_prob=0.5, random_seed=3
    )
    p.num_bins = 80
    p.subsampling.kind = 'stack'
    return self.Layer(p, **overrides)

  def _EncodedAndGradients(self):
    """Encoded frames, a draw after them, and the gradients of a sum by the variables; the number of nodes for it."""
    with self.NewGraph():
      graph = tf.get_default_graph()
      layer = self._Encoder(adapters=['here'], active_adapter='here', adapter_position='after_ff')
      rng = np.random.RandomState(0)
      features, weights = (tf.constant(rng.randn(*shape).astype(np.float32)) for shape in ([2, 16, 80], [2, 4, 8]))
      before = len(graph.get_operations())
      encoded, _ = layer.FProp(layer.theta, features, tf.zeros([2, 16]))
      later = layer.dropout.FProp(layer.theta.dropout, tf.ones([20]))
      gradients = tf.gradients(tf.reduce_sum(weights * encoded), [v for v in layer.vars.Flatten() if v.trainable])
      return self.Eval(encoded, later, *gradients), len(graph.get_operations()) - before

  def test_values_gradients_and_dropout_are_those_of_layers_one_by_one(self):
    found, nodes = self._EncodedAndGradients()
    with shared_trace.Off():
      expected, more = self._EncodedAndGradients()
    self.assertLess(nodes, 0.5 * more)
    for value, wanted in zip(found, expected, strict=True):
      np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4)

  def test_each_layer_has_dropout_of_its_own(self):
    encoder = self._Encoder()
    state = py_utils.NestedMap(x=tf.ones([1000]))
    dropped = shared_trace.Chain([_OfMaps(encoder.dropout)] * 3, [encoder.theta.dropout] * 3, state)
    found = self.Eval(dropped.x)
    self.assertAlmostEqual(np.mean(found > 0), 0.125, delta=0.05)

  def test_layers_with_other_params_are_traced_one_by_one(self):
    keep_all = layers.DeterministicDropoutLayer.Params().Set(name='all', keep_prob=1.0).Instantiate()
    keep_some = layers.DeterministicDropoutLayer.Params().Set(name='some', keep_prob=0.5).Instantiate()
    state = py_utils.NestedMap(x=tf.ones([1000]))
    found = shared_trace.Chain([_OfMaps(keep_all), _OfMaps(keep_some)], [keep_all.theta, keep_some.theta], state)
    self.assertAlmostEqual(np.mean(self.Eval(found.x) > 0), 0.5, delta=0.1)


class _OfMaps:
  """A layer as shared_trace.Chain expects it."""

  def __init__(self, layer):
    self.params, self._layer = layer.params, layer

  def FProp(self, theta, state):
    return state.Transform(lambda x: self._layer.FProp(theta, x))


if __name__ == '__main__':
  absltest.main()
