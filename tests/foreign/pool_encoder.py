"""An encoder from outside the library: it joins two frames and projects them."""

from lingvo.core import layers

from fm_lingvo.layers import base_encoder
from fm_lingvo.layers import quantizer

_FACTOR = 2


class PoolEncoder(base_encoder.BaseEncoder):
  """Two log-mel frames -> one encoded frame."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('width', 12, 'Width of encoded frames.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    self.CreateChild(
      'proj',
      layers.FCLayer.Params().Set(input_dim=_FACTOR * p.num_bins, output_dim=p.width, activation='TANH', has_bias=True),
    )

  @classmethod
  def DownsampleFactor(cls, p):
    return _FACTOR

  @property
  def output_dim(self):
    return self.params.width

  def FProp(self, theta, features, paddings):
    stacked, paddings = quantizer.StackFrames(features, paddings, _FACTOR)
    return self.proj.FProp(theta.proj, stacked), paddings
