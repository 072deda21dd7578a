"""Random numbers for the augmentation of utterances, each from a seed of its own.

B: utterances, S: samples in a padded row, R: rows of a selection of utterances.
"""

import copy
from collections.abc import Callable

from lingvo import compat as tf

# Indices of the random streams of an utterance.
CHOICES, NOISE, ROOM = 0, 1, 2


def Seeds(seed, utt_ids):
  """Returns a seed for each utterance.

  Args:
    seed: int64 scalar, different for each batch of a stream.
    utt_ids: string [B].

  Returns:
    int64 [B, 2].
  """
  hashes = tf.strings.to_hash_bucket_fast(utt_ids, 2**31 - 1)
  return tf.stack([tf.cast(seed, tf.int64) + tf.zeros_like(hashes), hashes], axis=1)


class Draws:
  """Random numbers for utterances, each from its own seed, int64 [B, 2]."""

  def __init__(self, seeds):
    self._seeds = seeds
    self._uniform = self._Map(  # [B, 32]
      CHOICES, lambda seed: tf.random.stateless_uniform([32], seed, alg='philox')
    )
    self._used = 0

  def Rows(self, rows):
    """Returns the unused draws of some utterances, given their indices int64 [R]."""
    part = copy.copy(self)
    part._seeds = tf.gather(self._seeds, rows)
    part._uniform = tf.gather(self._uniform, rows)
    return part

  def Uniform(self, low, high, num=1):
    """Returns uniform numbers in [low, high), float32 [B, num]."""
    self._used += num
    drawn = self._uniform[:, self._used - num : self._used]
    return low + (high - low) * drawn

  def Index(self, size):
    """Returns uniform integers in [0, size), int32 [B, 1]; size: int, or int32 [B, 1], > 0."""
    size = tf.cast(size, tf.float32)
    return tf.cast(tf.minimum(self.Uniform(0.0, 1.0) * size, size - 1), tf.int32)

  def Chance(self, probability):
    """Returns 1 with a probability, else 0, as float32 [B, 1]."""
    return tf.cast(self.Uniform(0.0, 1.0) < probability, tf.float32)

  def Normal(self, stream, size):
    """Returns Gaussian noise float32 [B, size]; a smaller size gives a prefix of a larger one."""
    return self._Map(stream, lambda seed: tf.random.stateless_normal([size], seed, alg='philox'))

  def OnSome(self, probability: float, effect: Callable, waveforms, num_samples):
    """Applies an effect to the utterances that are drawn for it, and leaves the others unchanged.

    Args:
      probability: Of each utterance, in [0, 1].
      effect: Function of waveforms [R, S], num_samples [R] and the Draws of the drawn rows; returns waveforms [R, S].
      waveforms: float32 [B, S].
      num_samples: int32 [B].

    Returns:
      float32 [B, S].
    """
    rows = tf.where(self.Chance(probability)[:, 0] > 0)[:, 0]  # [R]

    def Some():
      changed = effect(tf.gather(waveforms, rows), tf.gather(num_samples, rows), self.Rows(rows))
      return tf.tensor_scatter_nd_update(waveforms, rows[:, tf.newaxis], changed)

    return tf.cond(tf.size(rows) > 0, Some, lambda: waveforms)

  def _Map(self, stream, draw):
    # Philox is counter-based, so the first numbers do not depend on the size.
    seeds = self._seeds * 3 + stream  # [B, 2]
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)
