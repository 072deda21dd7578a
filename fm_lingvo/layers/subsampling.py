"""Subsampling of log-mel frames by 4 to the model's width, for whole utterances or streaming.

B: utterances, T: log-mel frames, N: encoded frames = T / 4, F: mel bins,
C: convolution channels, D: model width.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import conv_layers_with_time_padding as conv_layers
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo.layers import quantizer
from fm_lingvo.utils import suggest

FACTOR = 4
KINDS = ('conv', 'stack')


class CausalConv(conv_layers.Conv2DLayerWithPadding):
  """A convolution that is causal in time, with a stride.

  With stride s, output n depends on frames up to s * n + s - 1 only. Lingvo's
  CausalConv2DLayerWithPadding supports filters of one bin only. FProp is a single
  StreamStep from the zero state, so that streaming gives the same results.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('num_bins', None, 'Mel bins F of the inputs, > 0.')
    return p

  def zero_state(self, batch_size):
    """Returns a NestedMap of context [B, kernel - stride, F, C], the frames before the first."""
    p = self.params
    return py_utils.NestedMap(
      context=tf.zeros(
        [batch_size, p.filter_shape[0] - p.filter_stride[0], p.num_bins, self.input_channels], py_utils.FPropDtype(p)
      )
    )

  def FProp(self, theta, inputs, paddings):
    """Args: inputs [B, T, F, C], paddings [B, T]. Returns: outputs, paddings."""
    state = self.zero_state(py_utils.GetShape(inputs)[0])
    outputs, paddings, _ = self.StreamStep(theta, inputs, paddings, state)
    return outputs, paddings

  def StreamStep(self, theta, inputs, paddings, state0):
    """Convolves the next frames.

    Args:
      theta: This layer's variables.
      inputs: [B, T, F, C], T a multiple of the stride.
      paddings: [B, T], 1 on padding.
      state0: State from the previous step or from zero_state.

    Returns:
      (outputs [B, T / stride, F / stride, channels], paddings [B, T / stride], 1 where
      any frame is padding, the new state).
    """
    p = self.params
    stride = p.filter_stride[0]
    with tf.name_scope(p.name):
      inputs = py_utils.ApplyPadding(py_utils.AppendDims(paddings, 2), inputs)
      batch, time = py_utils.GetShape(inputs, 2)
      inputs = tf.concat([state0.context, inputs], axis=1)
      # SAME padding of bins: half before and half after, one more after if it is odd.
      pad = max((-(-p.num_bins // p.filter_stride[1]) - 1) * p.filter_stride[1] + p.filter_shape[1] - p.num_bins, 0)
      outputs = self._EvaluateConvKernel(theta, inputs, [[0, 0], [0, 0], [pad // 2, pad - pad // 2], [0, 0]])
      if p.bias:
        outputs = tf.nn.bias_add(outputs, theta.b)
      paddings = tf.reduce_max(tf.reshape(paddings, [batch, time // stride, stride]), axis=2)
      return outputs, paddings, py_utils.NestedMap(context=inputs[:, time:])


class Subsampling(base_layer.BaseLayer):
  """Maps four frames of F bins to one encoded frame of width D.

  `conv`: two 3 x 3 convolutions with stride 2 (Conformer, arXiv 2005.08100).
  `stack`: concatenates four frames, as in the quantizer; cheaper on a CPU.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('kind', 'conv', f'One of {", ".join(KINDS)}.')
    p.Define('num_bins', None, 'Mel bins F of a frame, > 0.')
    p.Define('channels', 32, 'Channels C of both convolutions, > 0.')
    p.Define('model_dim', None, 'Output width D, > 0.')
    p.Define(
      'causal',
      False,
      'Whether an encoded frame depends on its four frames and earlier ones only; set by the encoder.',
    )
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    suggest.CheckChoice(f'{p.name}.kind', p.kind, KINDS)
    width = FACTOR * p.num_bins
    if p.kind == 'conv':
      for i, channels in enumerate((1, p.channels)):
        conv = conv_layers.Conv2DLayerWithPadding.Params()
        if p.causal:
          conv = CausalConv.Params().Set(num_bins=-(-p.num_bins // 2**i))
        self.CreateChild(
          f'conv_{i}', conv.Set(filter_shape=(3, 3, channels, p.channels), filter_stride=(2, 2), bias=True)
        )
      width = p.channels * (-(-p.num_bins // 4))
    self.CreateChild(
      'proj', layers.FCLayer.Params().Set(input_dim=width, output_dim=p.model_dim, activation='NONE', has_bias=True)
    )

  def FProp(self, theta, features, paddings):
    """Args: features [B, T, F], paddings [B, T]. Returns: [B, N, D], [B, N]."""
    stacked, out_paddings = quantizer.StackFrames(features, paddings, FACTOR)
    if self.params.kind == 'conv':
      x = features[..., tf.newaxis]  # [B, T, F, 1]
      x, paddings = self.conv_0.FProp(theta.conv_0, x, paddings)
      x, _ = self.conv_1.FProp(theta.conv_1, tf.nn.relu(x), paddings)
      stacked = _JoinBins(tf.nn.relu(x))
    return self.proj.FProp(theta.proj, stacked), out_paddings

  def zero_state(self, batch_size):
    """Returns a NestedMap of the convolutions' states; empty for `stack`."""
    if self.params.kind == 'stack':
      return py_utils.NestedMap()
    return py_utils.NestedMap(conv_0=self.conv_0.zero_state(batch_size), conv_1=self.conv_1.zero_state(batch_size))

  def StreamStep(self, theta, features, paddings, state0):
    """FProp for the next frames, T a multiple of 4; requires `causal`.

    Returns:
      ([B, N, D], paddings [B, N], the new state).
    """
    if self.params.kind == 'stack':
      return (*self.FProp(theta, features, paddings), state0)
    _, out_paddings = quantizer.StackFrames(features, paddings, FACTOR)
    state1 = py_utils.NestedMap()
    x = features[..., tf.newaxis]  # [B, T, F, 1]
    x, paddings, state1.conv_0 = self.conv_0.StreamStep(theta.conv_0, x, paddings, state0.conv_0)
    x, _, state1.conv_1 = self.conv_1.StreamStep(theta.conv_1, tf.nn.relu(x), paddings, state0.conv_1)
    return (self.proj.FProp(theta.proj, _JoinBins(tf.nn.relu(x))), out_paddings, state1)


def _JoinBins(x):
  """[B, N, F / 4, C] -> [B, N, F / 4 * C]."""
  batch, time, bins, channels = py_utils.GetShape(x, 4)
  return tf.reshape(x, [batch, time, bins * channels])
