"""The CPU's forms of Lingvo's layers give what Lingvo's own give, gradients too."""

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from lingvo import compat as tf
from lingvo.core import attention_util
from lingvo.core import conformer_layer
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.layers import conformer_cpu
from fm_lingvo.layers import layer_norm
from tests import graph_case


class CpuLayersTest(graph_case.GraphCase, parameterized.TestCase):
  @parameterized.product(time=(1, 2, 3, 8), static=(True, False))
  def test_relative_positions_are_lingvos(self, time, static):
    rng = np.random.default_rng(0)
    content, embedding = (
      rng.standard_normal(shape).astype(np.float32) for shape in ([2, time, 3, 4], [2 * time - 1, 3, 4])
    )
    direction = rng.standard_normal([2, 3, time, time]).astype(np.float32)
    results = []
    for cls in (attention_util.PositionalAttenLogits, conformer_cpu.PositionalAttenLogits):
      layer = self.Layer(cls.Params())
      inputs = [tf.constant(content), tf.constant(embedding)]
      if not static:
        inputs = [tf.placeholder_with_default(x, [None] * x.shape.rank) for x in inputs]
      bias = layer.RelPositionBias(*inputs)
      results.append(self.Eval(bias, *tf.gradients(bias, inputs, direction)))
    for expected, found in zip(*results):
      np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_relative_positions_by_hand(self):
    layer = self.Layer(conformer_cpu.PositionalAttenLogits.Params())
    distances = tf.reshape(tf.range(-2.0, 3.0), [5, 1, 1])  # Of T = 3.
    found = self.Eval(layer.RelPositionBias(tf.ones([1, 3, 1, 1]), distances))
    np.testing.assert_array_equal(found[0, 0], [[0, -1, -2], [1, 0, -1], [2, 1, 0]])

  def test_a_bias_without_queries_is_lingvos(self):
    layer = self.Layer(conformer_cpu.PositionalAttenLogits.Params())
    bias = layer.RelPositionBias(tf.ones([1, 1]), tf.reshape(tf.range(-1.0, 2.0), [3, 1, 1]), skip_term_b=True)
    np.testing.assert_array_equal(self.Eval(bias), [[[0, -1], [1, 0]]])

  def test_projections_are_lingvos(self):
    x, direction = self._Random([2, 5, 4]), self._Random([2, 5, 3])
    results = []
    for use in (False, True):
      p = layers.FCLayer.Params().Set(input_dim=4, output_dim=3, activation='NONE', random_seed=1)
      holder = layers.FeedForwardNet.Params().Set(projection=p)
      if use:
        conformer_cpu.Use(holder)
        self.assertIsNot(holder.projection.cls, layers.FCLayer)
      with self.NewGraph():
        layer = self.Layer(holder.projection)
        inputs = tf.constant(x)
        y = layer.FProp(layer.theta, inputs)
        results.append(self.Eval(y, *tf.gradients(y, [inputs, *layer.vars.Flatten()], direction)))
    for expected, found in zip(*results):
      np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_activations_of_bfloat16_are_computed_in_float32(self):
    holder = layers.FeedForwardNet.Params()
    holder.projection = layers.FCLayer.Params().Set(
      input_dim=4, output_dim=3, activation='SWISH', random_seed=1, fprop_dtype=tf.bfloat16
    )
    conformer_cpu.Use(holder)
    layer = self.Layer(holder.projection)
    x = tf.constant(self._Random([2, 5, 4]), tf.bfloat16)
    found = layer.FProp(layer.theta, x)
    plain = holder.projection.Copy().Set(name='plain', activation='NONE').Instantiate()
    product = plain.FProp(layer.theta, x)  # Of the same kernel: processors round products differently.
    self.assertEqual(found.dtype, tf.bfloat16)
    np.testing.assert_array_equal(
      *self.Eval(
        tf.cast(found, tf.float32), tf.cast(tf.cast(tf.nn.silu(tf.cast(product, tf.float32)), tf.bfloat16), tf.float32)
      )
    )

  def test_swish_is_tensorflows(self):
    x = tf.constant(4 * self._Random([2, 5, 3]))
    direction = self._Random([5, 3])
    results = [self.Eval(y, *tf.gradients(y, x, direction * x)) for y in (tf.nn.silu(x), conformer_cpu.Swish(x))]
    for expected, found in zip(*results):
      np.testing.assert_allclose(found, expected, atol=1e-6)

  @parameterized.parameters(tf.float32, tf.bfloat16)
  def test_layer_norm_is_lingvos(self, dtype):
    x, direction, results = 3 + self._Random([2, 5, 4]), self._Random([2, 5, 4]), []
    for cls in (layers.LayerNorm, layer_norm.LayerNorm):
      with self.NewGraph():
        layer = self.Layer(cls.Params().Set(input_dim=4, use_defun=False, fprop_dtype=tf.float32))
        inputs = tf.cast(x, dtype)
        y = layer.FProp(layer.theta, inputs)
        if cls is layer_norm.LayerNorm:
          self.assertEqual(y.dtype, dtype)
        y = tf.cast(y, tf.float32)
        gradients = tf.gradients(y, [inputs, *layer.vars.Flatten()], direction)
        results.append(self.Eval(y, *(tf.cast(g, tf.float32) for g in gradients)))
    for expected, found in zip(*results):
      np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == tf.float32 else 0.1)

  def test_a_block_is_lingvos_where_frames_are_not_padded(self):
    # Graphs, since the gradients are those of the whole block.
    paddings = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]], np.float32)
    direction, results = self._Random([2, 5, 8]) * (1 - paddings[:, :, None]), []
    for use in (False, True):
      p = conformer_layer.ConformerLayer.CommonParams(
        input_dim=8, atten_num_heads=2, kernel_size=3, fflayer_hidden_dim=16, is_causal=False, use_relative_atten=True
      )
      p.lconv_tpl.conv_norm_layer_tpl = layers.LayerNorm.Params()
      if use:
        conformer_cpu.Use(p)
      with self.NewGraph():
        layer = self.Layer(p.Set(name='block', random_seed=1))
        inputs = self._Inputs()
        inputs.paddings = tf.constant(paddings)
        y = layer.FProp(layer.theta, inputs).features
        gradients = tf.gradients(y, [inputs.features, *layer.vars.Flatten()], direction)
        results.append(self.Eval(y * (1 - paddings[:, :, None]), *gradients))
    for expected, found in zip(*results):
      np.testing.assert_allclose(found, expected, atol=1e-5)

  def test_a_block_has_them_everywhere(self):
    p = conformer_layer.ConformerLayer.CommonParams(
      input_dim=8, atten_num_heads=2, kernel_size=3, fflayer_hidden_dim=16, is_causal=False, use_relative_atten=True
    )
    conformer_cpu.Use(p)
    with self.NewGraph():
      layer = self.Layer(p.Set(name='block'))
      state = layer.FProp(layer.theta, self._Inputs())
      products = [op for op in tf.get_default_graph().get_operations() if op.type == 'BatchMatMulV2']
      reversed_rows = [
        op
        for op in tf.get_default_graph().get_operations()
        if op.type == 'StridedSlice' and 'term_bd' in op.name and len(op.inputs[0].shape) == 4
      ]
      functions = [op for op in tf.get_default_graph().get_operations() if 'PartitionedCall' in op.type]
    self.assertEmpty(products)
    self.assertEmpty(reversed_rows)
    self.assertEmpty(functions)
    self.assertEqual(state.features.shape, [2, 5, 8])

  def _Inputs(self):
    """A batch of a block."""
    return py_utils.NestedMap(features=tf.constant(self._Random([2, 5, 8])), paddings=tf.zeros([2, 5]))

  def _Random(self, shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


if __name__ == '__main__':
  absltest.main()
