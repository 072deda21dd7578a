"""The filter gradient by matrix products is TensorFlow's. Graphs, since TensorFlow's gradient is the reference."""

from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from lingvo import compat as tf

from fm_lingvo.layers import strided_conv
from fm_lingvo.layers import subsampling
from tests import graph_case


class StridedConvTest(graph_case.GraphCase, parameterized.TestCase):
  @parameterized.product(
    time=(1, 4, 5, 8),
    bins=(3, 8),
    strides=((2, 2), (1, 3)),
    padding=('SAME', [[0, 0], [2, 2], [1, 2], [0, 0]]),
    static=(True, False),
  )
  def test_the_filter_gradient_is_tensorflows(self, time, bins, strides, padding, static):
    rng = np.random.default_rng(0)
    inputs, filters = (rng.standard_normal(shape).astype(np.float32) for shape in ([2, time, bins, 4], [3, 3, 4, 5]))
    x = tf.constant(inputs) if static else tf.placeholder_with_default(inputs, [None, None, None, 4])
    w = tf.constant(filters)
    results = []
    for convolve in (tf.nn.conv2d, strided_conv._Convolve):
      y = convolve(x, w, strides, padding)
      results.append(self.Eval(y, *tf.gradients(y * y, [x, w])))
    for theirs, ours in zip(*results, strict=True):
      np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)

  @parameterized.parameters(True, False)
  def test_the_subsampling_trains_as_without_it(self, causal):
    features = np.random.default_rng(0).standard_normal([2, 12, 10]).astype(np.float32)
    paddings = (np.arange(12) >= [[12], [8]]).astype(np.float32)
    results = []
    for least in (1, 10**9):
      with mock.patch.object(strided_conv, '_LEAST_CHANNELS', least), self.NewGraph():
        p = subsampling.Subsampling.Params().Set(num_bins=10, channels=6, model_dim=7, causal=causal, random_seed=3)
        layer = self.Layer(p)
        y, _ = layer.FProp(layer.theta, tf.constant(features), tf.constant(paddings))
        weights = layer.vars.Flatten()
        results.append(self.Eval(y, *tf.gradients(y * y, weights)))
        used = [op for op in tf.get_default_graph().get_operations() if op.type == 'Conv2DBackpropFilter']
        self.assertEqual(bool(used), least > 1)
    for one, other in zip(*results, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


if __name__ == '__main__':
  absltest.main()
