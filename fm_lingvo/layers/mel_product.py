"""Computes log-mel frames by matrix products, which on a CPU takes a third of the processor time of an FFT.

A window is symmetric about its centre, so a real and an imaginary part of the Fourier transform, with the centre as
its origin, are products of half a window: of the sum and of the difference of the two halves. Frames are half of the
cost then, and are copied as whole steps instead of being gathered. The results are those of Lingvo's MelAsrFrontend,
with smaller errors (docs/speed.md). A GPU may round products to fewer bits than an FFT, and a TPU does; neither uses
this file.

B: utterances, S: samples, T: log-mel frames, F: mel bins, W: samples of a window, H: samples of a frame's step,
C: samples of half a window, K: frequencies.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

_FFT_SIZE = 512  # Lingvo's for windows up to 32 ms; of longer ones, the product would take longer than the FFT.


def Suits(mel) -> bool:
  """Returns whether LogMel is faster than a MelAsrFrontend: on a machine without GPUs, for windows of up to 32 ms.

  Args:
    mel: Lingvo's layer, with the values that LogMelFrontend demands of the fields which it does not record.
  """
  on_cpu = not py_utils.use_tpu() and not tf.config.list_physical_devices('GPU')
  return on_cpu and mel.window_frame_size <= _FFT_SIZE


def LogMel(mel, waveforms: tf.Tensor) -> tf.Tensor:
  """Computes log-mel frames, not normalised.

  Args:
    mel: Lingvo's MelAsrFrontend, of which Suits is true.
    waveforms: float32 [B, T * H + W + 1 - H], scaled to [-32768, 32768).

  Returns:
    float32 [B, T, F].
  """
  p, step, half = mel.params, mel.window_frame_step, (mel.window_frame_size - 1) // 2
  # [B, S] -> [B, T, 2C]
  frames = _Frames(waveforms[:, 1:] - p.preemph * waveforms[:, :-1], step, 2 * half)
  batch, time = py_utils.GetShape(frames, 2)
  frames = tf.reshape(frames, [batch * time, 2 * half])
  # From the centre on, and back from the centre; Hann's window is 0 at the first sample, which has no opposite one.
  after, before = frames[:, half:], tf.reverse(frames[:, 1 : half + 1], [1])  # [B * T, C]
  # Frequencies outside the band have no weight.
  hertz = np.arange(_FFT_SIZE // 2 + 1) * p.sample_rate / _FFT_SIZE
  used = np.flatnonzero((hertz > p.lower_edge_hertz) & (hertz < p.upper_edge_hertz))
  first, end = (used[0], used[-1] + 1) if used.size else (0, 1)
  cosines, sines = _Transforms(half, np.arange(first, end))
  real, imaginary = tf.matmul(after + before, cosines), tf.matmul(after - before, sines)  # [B * T, K]
  weights = tf.signal.linear_to_mel_weight_matrix(
    p.num_bins, _FFT_SIZE // 2 + 1, p.sample_rate, p.lower_edge_hertz, p.upper_edge_hertz
  )
  mel_spectrum = tf.matmul(tf.sqrt(tf.square(real) + tf.square(imaginary)), weights[first:end])  # [B * T, F]
  return tf.reshape(tf.math.log(tf.maximum(float(p.output_floor), mel_spectrum)), [batch, time, p.num_bins])


def _Frames(samples, step, size):
  """Returns all whole frames of samples [B, S]: [B, T, size], with T = (S - size) // step + 1."""
  count = -(-size // step)  # Steps that a frame touches.
  batch, length = py_utils.GetShape(samples)
  time = (length - size) // step + 1
  # [B, S] -> [B, (T + count - 1) * step] -> [B, T + count - 1, step]
  whole = (time + count - 1) * step
  steps = tf.reshape(tf.pad(samples, [[0, 0], [0, step]])[:, :whole], [batch, time + count - 1, step])
  return tf.concat([steps[:, i : i + time, : min(step, size - i * step)] for i in range(count)], axis=2)


def _Transforms(half, frequencies):
  """Returns Hann's window times cosines, and times sines, from the centre on: 2 x float32 [C, K].

  Args:
    half: C.
    frequencies: int [K], in steps of the Fourier transform.
  """
  times = np.arange(half)[:, np.newaxis]  # [C, 1]
  window = 0.5 + 0.5 * np.cos(np.pi * times / half)  # That of tf.signal.hann_window.
  angles = 2 * np.pi * times * frequencies / _FFT_SIZE  # [C, K]
  cosines, sines = window * np.cos(angles), window * np.sin(angles)
  cosines[0] /= 2  # The centre is in both halves.
  return cosines.astype(np.float32), sines.astype(np.float32)
