"""Speed perturbation in-graph: resamples waveforms, which changes tempo and pitch.

B: utterances, S: samples in a padded row (16 kHz), Q: samples of a row after the change of
speed, N: blocks of a row, K: filter taps.
"""

import numpy as np
from lingvo import compat as tf

_INTERPOLATION_TAPS = 32
_PHASES = 2  # Number of cubic polynomials between two samples.


def MaxSamples(num_samples, speed_range):
  """Returns the number of samples at the slowest speed, for num_samples as an int or integer tensor."""
  if isinstance(num_samples, int):
    return int(num_samples / speed_range[0]) + 1
  return tf.cast(tf.cast(num_samples, tf.float64) / speed_range[0], num_samples.dtype) + 1


def Change(waveforms, num_samples, speed, speed_range):
  """Changes the speed of utterances.

  Args:
    waveforms: float32 [B, S].
    num_samples: int32 [B].
    speed: float32 [B, 1], factor in speed_range.
    speed_range: (smallest, largest) factor.

  Returns:
    (waveforms float32 [B, Q], num_samples int32 [B]): the length is num_samples / speed, rounded down.
  """
  samples = waveforms.shape[1] or tf.shape(waveforms)[1]  # S
  size = MaxSamples(samples, speed_range)  # Q
  polynomials = _Polynomials(waveforms, _InterpolationFilter(speed_range[1]))
  batch, rounded, _ = tf.unstack(tf.shape(polynomials))
  polynomials = tf.reshape(polynomials, [-1, 4])  # [B, S', 8] -> [2 B S', 4]
  # Positions reach millions of half samples, which float32 cannot represent exactly.
  speed = tf.cast(speed, tf.float64)
  position = _PHASES * speed * tf.range(tf.cast(size, tf.float64), dtype=tf.float64)
  index = tf.cast(position, tf.int32)  # [B, Q]
  t = tf.cast(position - tf.cast(index, tf.float64), tf.float32)
  rows = tf.minimum(index, _PHASES * rounded - 1)
  rows += _PHASES * rounded * tf.range(batch)[:, tf.newaxis]
  c = tf.gather(polynomials, rows)  # [B, Q, 4]
  waveforms = c[..., 0] + t * (c[..., 1] + t * (c[..., 2] + t * c[..., 3]))
  num_samples = tf.cast(  # [B]
    tf.cast(num_samples, tf.float64) / speed[:, 0], tf.int32
  )
  return ZeroPadding(waveforms, num_samples), num_samples


def ZeroPadding(waveforms, num_samples):
  """Sets samples beyond num_samples to 0. [B, S], [B] -> [B, S]."""
  valid = tf.sequence_mask(num_samples, tf.shape(waveforms)[1])
  return tf.where(valid, waveforms, tf.zeros_like(waveforms))


def _InterpolationFilter(max_speed):
  """Returns the filters that compute the coefficients of the polynomials between two samples.

  At sample n and phase q in {0, 1}, x(n + (q + t) / 2) = sum_d c_d t^d, where c is
  the output of the filters on x. The polynomials approximate a windowed sinc whose
  cutoff is the lower Nyquist frequency.

  Args:
    max_speed: Largest speed factor.

  Returns:
    float32 [K, 8]; column 4 q + d is the filter of c_d.
  """
  cutoff = min(1.0, 1.0 / max_speed) * (1 - 1.5 / _INTERPOLATION_TAPS)
  half = _INTERPOLATION_TAPS // 2
  t = np.linspace(0, 1, 33)
  columns = []
  for phase in range(_PHASES):
    # Distance of x(n + (q + t) / 2) from sample n - half + 1 + k.
    offset = (phase + t[:, np.newaxis]) / _PHASES  # [33, 1]
    distance = offset - (np.arange(_INTERPOLATION_TAPS) - half + 1)  # [33, K]
    window = np.i0(8 * np.sqrt(np.maximum(0, 1 - (distance / half) ** 2))) / np.i0(8)
    taps = cutoff * np.sinc(cutoff * distance) * window
    taps /= taps.sum(axis=1, keepdims=True)
    fit, *_ = np.linalg.lstsq(np.vander(t, 4, increasing=True), taps, rcond=None)
    columns += list(fit)  # fit [4, K]
  return np.stack(columns, axis=1).astype(np.float32)


def _Polynomials(waveforms, filters):
  """Convolves rows with filters by a product of blocks with a banded matrix.

  TensorFlow's own convolution of one channel takes ten times as long and gigabytes of memory.

  Args:
    waveforms: float32 [B, S].
    filters: float32 [K, 8].

  Returns:
    float32 [B, S', 8]; S' is S rounded up to a multiple of K.
  """
  taps, columns = filters.shape
  matrix = np.zeros([2 * taps, taps, columns], np.float32)
  for i in range(taps):
    matrix[i : i + taps, i] = filters
  batch, size = tf.unstack(tf.shape(waveforms))
  blocks = -(-size // taps)
  before = taps // 2 - 1
  padded = tf.pad(waveforms, [[0, 0], [before, (blocks + 1) * taps - size - before]])
  padded = tf.reshape(padded, [batch, blocks + 1, taps])
  pairs = tf.concat([padded[:, :-1], padded[:, 1:]], axis=2)  # [B, N, 2 K]
  # [B N, 2 K] -> [B N, 8 K] -> [B, N K, 8]
  out = tf.matmul(tf.reshape(pairs, [batch * blocks, 2 * taps]), matrix.reshape([2 * taps, taps * columns]))
  return tf.reshape(out, [batch, blocks * taps, columns])
