"""Properties of the Conformer encoder."""

import re

import numpy as np
from absl.testing import absltest
from absl.testing import flagsaver
from lingvo import compat as tf

from fm_lingvo.layers import conformer_encoder
from tests import graph_case


class _Case(graph_case.GraphCase):
  def _Encoder(self, **overrides):
    p = conformer_encoder.ConformerEncoder.Params().Set(
      model_dim=16, num_layers=2, num_heads=2, kernel_size=5, dropout_prob=0.0, random_seed=3
    )
    p.num_bins = 80
    p.subsampling.channels = 4
    for field in ('kind', 'factor', 'channels'):
      if field in overrides:
        p.subsampling.Set(**{field: overrides.pop(field)})
    return self.Layer(p, **overrides)

  def _Encode(self, layer, features, lengths):
    paddings = (np.arange(features.shape[1])[None] >= np.asarray(lengths)[:, None]).astype(np.float32)
    x, pads = layer.FProp(layer.theta, tf.constant(features * (1 - paddings[:, :, None])), tf.constant(paddings))
    return self.Eval(x, pads)

  def _Features(self, *shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)


class ConformerEncoderTest(_Case):
  """With Lingvo's checks of shapes and numbers while a graph runs, which are half of an encoder's operations."""

  def setUp(self):
    super().setUp()
    self.enter_context(flagsaver.flagsaver(enable_asserts=True, enable_check_numerics=True))

  def test_an_encoded_frame_each_4_or_8_frames(self):
    for kind in ('conv', 'stack'):
      for factor in (4, 8):
        with self.subTest(kind, factor=factor), self.NewGraph():
          layer = self._Encoder(kind=kind, factor=factor, num_layers=1)
          x, pads = self._Encode(layer, self._Features(2, 64, 80), [64, 30])
          self.assertEqual(layer.downsample_factor, factor)
          self.assertEqual(x.shape, (2, 64 // factor, 16))
          np.testing.assert_array_equal((1 - pads).sum(axis=1), [64 // factor, 30 // factor])

  def test_encoding_does_not_depend_on_padding_or_batch(self):
    # Of two blocks, where what the first one makes of padding could get into the second; all blocks are alike.
    one_block = dict(num_layers=1)
    for settings in (
      dict(kind='conv'),
      dict(kind='stack', **one_block),
      dict(factor=8, **one_block),
      dict(conv_norm='group_norm', group_norm_groups=4),
      dict(atten_left_context=8, atten_right_context=4, **one_block),
      dict(atten_chunk_size=4, **one_block),
      dict(atten_chunk_size=4, atten_left_context=4, **one_block),
    ):
      with self.subTest(**settings), self.NewGraph():
        layer = self._Encoder(**settings)
        inputs, paddings = tf.placeholder(tf.float32, [None, None, 80]), tf.placeholder(tf.float32, [None, None])
        encoded, _ = layer.FProp(layer.theta, inputs, paddings)  # Built once for both.
        self.Eval(tf.zeros([]))

        def _Encode(features, lengths):
          pads = (np.arange(features.shape[1])[None] >= np.asarray(lengths)[:, None]).astype(np.float32)
          return self._session.run(encoded, {inputs: features * (1 - pads[:, :, None]), paddings: pads})

        features = self._Features(3, 64, 80)
        alone = _Encode(features[1:2, :40], [40])
        padded = np.concatenate([features, np.zeros([3, 64, 80], np.float32)], 1)
        together = _Encode(padded, [64, 40, 12])
        np.testing.assert_allclose(together[1, : alone.shape[1]], alone[0], atol=2e-4)

  def test_attention_sees_the_frames_of_its_contexts_and_no_others(self):
    frames = 8
    features = np.tile(self._Features(1, 4 * frames, 80), [frames + 1, 1, 1])
    for i in range(frames):  # Row i has another encoded frame i than the last row.
      features[i, 4 * i : 4 * i + 4] *= -1
    for left, right in ((1, 3), (3, 6), (4, 2), (2, 0), (9, 9)):
      with self.subTest(left=left, right=right), self.NewGraph():
        contexts = dict(atten_left_context=left, atten_right_context=right)
        layer = self._Encoder(kind='stack', num_layers=1, kernel_size=1, **contexts)
        encoded, _ = self._Encode(layer, features, [4 * frames] * (frames + 1))
        seen = np.abs(encoded[:-1] - encoded[-1:]).max(axis=2) > 1e-6  # [changed frame, encoded frame]
        distance = np.arange(frames)[:, None] - np.arange(frames)
        np.testing.assert_array_equal(seen, (distance > -left) & (distance <= right))

  def test_bfloat16_stays_near_float32(self):
    outputs = []
    for dtype in (tf.float32, tf.bfloat16):
      with self.NewGraph():
        layer = self._Encoder(fprop_dtype=dtype)
        outputs.append(self._Encode(layer, self._Features(2, 32, 80), [32, 32])[0])
        self.assertEqual({v.dtype.base_dtype for v in layer.vars.Flatten()}, {tf.float32})
    self.assertEqual(outputs[1].dtype, np.float32)
    self.assertLess(np.abs(outputs[0] - outputs[1]).mean(), 0.05)

  def test_no_batch_statistics(self):
    layer = self._Encoder(conv_norm='group_norm', group_norm_groups=4)
    self.assertEmpty([v.name for v in layer.vars.Flatten() if 'moving' in v.name])
    self.assertEqual(len(tf.trainable_variables()), len(layer.vars.Flatten()))

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('model_dim', 15, 'model_dim = 15: expected a multiple of num_heads = 2'),
      ('model_dim', 0, 'model_dim = 0: expected >= 1'),
      ('num_heads', 0, 'num_heads = 0: expected >= 1'),
      ('kernel_size', 0, 'kernel_size = 0: expected >= 1'),
      ('num_bins', 0, 'num_bins = 0: expected >= 1'),
      ('channels', 0, 'subsampling.channels = 0: expected >= 1'),
      ('num_layers', 0, 'num_layers = 0: expected 1 to 1000'),
      ('num_layers', 10**12, 'expected 1 to 1000'),
      ('conv_norm', 'batch_norm', "conv_norm = 'batch_norm': expected one of layer_norm, group_norm"),
      ('ff_dim', 0, 'ff_dim = 0: expected None or an integer >= 1'),
      ('ff_dim', 'big', "ff_dim = 'big': expected None or an integer >= 1"),
      ('atten_left_context', 2.5, 'atten_left_context = 2.5: expected None or an integer >= 1'),
      ('atten_chunk_size', True, 'atten_chunk_size = True: expected None or an integer >= 1'),
      ('kind', 'pool', "kind = 'pool': expected one of conv, stack"),
      ('factor', 6, 'factor = 6: expected 4 or 8'),
    ):
      with self.subTest(field), self.assertRaisesRegex(ValueError, expected):
        self._Encoder(**{field: value})
    with self.assertRaisesRegex(ValueError, 'group_norm_groups = 3: expected a divisor of model_dim = '):
      self._Encoder(conv_norm='group_norm', group_norm_groups=3)


class RematTest(_Case):
  """As in a run, without these checks."""

  def test_remat_changes_nothing(self):
    outputs = []
    for remat in (False, True):
      with self.NewGraph():
        layer = self._Encoder(remat=remat, kind='stack')
        features = tf.constant(self._Features(2, 32, 80))
        x, _ = layer.FProp(layer.theta, features, tf.zeros([2, 32]))
        grads = tf.gradients(tf.reduce_sum(x**2), [features, *layer.vars.Flatten()])
        outputs.append(self.Eval(x, *grads))
    for a, b in zip(*outputs):
      np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-4)

  def test_remat_drops_the_same_a_second_time(self):
    layer = self._Encoder(remat=True, dropout_prob=0.3)
    features, direction = self._Features(2, 1, 32, 80)  # Each [1, 32, 80].
    inputs = tf.placeholder(tf.float32, features.shape)
    x, _ = layer.FProp(layer.theta, inputs, tf.zeros([1, 32]))
    loss = tf.reduce_sum(x[:, :, :8])
    gradient = tf.gradients(loss, inputs)[0]
    self.Eval(tf.zeros([]))
    up, down = (self._session.run(loss, {inputs: features + step * direction}) for step in (1e-3, -1e-3))
    expected = np.sum(self._session.run(gradient, {inputs: features}) * direction)
    self.assertGreater(abs(expected), 1)
    np.testing.assert_allclose((up - down) / 2e-3, expected, rtol=0.02)

  def test_remat_encodes_each_block_twice(self):
    counts = []
    for remat in (False, True):
      with self.NewGraph():
        layer = self._Encoder(remat=remat)
        features = tf.constant(self._Features(2, 32, 80))
        x, _ = layer.FProp(layer.theta, features, tf.zeros([2, 32]))
        loss = tf.linalg.global_norm(tf.gradients(tf.reduce_sum(x**2), layer.vars.Flatten()))
        counts.append(self._Executed(loss, 'DepthwiseConv2dNative'))
    self.assertEqual(counts, [2, 4])  # A convolution in each of two blocks.

  def _Executed(self, tensor, op):
    """How often ops of a type run for a tensor, once the graph is optimised; oneDNN's forms of them count, too."""
    with graph_case.Optimised():
      self.Eval(tensor)
    metadata = tf.RunMetadata()
    self._session.run(tensor, options=tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), run_metadata=metadata)
    return sum(
      bool(re.search(rf' = (_Mkl)?(Native)?{op}\(', node.timeline_label))
      for device in metadata.step_stats.dev_stats
      for node in device.node_stats
    )


if __name__ == '__main__':
  absltest.main()
