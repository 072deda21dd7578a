"""Filters rows of samples by FFT, block by block (overlap-add).

B: rows, Q: samples of a row, H: samples of a block, N: blocks of a row, K: filter taps, K <= H.
"""

from lingvo import compat as tf


def Spectrum(kernel, block: int):
  """Returns the spectrum [B, 1, H + 1] of a filter [B, K], to be multiplied with that of Blocks."""
  return tf.signal.rfft(kernel, [2 * block])[:, tf.newaxis]


def Blocks(waveforms, block: int, delay: int):
  """Returns the spectra of the blocks of rows.

  Args:
    waveforms: float32 [B, Q].
    block: H.
    delay: The delay of the filter in samples, which Overlap compensates.

  Returns:
    complex64 [B, N, H + 1].
  """
  batch, size = tf.unstack(tf.shape(waveforms))
  blocks = -(-(size + delay) // block)
  padded = tf.pad(waveforms, [[0, 0], [0, blocks * block - size]])
  return tf.signal.rfft(tf.reshape(padded, [batch, blocks, block]), [2 * block])


def Overlap(spectra, waveforms, block: int, delay: int):
  """Overlap-adds filtered blocks [B, N, H + 1] to rows with the shape of waveforms [B, Q]."""
  blocks = tf.signal.irfft(spectra, [2 * block])  # [B, N, 2 H]
  tails = tf.pad(blocks[:, :-1, block:], [[0, 0], [1, 0], [0, 0]])
  rows = blocks[:, :, :block] + tails
  batch, size = tf.unstack(tf.shape(waveforms))
  rows = tf.reshape(rows, [batch, -1])  # [B, N, H] -> [B, N H]
  return tf.ensure_shape(rows[:, delay : delay + size], waveforms.shape)
