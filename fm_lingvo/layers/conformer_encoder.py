"""The Conformer encoder: subsampling by 4 or 8, then Conformer blocks, optionally with adapters.

It encodes whole utterances (FProp) or, if `causal`, streaming speech (StreamStep).

B: utterances, T: log-mel frames, N: encoded frames = T / subsampling.factor, F: mel bins,
D: model width.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import adapter
from fm_lingvo.layers import base_encoder
from fm_lingvo.layers import conformer_block
from fm_lingvo.layers import draws
from fm_lingvo.layers import lora
from fm_lingvo.layers import rematerialize
from fm_lingvo.layers import shared_trace
from fm_lingvo.layers import subsampling
from fm_lingvo.runtime import batch_split
from fm_lingvo.utils import ranges
from fm_lingvo.utils import suggest

_MAX_LAYERS = 1000  # More layers are most likely a mistake, and their graph takes minutes to build.


class ConformerEncoder(base_encoder.BaseEncoder):
  """Subsampling and `num_layers` of Lingvo's ConformerLayer.

  No layer uses batch statistics, so that the encoding of an utterance depends neither
  on padding, nor on the rest of the batch, nor on whether the encoder is frozen.

  `fprop_dtype` is the dtype of the computation; fm_lingvo/layers/mixed_precision.py
  lists what stays float32.

  `adapters` names sets of adapters, one per domain, whose variables are under
  adapters/NAME/. `active_adapter` is the set that is applied, in every block.

  With `causal`, an encoded frame does not depend on log-mel frames after its own, and
  StreamStep gives the same outputs step by step as FProp for the whole utterance. The
  variables are the same as without `causal`. The front end must be able to stream, too, so
  a streaming model is trained with frontend.normalization = 'global' or 'none';
  per-utterance normalisation needs the whole utterance.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('subsampling', subsampling.Subsampling.Params(), 'Subsampling of log-mel frames to encoded frames.')
    p.Define('model_dim', 144, 'Width D of the blocks, > 0, a multiple of num_heads.')
    p.Define('num_layers', 4, f'Number of Conformer blocks, 1 to {_MAX_LAYERS}.')
    p.Define('num_heads', 4, 'Number of attention heads, >= 1.')
    p.Define('ff_dim', None, 'Hidden width of a feed-forward module, > 0; None: 4 * D.')
    p.Define('kernel_size', 15, 'Kernel size of the depthwise convolution in encoded frames, >= 1.')
    p.Define(
      'conv_norm',
      'layer_norm',
      f'Normalisation in the convolution module, one of {", ".join(conformer_block.CONV_NORMS)}.',
    )
    p.Define('group_norm_groups', 8, 'Groups of group_norm, >= 1 and a divisor of model_dim.')
    p.Define(
      'causal',
      False,
      'Whether convolutions and subsampling use past frames only, as StreamStep needs; requires a finite '
      'atten_left_context and atten_right_context = 0. With atten_chunk_size, frames attend to all of their chunk.',
    )
    p.Define(
      'atten_left_context',
      None,
      'Left context of the attention in encoded frames, the current one included, '
      '>= 1; None: all, or with atten_chunk_size none before the chunk.',
    )
    p.Define(
      'atten_right_context',
      None,
      'Right context of the attention in encoded frames, >= 0; None: all, or '
      'with atten_chunk_size none after the chunk.',
    )
    p.Define(
      'atten_chunk_size',
      None,
      'Chunk size in encoded frames, >= 1, of chunk-wise attention (USM, arXiv '
      '2303.01037) with the contexts above, whose cost grows linearly with the '
      'length; None: no chunks.',
    )
    p.Define('use_relative_atten', True, 'Whether to use relative positions (Transformer-XL, as in Conformer).')
    p.Define(
      'remat',
      False,
      'Whether to recompute each block in the backward pass, which reduces the '
      'memory for activations to one block and takes about a third more time.',
    )
    p.Define('adapters', [], 'Names of the sets of adapters, one set per domain.')
    p.Define('active_adapter', None, 'Name of the set in `adapters` that is applied; None: none.')
    p.Define(
      'adapter_position',
      'after_block',
      'Position of the adapters in every block: after_block; parallel to the whole '
      'block; or after_ff, after each of its two feed-forward modules.',
    )
    p.Define(
      'adapter_kind',
      'residual',
      f'One of {", ".join(adapter.KINDS)}: bottlenecks at adapter_position; low-rank changes of '
      'projections; changes of all biases of the blocks.',
    )
    p.Define('adapter_tpl', adapter.ResidualAdapter.Params(), 'Params of one residual adapter.')
    p.Define('lora_tpl', lora.LowRank.Params(), "Params of a block's low-rank changes.")
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    ranges.AtLeast(p, num_bins=1, model_dim=1, num_heads=1, kernel_size=1)
    if p.model_dim % p.num_heads:
      raise errors.ConfigError(f'{p.name}.model_dim = {p.model_dim}: expected a multiple of num_heads = {p.num_heads}')
    if not 1 <= p.num_layers <= _MAX_LAYERS:
      raise errors.ConfigError(f'{p.name}.num_layers = {p.num_layers}: expected 1 to {_MAX_LAYERS}')
    if not 0 <= p.dropout_prob < 1:
      raise errors.ConfigError(f'{p.name}.dropout_prob = {p.dropout_prob}: expected a probability in [0, 1)')
    suggest.CheckChoice(f'{p.name}.conv_norm', p.conv_norm, conformer_block.CONV_NORMS)
    ranges.WholeOrNone(p, ff_dim=1, atten_left_context=1, atten_right_context=0, atten_chunk_size=1)
    if p.conv_norm == 'group_norm' and (p.group_norm_groups < 1 or p.model_dim % p.group_norm_groups):
      raise errors.ConfigError(
        f'{p.name}.group_norm_groups = {p.group_norm_groups}: expected a divisor of model_dim = {p.model_dim}'
      )
    self._CheckContexts()
    self.CreateChild(
      'subsampling', p.subsampling.Copy().Set(num_bins=p.num_bins, model_dim=p.model_dim, causal=p.causal)
    )
    self.CreateChild('dropout', draws.Dropout.Params().Set(keep_prob=1.0 - p.dropout_prob))
    self.CreateChildren('blocks', [conformer_block.BlockParams(p, i) for i in range(p.num_layers)])
    if p.adapters:
      self.CreateChild('adapters', adapter.AdaptersParams(p, self.blocks[0]))
    if p.active_adapter is not None:
      suggest.CheckChoice(f'{p.name}.active_adapter', p.active_adapter, p.adapters)
      if not self.ChangesWeights(p):
        for i, block in enumerate(self.blocks):
          block.SetAdapters(self._Group(p.active_adapter, i))

  def _Group(self, name, index):
    """The adapter.Group of the adapters `name` in a block."""
    return self.adapters.children[name].children[f'block_{index}']

  @classmethod
  def DownsampleFactor(cls, p):
    """That of the subsampling; see the base class."""
    return p.subsampling.factor

  @property
  def stream_frames(self):
    """See the base class: whole chunks."""
    return self.params.atten_chunk_size or 1

  @property
  def output_dim(self):
    """Width D of encoded frames."""
    return self.params.model_dim

  @classmethod
  def ActiveAdapter(cls, p):
    """See the base class."""
    return p.active_adapter

  @classmethod
  def ChangesWeights(cls, p):
    """See the base class."""
    return p.adapter_kind != 'residual'

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    idle = {} if p.conv_norm == 'group_norm' else {'group_norm_groups': "without conv_norm = 'group_norm'"}
    return {**idle, **adapter.Idle(p)}

  @classmethod
  def UseAdapter(cls, p, name, position=None, bottleneck_dim=None, kind=None, projections=None):
    """See the base class."""
    p.Set(adapters=[] if name is None else [name], active_adapter=name)
    if kind is not None:
      p.adapter_kind = kind
    if projections is not None:
      p.lora_tpl.projections = list(projections)
    if bottleneck_dim is not None and p.adapter_kind == 'lora':
      p.lora_tpl.rank, bottleneck_dim = bottleneck_dim, None
    if position is not None:
      p.adapter_position = position
    if bottleneck_dim is not None:
      p.adapter_tpl.bottleneck_dim = bottleneck_dim

  def _CheckContexts(self):
    """Raises ConfigError unless the attention contexts are consistent."""
    p = self.params

    def _Refuse(name, expected):
      raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected {expected}')

    if p.causal:
      if p.atten_right_context != 0:
        _Refuse('atten_right_context', '0 with causal = True')
      if p.atten_left_context is None:
        _Refuse('atten_left_context', '>= 1 with causal = True')
    elif p.atten_chunk_size is None:
      for name, other in (('atten_left_context', 'atten_right_context'), ('atten_right_context', 'atten_left_context')):
        if p.Get(name) is None and p.Get(other) is not None:
          _Refuse(name, f'a number of frames, since {other} = {p.Get(other)}')

  def FProp(self, theta, features, paddings):
    """Encodes a batch; see the base class."""
    theta = self._WithChanges(theta)
    return tuple(batch_split.Apply(self._Encode, theta, features, paddings, is_random=True))

  def _Encode(self, theta, features, paddings):
    """FProp for a part of the batch."""
    dtype = self.params.fprop_dtype or tf.float32
    x, paddings = self.subsampling.FProp(theta.subsampling, self._CastToFPropDtype(features), paddings)
    x = self.dropout.FProp(theta.dropout, x)
    state = py_utils.NestedMap(features=x, paddings=tf.cast(paddings, dtype))
    if self.params.remat:
      for block, block_theta in zip(self.blocks, self._BlocksTheta(theta)):
        state = rematerialize.FProp(block.FProp, block_theta, state)
    else:
      state = shared_trace.Chain(self.blocks, self._BlocksTheta(theta), state)
    return [tf.cast(state.features, tf.float32), paddings]

  def zero_state(self, batch_size):
    """The state before the first frame; see the base class.

    Each block keeps the keys and values of atten_left_context - 1 frames for the attention, and kernel_size - 1 frames
    for the convolution.
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
    """Encodes the next frames; see the base class."""
    theta = self._WithChanges(theta)
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
    """Returns the list of each block's variables, with those of its active adapters."""
    active = self.params.active_adapter
    if active is None or self.ChangesWeights(self.params):
      return theta.blocks
    return [
      py_utils.NestedMap(block, adapters=theta.adapters[active][f'block_{i}']) for i, block in enumerate(theta.blocks)
    ]

  def _WithChanges(self, theta):
    """Returns theta with the weights of the blocks as active adapters of the kinds `lora` and `bias` change them."""
    active = self.params.active_adapter
    if active is None or not self.ChangesWeights(self.params):
      return theta
    theta = theta.copy()
    theta.blocks = [
      adapter.InWeights(self._Group(active, i)).Apply(
        theta.adapters[active][f'block_{i}'][self.params.adapter_kind], block
      )
      for i, block in enumerate(theta.blocks)
    ]
    return theta

  def Merged(self, values):
    """Merges the active adapters into the blocks' weights; see the base class."""
    p = self.params
    if p.active_adapter is None or not self.ChangesWeights(p):
      return super().Merged(values)
    merged = dict(values)
    for i, block in enumerate(self.blocks):
      changes = adapter.InWeights(self._Group(p.active_adapter, i))
      theta = changes.vars.Transform(lambda v: values[v.op.name])
      for key, v in block.vars.FlattenItems():
        change = changes.Change(theta, key)
        if change is not None:
          merged[v.op.name] = (values[v.op.name] + change).astype(values[v.op.name].dtype)
    return merged
