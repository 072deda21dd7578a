"""A convolution with stride whose filter gradient is a sum of matrix products, for wide filters on a CPU.

oneDNN's filter gradient takes three times as long as its convolution if there are 256 channels and a stride of 2.

B: utterances, T: frames, F: bins, C: input channels, K: output channels, H x W: filter, S: stride in time, R: in bins.
"""

import itertools

from lingvo import compat as tf
from lingvo.core import conv_layers_with_time_padding as conv_layers
from lingvo.core import py_utils

from fm_lingvo.runtime import computing

_LEAST_CHANNELS = 128  # With 64, oneDNN's gradient takes 0.9 of the time of this one.


class Conv2D(conv_layers.Conv2DLayerWithPadding):
  """Lingvo's layer, on a CPU with FilterGradient."""

  def _EvaluateConvKernel(self, theta, conv_input, padding_algorithm):
    p = self.params
    is_plain = tuple(p.dilation_rate) == (1, 1)
    if not (computing.SETTINGS.on_cpu and is_plain and self.input_channels >= _LEAST_CHANNELS):
      return super()._EvaluateConvKernel(theta, conv_input, padding_algorithm)
    return _Convolve(conv_input, self._GetWeight(theta), tuple(p.filter_stride), padding_algorithm)


def _Convolve(x, w, strides, padding):
  """Returns the convolution of x [B, T, F, C] with w [H, W, C, K]; padding as in tf.nn.conv2d."""

  @tf.custom_gradient
  def _Call(x, w):
    def _Gradient(dy):
      dx = tf.nn.conv2d_transpose(dy, w, tf.shape(x), strides=strides, padding=padding)
      return dx, FilterGradient(x, dy, w.shape.as_list(), strides, padding)

    return tf.nn.conv2d(x, w, strides=strides, padding=padding), _Gradient

  return _Call(x, w)


def FilterGradient(x, dy, filter_shape, strides, padding):
  """Returns the gradient of a convolution's filter.

  The inputs are sorted by their place within a stride, once; what a weight is multiplied with is then a slice of whole
  rows.

  Args:
    x: The input [B, T, F, C].
    dy: Gradient of the output [B, T', F', K].
    filter_shape: [H, W, C, K].
    strides: (S, R).
    padding: SAME, or [[0, 0], [before, after], [before, after], [0, 0]].

  Returns:
    [H, W, C, K].
  """
  sizes, outs = py_utils.GetShape(x, 4), py_utils.GetShape(dy, 4)
  pads, whole = [[0, 0]], []  # For T and F; numbers of strides.
  for axis in (0, 1):
    size, out, kernel, stride = sizes[axis + 1], outs[axis + 1], filter_shape[axis], strides[axis]
    if padding == 'SAME':
      before = _AtLeast0((out - 1) * stride + kernel - size) // 2
    else:
      before = padding[axis + 1][0]
    strides_in_x = out + (kernel - 1) // stride
    # Inputs after the last stride have no weight: they are cut off.
    pads.append([before, _AtLeast0(strides_in_x * stride - size - before)])
    whole.append(strides_in_x)
  (rows, columns), (s, r) = whole, strides
  x = tf.pad(x, [*pads, [0, 0]])[:, : rows * s, : columns * r]
  # [B, rows * S, columns * R, C] -> [B, rows, S, columns, R, C] -> [S, R, B, rows, columns, C]
  x = tf.transpose(tf.reshape(x, [sizes[0], rows, s, columns, r, sizes[3]]), [2, 4, 0, 1, 3, 5])
  dy = tf.reshape(dy, [-1, filter_shape[3]])  # [B * T' * F', K]
  products = []
  for i, j in itertools.product(range(filter_shape[0]), range(filter_shape[1])):
    seen = x[i % s, j % r, :, i // s : i // s + outs[1], j // r : j // r + outs[2]]  # [B, T', F', C]
    products.append(tf.matmul(tf.reshape(seen, [-1, filter_shape[2]]), dy, transpose_a=True))  # [C, K]
  return tf.reshape(tf.stack(products), filter_shape)


def _AtLeast0(x):
  return max(x, 0) if isinstance(x, int) else tf.maximum(x, 0)
