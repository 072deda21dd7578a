"""Parts of a batch give what the whole gives."""

import unittest.mock

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.layers import conformer_encoder
from fm_lingvo.runtime import batch_split
from fm_lingvo.runtime import computing
from fm_lingvo.runtime import session
from tests import graph_case


class BatchPartsTest(graph_case.GraphCase):
  def setUp(self):
    super().setUp()
    self.addCleanup(batch_split.Use, 1)

  def _Encoder(self, **overrides):
    p = conformer_encoder.ConformerEncoder.Params().Set(
      model_dim=16, num_layers=1, num_heads=2, kernel_size=5, dropout_prob=0.0, random_seed=3
    )
    p.num_bins = 80
    p.subsampling.channels = 4
    return self.Layer(p, **overrides)

  def _EncodedAndGradients(self, parts, sizes, known=False, **overrides):
    """For batches of sizes: encoded frames, paddings, gradients of their squares by features and variables.

    Args:
      parts: Of the batch.
      sizes: Rows of each batch; row i is i frames shorter than the first one.
      known: Whether the graph is built for the first of the sizes; else for any.
      **overrides: Params of the encoder.
    """
    batch_split.Use(parts)
    with self.NewGraph():
      layer = self._Encoder(**overrides)
      rows = sizes[0] if known else None
      inputs, pads = tf.placeholder(tf.float32, [rows, 32, 80]), tf.placeholder(tf.float32, [rows, 32])
      x, x_pads = layer.FProp(layer.theta, inputs, pads)
      wanted = [v for v in layer.vars.Flatten() if v.trainable]
      fetched = [x, x_pads, *tf.gradients(tf.reduce_sum(x**2), [inputs, *wanted])]
      self.Eval(tf.zeros([]))
      found = []
      for rows in sizes:
        features = np.random.RandomState(0).randn(rows, 32, 80).astype(np.float32)
        paddings = (np.arange(32)[None] >= np.arange(32, 32 - rows, -1)[:, None]).astype(np.float32)
        found.append(self._session.run(fetched, {inputs: features, pads: paddings}))
      return found

  def test_the_encoder_in_parts_is_the_encoder(self):
    adapted = {'adapters': ['here'], 'active_adapter': 'here', 'adapter_position': 'after_ff'}
    for settings, cases in (
      ({}, [(2, True, (5,)), (4, False, (5, 2))]),  # Unequal parts; more parts than rows.
      ({'remat': True, **adapted}, [(2, False, (3,))]),
    ):
      sizes = sorted({size for _, _, some in cases for size in some})
      expected = dict(zip(sizes, self._EncodedAndGradients(1, sizes, **settings)))
      for parts, known, some in cases:
        for rows, found in zip(some, self._EncodedAndGradients(parts, some, known, **settings)):
          with self.subTest(rows=rows, parts=parts, known=known, **settings):
            for value, wanted in zip(found, expected[rows]):
              np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-4 * max(1, np.abs(wanted).max()))

  def test_each_part_has_dropout_of_its_own(self):
    batch_split.Use(2)
    layer = self._Encoder(dropout_prob=0.3)
    x, _ = layer.FProp(layer.theta, tf.ones([2, 32, 80]), tf.zeros([2, 32]))
    first, again = self.Eval(x), self.Eval(x)
    np.testing.assert_array_equal(first, again)  # Of the same step.
    self.assertGreater(np.abs(first[0] - first[1]).max(), 0.1)

  def test_a_layer_behind_the_parts_has_dropout_of_its_own(self):
    batch_split.Use(2)
    layer = self._Encoder(dropout_prob=0.3)
    found = [layer.FProp(layer.theta, tf.ones([2, 32, 80]), tf.zeros([2, 32]))[0] for _ in range(2)]
    first, second = self.Eval(*found)
    for row in range(2):
      self.assertGreater(np.abs(first - second[row]).min(axis=0).max(), 0.1)

  def test_a_graph_of_many_parts_is_traced_once(self):
    traced = []

    def _Square(theta, x):
      traced.append(x)
      return [theta.w * x**2]

    batch_split.Use(4)
    x, w = tf.range(8.0), tf.constant(3.0)
    (y,) = batch_split.Apply(_Square, graph_case.py_utils.NestedMap(w=w), x)
    gradients = tf.gradients(y, [x, w])
    self.assertLen(traced, 1)
    y, by_x, by_w = self.Eval(y, *gradients)
    np.testing.assert_array_equal(y, 3 * np.arange(8) ** 2)
    np.testing.assert_array_equal(by_x, 6 * np.arange(8))
    self.assertEqual(by_w, sum(np.arange(8) ** 2))

  def test_as_many_parts_as_cores_but_at_most_8(self):
    self.assertEqual([batch_split.Suitable(cores) for cores in (1, 3, 64)], [1, 3, 8])

  def test_cores_are_the_process_own_unless_tensorflow_has_a_limit(self):
    with unittest.mock.patch('os.sched_getaffinity', lambda pid: set(range(5))):
      for limit, cores in (('0', 5), ('2', 2)):
        with unittest.mock.patch.dict('os.environ', {'TF_NUM_INTEROP_THREADS': limit}):
          self.assertEqual(session.Cores(), cores)
    with unittest.mock.patch.dict('os.environ', {'TF_NUM_INTEROP_THREADS': 'two'}):
      with self.assertRaisesRegex(
        errors.ConfigError, 'TF_NUM_INTEROP_THREADS=two in the environment: expected a number'
      ):
        session.Cores()

  def test_an_operation_has_its_part_s_share_of_the_cores(self):
    self.assertEqual(session.Config().intra_op_parallelism_threads, 0)  # TensorFlow's choice.
    self.addCleanup(setattr, computing.SETTINGS, 'operation_threads', 0)
    with unittest.mock.patch.object(tf.config.threading, 'set_intra_op_parallelism_threads') as process_wide:
      session.ComputeInParts(1, 6)
      self.assertEqual(session.Config().intra_op_parallelism_threads, 0)
      for parts, threads in ((2, 3), (4, 1), (8, 1)):
        session.ComputeInParts(parts, 6)
        self.assertEqual(session.Config().intra_op_parallelism_threads, threads)
        process_wide.assert_called_with(threads)

  def test_what_is_random_behind_the_parts_does_not_depend_on_them(self):
    values = []
    for parts in (1, 2, 3):
      batch_split.Use(parts)
      with self.NewGraph():
        layer = self._Encoder(dropout_prob=0.3)
        layer.FProp(layer.theta, tf.ones([3, 32, 80]), tf.zeros([3, 32]))
        values.append(self.Eval(graph_case.py_utils.GetStepSeed()))
    self.assertEqual(values, values[:1] * 3)


if __name__ == '__main__':
  absltest.main()
