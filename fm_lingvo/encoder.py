"""The body of the hydra: subsampling by 4, then Conformer blocks, with adapters or not.

B: utterances, T: log-mel frames, N: encoded frames = T / 4, F: mel bins,
C: convolution channels, D: model width.
"""

from fm_lingvo import adapter
from fm_lingvo import errors
from fm_lingvo import gin_names
from fm_lingvo import precision
from fm_lingvo import quantizer
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import bn_layers
from lingvo.core import conformer_layer
from lingvo.core import conv_layers_with_time_padding as conv_layers
from lingvo.core import hyperparams
from lingvo.core import layers
from lingvo.core import py_utils

SUBSAMPLING_FACTOR = 4
_SUBSAMPLINGS = ('conv', 'stack')
_CONV_NORMS = {
    'layer_norm': layers.LayerNorm.Params,
    'group_norm': bn_layers.GroupNormLayer.Params,
}


class Subsampling(base_layer.BaseLayer):
  """Four frames of F bins -> one of width D.

  `conv`: two 3 x 3 convolutions of stride 2 (Conformer, arXiv 2005.08100).
  `stack`: four frames joined, as the quantizer sees them; cheaper on a CPU.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('kind', 'conv', f'One of {", ".join(_SUBSAMPLINGS)}.')
    p.Define('num_bins', None, 'Mel bins F of a frame, > 0.')
    p.Define('channels', 32, 'Channels C of both convolutions, > 0.')
    p.Define('model_dim', None, 'Output width D, > 0.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.kind not in _SUBSAMPLINGS:
      raise errors.ConfigError(f'{p.name}.kind = {p.kind!r}: expected one of '
                       f'{", ".join(_SUBSAMPLINGS)}')
    width = SUBSAMPLING_FACTOR * p.num_bins
    if p.kind == 'conv':
      conv = conv_layers.Conv2DLayerWithPadding.Params().Set(
          filter_stride=(2, 2), bias=True)
      self.CreateChild('conv_0', conv.Copy().Set(
          filter_shape=(3, 3, 1, p.channels)))
      self.CreateChild('conv_1', conv.Copy().Set(
          filter_shape=(3, 3, p.channels, p.channels)))
      width = p.channels * (-(-p.num_bins // 4))
    self.CreateChild('proj', layers.FCLayer.Params().Set(
        input_dim=width, output_dim=p.model_dim, activation='NONE',
        has_bias=True))

  def FProp(self, theta, features, paddings):
    """Args: features [B, T, F], paddings [B, T]. Returns: [B, N, D], [B, N]."""
    p = self.params
    stacked, out_paddings = quantizer.StackFrames(features, paddings,
                                                  SUBSAMPLING_FACTOR)
    if p.kind == 'conv':
      x = features[..., tf.newaxis]  # [B, T, F, 1]
      x, paddings = self.conv_0.FProp(theta.conv_0, x, paddings)
      x, _ = self.conv_1.FProp(theta.conv_1, tf.nn.relu(x), paddings)
      x = tf.nn.relu(x)  # [B, N, F / 4, C]
      batch, time, bins, channels = py_utils.GetShape(x, 4)
      stacked = tf.reshape(x, [batch, time, bins * channels])  # [B, N, F/4 * C]
    return self.proj.FProp(theta.proj, stacked), out_paddings


class AdaptedConformerLayer(conformer_layer.ConformerLayer):
  """Lingvo's block with adapters that belong to the encoder, not to the block.

  So the block's variables keep their names. FProp finds the adapters' variables in
  `theta.adapters`, beside its own: a block under remat must be given all it uses.
  """

  def SetAdapters(self, group):
    """Applies the adapters of an adapter.Group from now on."""
    self._adapters = group

  def _MoeOrFFLayer(self, theta, fflayer_name, *args, **kwargs):
    features, *rest = super()._MoeOrFFLayer(theta, fflayer_name, *args, **kwargs)
    return (adapter.Adapt(self._adapters, theta.adapters, fflayer_name, features),
            *rest)

  def _FProp(self, theta, in_nmap):
    out = super()._FProp(theta, in_nmap)
    for place in ('after_block', 'parallel'):
      out.features = adapter.Adapt(self._adapters, theta.adapters, place,
                                   out.features, in_nmap.features)
    return out


class ConformerEncoder(base_layer.BaseLayer):
  """Subsampling and `num_layers` of Lingvo's ConformerLayer.

  No layer keeps batch statistics, so that neither padding nor the other
  utterances of a batch nor freezing change what an utterance is encoded to.

  `fprop_dtype` is the dtype of its arithmetic, and fm_lingvo/precision.py says what of
  it stays float32.

  `adapters` names sets of adapters, one for each domain; their variables lie under
  adapters/NAME/. `active_adapter` is the set that is applied, in every block.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('subsampling', Subsampling.Params(), 'Frames -> encoded frames.')
    p.Define('model_dim', 144, 'Width D of the blocks, a multiple of num_heads.')
    p.Define('num_layers', 4, 'Conformer blocks, >= 1.')
    p.Define('num_heads', 4, 'Attention heads, >= 1.')
    p.Define('ff_dim', None,
             'Hidden width of a feed-forward module, > 0; None means 4 * D.')
    p.Define('kernel_size', 15,
             'Kernel of the depthwise convolution in encoded frames (40 ms), >= 1.')
    p.Define('conv_norm', 'layer_norm',
             'Normalisation inside the convolution module, one of '
             f'{", ".join(_CONV_NORMS)}: never batch statistics.')
    p.Define('group_norm_groups', 8,
             'Groups of group_norm, >= 1 and a divisor of model_dim.')
    p.Define('dropout_prob', 0.1, 'Residual and inner dropout, in [0, 1).')
    p.Define('atten_left_context', None,
             'Encoded frames an attention sees to its left, itself included, '
             '>= 1; None means all.')
    p.Define('atten_right_context', None,
             'Encoded frames an attention sees to its right, >= 0; None means all.')
    p.Define('atten_chunk_size', None,
             'If set, >= 1: chunk-wise attention (USM, arXiv 2303.01037) over '
             'chunks of this many encoded frames with the contexts above; the '
             'cost then grows linearly with length.')
    p.Define('use_relative_atten', True,
             'Relative positions (Transformer-XL, as in Conformer).')
    p.Define('remat', False,
             'If True, recomputes each block in the backward pass: memory for '
             'activations falls to one block, for about a third more time.')
    p.Define('adapters', [], 'Names of the sets of adapters that the encoder has, '
             'one set for each domain.')
    p.Define('active_adapter', None,
             'Which of `adapters` is applied; None: none.')
    p.Define('adapter_position', 'after_block',
             'Where in every block: after_block; parallel, to the whole block; or '
             'after_ff, after each of its two feed-forward modules.')
    p.Define('adapter_tpl', adapter.ResidualAdapter.Params(), 'One adapter.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.model_dim % p.num_heads:
      raise errors.ConfigError(f'{p.name}.model_dim = {p.model_dim}: expected a multiple '
                       f'of num_heads = {p.num_heads}')
    if p.num_layers < 1:
      raise errors.ConfigError(f'{p.name}.num_layers = {p.num_layers}: expected >= 1')
    if p.conv_norm not in _CONV_NORMS:
      raise errors.ConfigError(f'{p.name}.conv_norm = {p.conv_norm!r}: expected one of '
                       f'{", ".join(_CONV_NORMS)}')
    self.CreateChild('subsampling', p.subsampling.Copy().Set(model_dim=p.model_dim))
    self.CreateChild('dropout', layers.DeterministicDropoutLayer.Params().Set(
        keep_prob=1.0 - p.dropout_prob))
    self.CreateChildren('blocks', [self._BlockParams(i)
                                   for i in range(p.num_layers)])
    if p.adapters:
      self.CreateChild('adapters', adapter.AdaptersParams(
          p.name, p.adapters, p.adapter_position, p.num_layers,
          p.adapter_tpl.Copy().Set(input_dim=p.model_dim)))
    if p.active_adapter is not None:
      gin_names.CheckChoice(f'{p.name}.active_adapter', p.active_adapter, p.adapters)
      for i, block in enumerate(self.blocks):
        block.SetAdapters(
            self.adapters.children[p.active_adapter].children[f'block_{i}'])

  def _BlockParams(self, index):
    """Params of the block number `index`."""
    p = self.params
    norm = _CONV_NORMS[p.conv_norm]()
    if p.conv_norm == 'group_norm':
      norm.num_groups = p.group_norm_groups
    # Chunk-wise attention takes 0, not None, for "nothing beyond the chunk".
    left, right = p.atten_left_context, p.atten_right_context
    if p.atten_chunk_size is not None:
      left, right = left or 0, right or 0
    cls = conformer_layer.ConformerLayer
    if p.active_adapter is not None:
      cls = AdaptedConformerLayer
    block = cls.CommonParams(
        input_dim=p.model_dim,
        atten_num_heads=p.num_heads,
        atten_left_context=left,
        atten_right_context=right,
        atten_chunk_size=p.atten_chunk_size,
        use_relative_atten=p.use_relative_atten,
        kernel_size=p.kernel_size,
        fflayer_hidden_dim=p.ff_dim or 4 * p.model_dim,
        dropout_prob=p.dropout_prob,
        conv_norm_layer_tpl=norm,
        fprop_dtype=p.fprop_dtype)
    _UseStatelessDropout(block)
    if p.fprop_dtype not in (None, tf.float32):
      precision.KeepFloat32(block)
    return block.Set(name=f'block_{index}', remat=p.remat)

  def FProp(self, theta, features, paddings):
    """Encodes a batch.

    Args:
      theta: This layer's variables.
      features: [B, T, F] log-mel, T a multiple of 4.
      paddings: float32 [B, T], 1 on padding.

    Returns:
      (encoded float32 [B, N, D], paddings float32 [B, N]).
    """
    dtype = self.params.fprop_dtype or tf.float32
    x, paddings = self.subsampling.FProp(
        theta.subsampling, self._CastToFPropDtype(features), paddings)
    x = self.dropout.FProp(theta.dropout, x)
    state = py_utils.NestedMap(
        features=x, paddings=tf.cast(paddings, dtype))
    for block, block_theta in zip(self.blocks, self._BlocksTheta(theta)):
      state = block.FProp(block_theta, state)
    return tf.cast(state.features, tf.float32), paddings

  def _BlocksTheta(self, theta):
    """List of each block's variables, with those of its active adapters."""
    active = self.params.active_adapter
    if active is None:
      return theta.blocks
    return [py_utils.NestedMap(block, adapters=theta.adapters[active][f'block_{i}'])
            for i, block in enumerate(theta.blocks)]


def _UseStatelessDropout(p):
  """Makes every dropout in Params `p` a function of the step.

  A resumed run then drops what the uninterrupted one would have, and a block that
  is recomputed what its forward pass did.
  """
  for name, value in p.IterParams():
    if isinstance(value, hyperparams.InstantiableParams) and (
        value.cls is layers.DropoutLayer):
      p.Set(**{name: layers.DeterministicDropoutLayer.Params().Set(
          keep_prob=value.keep_prob)})
    elif isinstance(value, hyperparams.Params):
      _UseStatelessDropout(value)
