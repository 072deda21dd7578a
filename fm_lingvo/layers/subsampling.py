"""Subsampling of log-mel frames by 4 or 8 to the model's width, for whole utterances or streaming.

B: utterances, T: log-mel frames, S: subsampling factor, N: encoded frames = T / S, F: mel bins,
C: convolution channels, D: model width.
"""

import math

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import quantizer
from fm_lingvo.layers import strided_conv
from fm_lingvo.utils import ranges
from fm_lingvo.utils import suggest

FACTORS = (4, 8)
KINDS = ('conv', 'stack')


class CausalConv(strided_conv.Conv2D):
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
  """Maps S frames of F bins to one encoded frame of width D.

  `conv`: 3 x 3 convolutions with stride 2: two for a factor of 4 (Conformer, arXiv 2005.08100), three for 8.
  `stack`: concatenates S frames, as in the quantizer; cheaper on a CPU.
  """

  set_by_owner = dict.fromkeys(('num_bins', 'model_dim', 'causal'), 'since the encoder sets it to its own')

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('kind', 'conv', f'One of {", ".join(KINDS)}.')
    p.Define('factor', 4, 'Log-mel frames S of an encoded frame: 4 (40 ms) or 8 (80 ms).')
    p.Define('num_bins', None, 'Mel bins F of a frame, > 0.')
    p.Define('channels', 32, 'Channels C of the convolutions, > 0.')
    p.Define('model_dim', None, 'Output width D, > 0.')
    p.Define(
      'causal',
      False,
      'Whether an encoded frame depends on its own frames and earlier ones only; set by the encoder.',
    )
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    return {} if p.kind == 'conv' else {'channels': "without kind = 'conv'"}

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    suggest.CheckChoice(f'{p.name}.kind', p.kind, KINDS)
    ranges.AtLeast(p, num_bins=1, channels=1, model_dim=1)
    if p.factor not in FACTORS:
      raise errors.ConfigError(f'{p.name}.factor = {p.factor!r}: expected {" or ".join(map(str, FACTORS))}')
    self._convs = [f'conv_{i}' for i in range(int(math.log2(p.factor)))] if p.kind == 'conv' else []
    width = p.factor * p.num_bins
    if p.kind == 'conv':
      for i, name in enumerate(self._convs):
        conv = strided_conv.Conv2D.Params()
        if p.causal:
          conv = CausalConv.Params().Set(num_bins=-(-p.num_bins // 2**i))
        shape = (3, 3, p.channels if i else 1, p.channels)
        self.CreateChild(name, conv.Set(filter_shape=shape, filter_stride=(2, 2), bias=True))
      width = p.channels * (-(-p.num_bins // p.factor))
    self.CreateChild(
      'proj', layers.FCLayer.Params().Set(input_dim=width, output_dim=p.model_dim, activation='NONE', has_bias=True)
    )

  def FProp(self, theta, features, paddings):
    """Args: features [B, T, F], paddings [B, T]. Returns: [B, N, D], [B, N]."""
    stacked, out_paddings = quantizer.StackFrames(features, paddings, self.params.factor)
    if self._convs:
      x = tf.expand_dims(features, -1)  # [B, T, F, 1]
      for name in self._convs:
        x, paddings = self.children[name].FProp(theta[name], x, paddings)
        x = tf.nn.relu(x)
      stacked = _JoinBins(x)
    return self.proj.FProp(theta.proj, stacked), out_paddings

  def zero_state(self, batch_size):
    """Returns a NestedMap of the convolutions' states; empty for `stack`."""
    return py_utils.NestedMap({name: self.children[name].zero_state(batch_size) for name in self._convs})

  def StreamStep(self, theta, features, paddings, state0):
    """FProp for the next frames, T a multiple of S; requires `causal`.

    Returns:
      ([B, N, D], paddings [B, N], the new state).
    """
    stacked, out_paddings = quantizer.StackFrames(features, paddings, self.params.factor)
    state1 = py_utils.NestedMap()
    if self._convs:
      x = tf.expand_dims(features, -1)  # [B, T, F, 1]
      for name in self._convs:
        x, paddings, state1[name] = self.children[name].StreamStep(theta[name], x, paddings, state0[name])
        x = tf.nn.relu(x)
      stacked = _JoinBins(x)
    return self.proj.FProp(theta.proj, stacked), out_paddings, state1


def _JoinBins(x):
  """[B, N, F / S, C] -> [B, N, F / S * C]."""
  batch, time, bins, channels = py_utils.GetShape(x, 4)
  return tf.reshape(x, [batch, time, bins * channels])
