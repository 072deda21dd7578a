"""Random draws that are the same by TensorFlow's kernels and by XLA, for a run that continues on a TPU.

Both compute the same random words of a seed, but tf.random's stateless functions make a float of the low bits of a word
in TensorFlow's kernels and of the high ones under XLA. Here they are the low ones everywhere.
"""

import math

from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import layers
from lingvo.core import py_utils

_ONE = 0x3F800000  # The bits of 1.0.
_FRACTION = 0x007FFFFF  # Mask of a float32's 23 fraction bits.
_LEAST = 1e-7  # The least number whose logarithm is taken.
_TASK_SEEDS = 2**50  # Distance of the seeds of two trainers, more than those of a step.


def StepSeed(p):
  """Returns another seed pair at each call in a step of training, int64 [2], on a TPU int32.

  As Lingvo's, but each trainer of an asynchronous cluster has seeds of its own: they count steps together, and two that
  are at the same step would draw the same. The replicas in the graph of a synchronous job are calls one after another.
  The cores of a TPU, which compute one program, do draw the same masks and dropout, for utterances that differ.

  Args:
    p: Params of the layer that draws.
  """
  seeds = py_utils.GenerateStepSeedPair(p)
  cluster = cluster_factory.Current()
  if cluster.asynchronous and cluster.job == 'trainer' and cluster.task:
    seeds += [0, _TASK_SEEDS * cluster.task]
  return seeds


def Uniform(shape, seed):
  """Returns uniform float32 numbers in [0, 1), the same as tf.random.stateless_uniform on the CPU.

  Args:
    shape: Shape of the result.
    seed: Pair of ints.
  """
  return tf.bitcast((_Words(shape, seed) & _FRACTION) | _ONE, tf.float32) - 1.0


def _Words(shape, seed):
  """Random words, uint32."""
  return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.uint32, alg='philox')


def Normal(shape, seed):
  """Returns normal float32 numbers with mean 0 and standard deviation 1.

  As tf.random.stateless_normal on the CPU, up to the rounding of logarithm, sine and cosine (Box and Muller, 1958).

  Args:
    shape: Shape of the result.
    seed: Pair of ints.
  """
  size = tf.reduce_prod(shape)
  pairs = Uniform([(size + 1) // 2, 2], seed)  # Two uniform numbers give two normal ones.
  radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(pairs[:, 0], _LEAST)))
  angle = 2.0 * math.pi * pairs[:, 1]
  values = tf.stack([radius * tf.sin(angle), radius * tf.cos(angle)], axis=1)
  return tf.reshape(tf.reshape(values, [-1])[:size], shape)


class Dropout(layers.DeterministicDropoutLayer):
  """Lingvo's DeterministicDropoutLayer, which is seeded by the step, with the seeds and draws of this module.

  It compares random words with a threshold, in half of the operations that it takes to make floats of them.
  """

  def _Dropout(self, theta, inputs, noise_shape):
    keep_prob = self.params.keep_prob
    words = tf.bitcast(_Words(noise_shape or py_utils.GetShape(inputs), StepSeed(self.params)), tf.int32)
    kept = words >= round((1.0 - keep_prob) * 2**32) - 2**31  # Of 2**32 words from -2**31 on.
    return inputs * (tf.cast(kept, inputs.dtype) * tf.cast(1.0 / keep_prob, inputs.dtype))
