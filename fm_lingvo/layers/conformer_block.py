"""One block of the Conformer encoder: Lingvo's ConformerLayer, optionally with adapters.

B: utterances, N: encoded frames, D: model width.
"""

from lingvo import compat as tf
from lingvo.core import bn_layers
from lingvo.core import conformer_layer
from lingvo.core import hyperparams
from lingvo.core import layers

from fm_lingvo.layers import adapter
from fm_lingvo.layers import chunk_attention
from fm_lingvo.layers import conformer_cpu
from fm_lingvo.layers import draws
from fm_lingvo.layers import mixed_precision
from fm_lingvo.layers import subparams

CONV_NORMS = {
  'layer_norm': layers.LayerNorm.Params,
  'group_norm': bn_layers.GroupNormLayer.Params,
}


def BlockParams(p: hyperparams.Params, index: int) -> hyperparams.InstantiableParams:
  """Returns the Params of block number `index` of a conformer_encoder.ConformerEncoder with Params `p`."""
  norm = CONV_NORMS[p.conv_norm]()
  if p.conv_norm == 'group_norm':
    norm.num_groups = p.group_norm_groups
  # Lingvo's chunk-wise attention expects 1 and 0, not None, for no context beyond the chunk.
  left, right = p.atten_left_context, p.atten_right_context
  if p.atten_chunk_size is not None:
    left, right = left or 1, right or 0
  has_residual = p.active_adapter is not None and p.adapter_kind == 'residual'
  cls = AdaptedConformerLayer if has_residual else conformer_layer.ConformerLayer
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
  if p.atten_chunk_size is None and left is not None:
    # Lingvo's blocks have left - 1 frames, and it refuses a longer right context than a block.
    block.trans_atten_tpl.atten_tpl.block_size = max(left - 1, right, 1)
  _UseStatelessDropout(block)
  conformer_cpu.Use(block)
  chunk_attention.Use(block)
  if p.fprop_dtype not in (None, tf.float32):
    mixed_precision.KeepFloat32(block)
  return block.Set(name=f'block_{index}')


class AdaptedConformerLayer(conformer_layer.ConformerLayer):
  """Lingvo's block with adapters that are children of the encoder, not of the block.

  This keeps the names of the block's variables. FProp takes the adapters' variables from
  `theta.adapters`, since rematerialisation needs all variables of a block in its theta.
  """

  def SetAdapters(self, group):
    """Sets the adapter.Group whose adapters are applied."""
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
    """Applies the adapters of the whole block; _MoeOrFFLayer applies those inside."""
    for place in ('after_block', 'parallel'):
      features = adapter.Adapt(self._adapters, theta.adapters, place, features, block_inputs)
    return features


def _UseStatelessDropout(p):
  """Makes every dropout in Params `p` a deterministic function of the step.

  A resumed run then drops the same units as an uninterrupted run, and a rematerialised
  block the same units as its forward pass.
  """
  for owner, name, layer in subparams.All(p):
    if subparams.Class(layer) is layers.DropoutLayer:
      owner.Set(**{name: draws.Dropout.Params().Set(keep_prob=layer.keep_prob)})
