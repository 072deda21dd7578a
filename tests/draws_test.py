"""Draws are functions of the seed, the same by TensorFlow's kernels and by XLA.

Compiles with XLA, since that is what is compared: once for each shape.
"""

import numpy as np
import tensorflow as tf
from absl.testing import absltest
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.layers import draws
from fm_lingvo.layers import span_masking
from fm_lingvo.layers import spec_augment
from tests import graph_case

_SEED = (3, 2**33 + 7)


class DrawsTest(graph_case.GraphCase):
  def _Both(self, function):
    """Values of a function of a seed in graph mode and compiled by XLA."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    return self.Eval(function(tf.constant(_SEED, tf.int64)), compiled(tf.constant(_SEED, tf.int64)))

  def test_uniform_is_the_same_to_the_bit_in_any_shape(self):
    for shape in ([1], [7], [5, 33], [3, 16, 80]):
      plain, compiled = self._Both(lambda seed, shape=shape: draws.Uniform(shape, seed))
      np.testing.assert_array_equal(plain, compiled)
      self.assertTrue((plain >= 0).all() and (plain < 1).all())

  def test_uniform_is_what_the_kernel_draws(self):
    """So runs of before go on with the same masks."""
    ours, theirs = self.Eval(draws.Uniform([9, 41], _SEED), tf.random.stateless_uniform([9, 41], _SEED))
    np.testing.assert_array_equal(ours, theirs)

  def test_normal_is_the_same_up_to_rounding(self):
    for shape in ([1], [7], [3, 16, 80]):
      plain, compiled = self._Both(lambda seed, shape=shape: draws.Normal(shape, seed))
      np.testing.assert_allclose(plain, compiled, rtol=0, atol=1e-5)
      theirs = self.Eval(tf.random.stateless_normal(shape, _SEED))
      np.testing.assert_allclose(plain, theirs, rtol=0, atol=1e-5)
    self.assertAlmostEqual(plain.mean(), 0.0, delta=0.05)
    self.assertAlmostEqual(plain.std(), 1.0, delta=0.05)

  def test_dropout_keeps_its_share_scaled_the_same_under_xla(self):
    py_utils.GetOrCreateGlobalStepVar()
    inputs = tf.constant(np.random.default_rng(0).standard_normal([20, 50, 30]), tf.float32)
    for keep_prob in (0.9, 0.5, 0.05):
      layer = draws.Dropout.Params().Set(name='dropout', keep_prob=keep_prob, random_seed=5).Instantiate()

      def Dropped(layer=layer):
        py_utils.ResetStepSeed()
        return layer.FProp(layer.theta, inputs)

      compiled = tf.function(Dropped, jit_compile=True, autograph=False)()
      plain = Dropped()
      gradient = tf.gradients(plain, inputs)[0]
      self.Eval(tf.compat.v1.global_variables_initializer())
      x, plain, compiled, gradient = self.Eval(inputs, plain, compiled, gradient)
      kept = plain != 0
      np.testing.assert_array_equal(plain, compiled)
      np.testing.assert_allclose(plain, x * kept / keep_prob, rtol=1e-6)
      np.testing.assert_allclose(gradient, kept / np.float32(keep_prob), rtol=1e-6)
      self.assertAlmostEqual(kept.mean(), keep_prob, delta=0.01)

  def test_masks_are_the_same_to_the_bit(self):
    py_utils.GetOrCreateGlobalStepVar()
    p = span_masking.SpanMasker.Params().Set(name='m', mask_start_prob=0.1, random_seed=5)
    masker = p.Instantiate()
    features, paddings = tf.zeros([2, 50, 8]), tf.constant(np.arange(50) >= [[50], [30]], tf.float32)

    def Masks():
      py_utils.ResetStepSeed()
      return masker.FProp(masker.theta, features, paddings)

    compiled = tf.function(Masks, jit_compile=True, autograph=False)()
    plain = Masks()
    self.Eval(tf.compat.v1.global_variables_initializer())
    (noise, mask), (other_noise, other_mask) = self.Eval(plain, compiled)
    np.testing.assert_array_equal(mask, other_mask)
    np.testing.assert_allclose(noise, other_noise, rtol=0, atol=1e-6)
    self.assertTrue(0 < mask.sum() < 80)

  def test_each_trainer_of_an_asynchronous_cluster_draws_its_own_and_the_first_one_what_a_local_run_draws(self):
    py_utils.GetOrCreateGlobalStepVar()
    features, paddings = tf.ones([2, 50, 8]), tf.zeros([2, 50])
    shared = dict(name='layer', random_seed=5)
    masker = span_masking.SpanMasker.Params().Set(mask_start_prob=0.1, **shared).Instantiate()
    augment = spec_augment.SpecAugment.Params().Set(**shared).Instantiate()
    dropout = draws.Dropout.Params().Set(keep_prob=0.5, **shared).Instantiate()

    def Drawn(mode='', job='', task=0):
      p = cluster_factory.Current().params.Copy().Set(task=task)
      if mode:
        p.Set(mode=mode, job=job)
        p.worker.Set(name='/job:trainer', replicas=2)
        p.ps.Set(name='/job:ps', replicas=1)
      with cluster_factory.Cluster(p):
        py_utils.ResetStepSeed()
        return [
          masker.FProp(masker.theta, features, paddings)[1],
          augment.FProp(augment.theta, features, paddings),
          dropout.FProp(dropout.theta, features),
        ]

    found = self.Eval(Drawn(), Drawn('async', 'trainer', 0), Drawn('async', 'trainer', 1))
    for local, first, second in zip(*found, strict=True):
      np.testing.assert_array_equal(first, local)
      self.assertFalse(np.array_equal(first, second))


if __name__ == '__main__':
  absltest.main()
