"""The body of the hydra: subsampling by 4, then Conformer blocks, with adapters or not.

It encodes whole utterances (FProp) or, if `causal`, speech while it comes (StreamStep).

B: utterances, T: log-mel frames, N: encoded frames = T / 4, F: mel bins,
D: model width.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import bn_layers
from lingvo.core import conformer_layer
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import adapter
from fm_lingvo.layers import conformer_cpu
from fm_lingvo.layers import mixed_precision
from fm_lingvo.layers import rematerialize
from fm_lingvo.layers import subparams
from fm_lingvo.layers import subsampling
from fm_lingvo.runtime import batch_split
from fm_lingvo.utils import suggest

SUBSAMPLING_FACTOR = subsampling.FACTOR
_MAX_LAYERS = 1000  # A graph of more would take minutes to build: a slip of the finger.
_CONV_NORMS = {
  'layer_norm': layers.LayerNorm.Params,
  'group_norm': bn_layers.GroupNormLayer.Params,
}


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
    return (adapter.Adapt(self._adapters, theta.adapters, fflayer_name, features), *rest)

  def _FProp(self, theta, in_nmap):
    out = super()._FProp(theta, in_nmap)
    out.features = self._AdaptBlock(theta, out.features, in_nmap.features)
    return out

  def StreamStep(self, theta, in_nmap, state0):
    features, paddings, state1 = super().StreamStep(theta, in_nmap, state0)
    return self._AdaptBlock(theta, features, in_nmap.features), paddings, state1

  def _AdaptBlock(self, theta, features, block_inputs):
    """The adapters of the whole block; those inside are _MoeOrFFLayer's."""
    for place in ('after_block', 'parallel'):
      features = adapter.Adapt(self._adapters, theta.adapters, place, features, block_inputs)
    return features


class ConformerEncoder(base_layer.BaseLayer):
  """Subsampling and `num_layers` of Lingvo's ConformerLayer.

  No layer keeps batch statistics, so that neither padding nor the other
  utterances of a batch nor freezing change what an utterance is encoded to.

  `fprop_dtype` is the dtype of its arithmetic, and fm_lingvo/layers/mixed_precision.py says what of
  it stays float32.

  `adapters` names sets of adapters, one for each domain; their variables lie under
  adapters/NAME/. `active_adapter` is the set that is applied, in every block.

  With `causal` no encoded frame depends on frames after its own four, and StreamStep
  gives, step by step, what FProp gives at once. The variables are the same as without.
  What comes before has to stream too: per-utterance normalisation does not, for its
  mean is known at the end only. A streaming model is trained with
  frontend.normalization = 'global' or 'none'.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('subsampling', subsampling.Subsampling.Params(), 'Frames -> encoded frames.')
    p.Define('model_dim', 144, 'Width D of the blocks, a multiple of num_heads.')
    p.Define('num_layers', 4, f'Conformer blocks, 1 to {_MAX_LAYERS}.')
    p.Define('num_heads', 4, 'Attention heads, >= 1.')
    p.Define('ff_dim', None, 'Hidden width of a feed-forward module, > 0; None means 4 * D.')
    p.Define('kernel_size', 15, 'Kernel of the depthwise convolution in encoded frames (40 ms), >= 1.')
    p.Define(
      'conv_norm',
      'layer_norm',
      f'Normalisation inside the convolution module, one of {", ".join(_CONV_NORMS)}: never batch statistics.',
    )
    p.Define('group_norm_groups', 8, 'Groups of group_norm, >= 1 and a divisor of model_dim.')
    p.Define('dropout_prob', 0.1, 'Residual and inner dropout, in [0, 1).')
    p.Define(
      'causal',
      False,
      'Convolutions and subsampling see the past only, as StreamStep needs; '
      'wants a finite atten_left_context, atten_right_context = 0 and no '
      'atten_chunk_size.',
    )
    p.Define(
      'atten_left_context',
      None,
      'Encoded frames an attention sees to its left, itself included, '
      '>= 1; None means all, with atten_chunk_size none before the chunk.',
    )
    p.Define(
      'atten_right_context',
      None,
      'Encoded frames an attention sees to its right, >= 0; None means all, '
      'with atten_chunk_size none after the chunk.',
    )
    p.Define(
      'atten_chunk_size',
      None,
      'If set, >= 1: chunk-wise attention (USM, arXiv 2303.01037) over '
      'chunks of this many encoded frames with the contexts above; the '
      'cost then grows linearly with length.',
    )
    p.Define('use_relative_atten', True, 'Relative positions (Transformer-XL, as in Conformer).')
    p.Define(
      'remat',
      False,
      'If True, recomputes each block in the backward pass: memory for '
      'activations falls to one block, for about a third more time.',
    )
    p.Define('adapters', [], 'Names of the sets of adapters that the encoder has, one set for each domain.')
    p.Define('active_adapter', None, 'Which of `adapters` is applied; None: none.')
    p.Define(
      'adapter_position',
      'after_block',
      'Where in every block: after_block; parallel, to the whole block; or '
      'after_ff, after each of its two feed-forward modules.',
    )
    p.Define('adapter_tpl', adapter.ResidualAdapter.Params(), 'One adapter.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.model_dim % p.num_heads:
      raise errors.ConfigError(f'{p.name}.model_dim = {p.model_dim}: expected a multiple of num_heads = {p.num_heads}')
    if not 1 <= p.num_layers <= _MAX_LAYERS:
      raise errors.ConfigError(f'{p.name}.num_layers = {p.num_layers}: expected 1 to {_MAX_LAYERS}')
    if not 0 <= p.dropout_prob < 1:
      raise errors.ConfigError(f'{p.name}.dropout_prob = {p.dropout_prob}: expected a probability in [0, 1)')
    if p.conv_norm not in _CONV_NORMS:
      raise errors.ConfigError(f'{p.name}.conv_norm = {p.conv_norm!r}: expected one of {", ".join(_CONV_NORMS)}')
    if p.ff_dim is not None and p.ff_dim < 1:
      raise errors.ConfigError(f'{p.name}.ff_dim = {p.ff_dim}: expected > 0 or None')
    if p.conv_norm == 'group_norm' and (p.group_norm_groups < 1 or p.model_dim % p.group_norm_groups):
      raise errors.ConfigError(
        f'{p.name}.group_norm_groups = {p.group_norm_groups}: expected a divisor of model_dim = {p.model_dim}'
      )
    self._CheckContexts()
    self.CreateChild('subsampling', p.subsampling.Copy().Set(model_dim=p.model_dim, causal=p.causal))
    self.CreateChild('dropout', layers.DeterministicDropoutLayer.Params().Set(keep_prob=1.0 - p.dropout_prob))
    self.CreateChildren('blocks', [self._BlockParams(i) for i in range(p.num_layers)])
    if p.adapters:
      self.CreateChild(
        'adapters',
        adapter.AdaptersParams(
          p.name, p.adapters, p.adapter_position, p.num_layers, p.adapter_tpl.Copy().Set(input_dim=p.model_dim)
        ),
      )
    if p.active_adapter is not None:
      suggest.CheckChoice(f'{p.name}.active_adapter', p.active_adapter, p.adapters)
      for i, block in enumerate(self.blocks):
        block.SetAdapters(self.adapters.children[p.active_adapter].children[f'block_{i}'])

  def _CheckContexts(self):
    """Raises ConfigError unless the attention's contexts go together."""
    p = self.params

    def _Refuse(name, expected):
      raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected {expected}')

    for name, least in (('atten_left_context', 1), ('atten_right_context', 0), ('atten_chunk_size', 1)):
      if p.Get(name) is not None and p.Get(name) < least:
        _Refuse(name, f'>= {least}')
    if p.causal:
      if p.atten_chunk_size is not None:
        _Refuse('atten_chunk_size', "None with causal = True, for a chunk's frames see those after them")
      if p.atten_right_context != 0:
        _Refuse('atten_right_context', '0 with causal = True')
      if p.atten_left_context is None:
        _Refuse('atten_left_context', '>= 1 with causal = True')
    elif p.atten_chunk_size is None:
      for name, other in (('atten_left_context', 'atten_right_context'), ('atten_right_context', 'atten_left_context')):
        if p.Get(name) is None and p.Get(other) is not None:
          _Refuse(name, f'a number of frames, as {other} = {p.Get(other)}')

  def _BlockParams(self, index):
    """Params of the block number `index`."""
    p = self.params
    norm = _CONV_NORMS[p.conv_norm]()
    if p.conv_norm == 'group_norm':
      norm.num_groups = p.group_norm_groups
    # Chunk-wise attention takes 1 and 0, not None, for "nothing beyond the chunk".
    left, right = p.atten_left_context, p.atten_right_context
    if p.atten_chunk_size is not None:
      left, right = left or 1, right or 0
    cls = conformer_layer.ConformerLayer
    if p.active_adapter is not None:
      cls = AdaptedConformerLayer
    block = cls.CommonParams(
      input_dim=p.model_dim,
      is_causal=p.causal,
      atten_num_heads=p.num_heads,
      atten_left_context=left,
      atten_right_context=right,
      atten_chunk_size=p.atten_chunk_size,
      use_relative_atten=p.use_relative_atten,
      kernel_size=p.kernel_size,
      fflayer_hidden_dim=p.ff_dim or 4 * p.model_dim,
      dropout_prob=p.dropout_prob,
      conv_norm_layer_tpl=norm,
      fprop_dtype=p.fprop_dtype,
    )
    _UseStatelessDropout(block)
    conformer_cpu.Use(block)
    if p.fprop_dtype not in (None, tf.float32):
      mixed_precision.KeepFloat32(block)
    return block.Set(name=f'block_{index}')

  def FProp(self, theta, features, paddings):
    """Encodes a batch.

    Args:
      theta: This layer's variables.
      features: [B, T, F] log-mel, T a multiple of 4.
      paddings: float32 [B, T], 1 on padding.

    Returns:
      (encoded float32 [B, N, D], paddings float32 [B, N]).
    """
    return tuple(batch_split.Apply(self._Encode, theta, features, paddings, is_random=True))

  def _Encode(self, theta, features, paddings):
    """FProp of a part of the batch."""
    dtype = self.params.fprop_dtype or tf.float32
    x, paddings = self.subsampling.FProp(theta.subsampling, self._CastToFPropDtype(features), paddings)
    x = self.dropout.FProp(theta.dropout, x)
    state = py_utils.NestedMap(features=x, paddings=tf.cast(paddings, dtype))
    for block, block_theta in zip(self.blocks, self._BlocksTheta(theta)):
      state = (
        rematerialize.FProp(block.FProp, block_theta, state) if self.params.remat else block.FProp(block_theta, state)
      )
    return [tf.cast(state.features, tf.float32), paddings]

  def zero_state(self, batch_size):
    """The state before the first frame of B utterances, a NestedMap.

    Its size does not depend on how much was heard: each block keeps the keys and
    values of atten_left_context - 1 frames and kernel_size - 1 frames.

    Raises:
      errors.ConfigError: The params do not allow streaming.
    """
    p = self.params
    for name, expected in (('causal', True), ('remat', False)):
      if p.Get(name) != expected:
        raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected {expected} for streaming')
    if p.fprop_dtype not in (None, tf.float32):
      raise errors.ConfigError(f'{p.name}.fprop_dtype = {p.fprop_dtype.name}: expected float32 for streaming')
    return py_utils.NestedMap(
      subsampling=self.subsampling.zero_state(batch_size),
      blocks=[block.zero_state(batch_size) for block in self.blocks],
    )

  def StreamStep(self, theta, features, paddings, state0):
    """Encodes the next frames; FProp of all frames, piece by piece.

    Args:
      theta: This layer's variables.
      features: float32 [B, T, F], the next log-mel frames, T a multiple of 4.
      paddings: float32 [B, T], 1 on padding, which may only end an utterance.
      state0: Of the step before, or zero_state's.

    Returns:
      (encoded float32 [B, N, D], paddings float32 [B, N], the new state).
    """
    state1 = py_utils.NestedMap(blocks=[])
    x, paddings, state1.subsampling = self.subsampling.StreamStep(
      theta.subsampling, features, paddings, state0.subsampling
    )
    x = self.dropout.FProp(theta.dropout, x)
    for block, block_theta, block_state in zip(self.blocks, self._BlocksTheta(theta), state0.blocks):
      x, _, block_state = block.StreamStep(block_theta, py_utils.NestedMap(features=x, paddings=paddings), block_state)
      state1.blocks.append(block_state)
    return x, paddings, state1

  def _BlocksTheta(self, theta):
    """List of each block's variables, with those of its active adapters."""
    active = self.params.active_adapter
    if active is None:
      return theta.blocks
    return [
      py_utils.NestedMap(block, adapters=theta.adapters[active][f'block_{i}']) for i, block in enumerate(theta.blocks)
    ]


def _UseStatelessDropout(p):
  """Makes every dropout in Params `p` a function of the step.

  A resumed run then drops what the uninterrupted one would have, and a block that
  is recomputed what its forward pass did.
  """
  for owner, name, layer in subparams.All(p):
    if subparams.Class(layer) is layers.DropoutLayer:
      owner.Set(**{name: layers.DeterministicDropoutLayer.Params().Set(keep_prob=layer.keep_prob)})
