"""Residual bottleneck adapters: a few parameters a block that adapt a frozen encoder.

B: utterances, N: encoded frames, D: model width, A: width of the bottleneck.
"""

import re

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import mixed_precision
from fm_lingvo.utils import suggest

POSITIONS = ('after_block', 'parallel', 'after_ff')

# Where the adapters of a position sit. The places are part of their variables' names,
# so that adapters trained at one position cannot be loaded at another.
_PLACES = {
  'after_block': ('after_block',),
  'parallel': ('parallel',),
  'after_ff': ('fflayer_start', 'fflayer_end'),
}
_ACTIVATIONS = ('RELU', 'GELU', 'SWISH', 'TANH', 'NONE')
NO_ADAPTER = 'none'  # Where a set is chosen: no adapter is applied.
NAME_RULE = f'lower-case letters, digits and _, a letter first, and not {NO_ADAPTER}'


def IsName(name):
  """Whether adapters may be called so."""
  return isinstance(name, str) and name != NO_ADAPTER and bool(re.fullmatch('[a-z][a-z0-9_]*', name))


class ResidualAdapter(base_layer.BaseLayer):
  """x + up(activation(down(layer norm(x)))), the identity when it is made.

  Houlsby et al., arXiv 1902.00751; the form with a layer norm at the entrance is
  Bapna and Firat's, arXiv 1909.08478. The weight and the bias of `up` start at zero:
  the sum is then x, bit for bit, and `up` alone has a gradient at the first step.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('input_dim', None, 'Width D; the encoder sets it to its own.')
    p.Define('bottleneck_dim', 32, 'Width A of the bottleneck, >= 1.')
    p.Define('activation', 'RELU', f'Inside the bottleneck, one of {", ".join(_ACTIVATIONS)}.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.bottleneck_dim < 1:
      raise errors.ConfigError(f'{p.name}.bottleneck_dim = {p.bottleneck_dim}: expected >= 1')
    suggest.CheckChoice(f'{p.name}.activation', p.activation, _ACTIVATIONS)
    self.CreateChild('ln', mixed_precision.LayerNorm.Params().Set(input_dim=p.input_dim))
    self.CreateChild(
      'down',
      layers.FCLayer.Params().Set(
        input_dim=p.input_dim, output_dim=p.bottleneck_dim, activation=p.activation, has_bias=True
      ),
    )
    self.CreateChild(
      'up',
      layers.FCLayer.Params().Set(
        input_dim=p.bottleneck_dim,
        output_dim=p.input_dim,
        activation='NONE',
        has_bias=True,
        params_init=py_utils.WeightInit.Constant(0.0),
      ),
    )

  def Residual(self, theta, inputs):
    """What is added to `inputs` [B, N, D]; of the same shape."""
    x = self.ln.FProp(theta.ln, inputs)
    x = self.down.FProp(theta.down, x)  # [B, N, D] -> [B, N, A]
    return self.up.FProp(theta.up, x)  # [B, N, A] -> [B, N, D]

  def FProp(self, theta, inputs):
    """Args: inputs [B, N, D]. Returns: [B, N, D]."""
    return inputs + self.Residual(theta, inputs)


class Group(base_layer.BaseLayer):
  """Layers under one scope, by their names; it computes nothing itself."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('members', [], 'List of layer Params, each with a name of its own.')
    return p

  def __init__(self, params):
    super().__init__(params)
    for member in self.params.members:
      self.CreateChild(member.name, member)


def AdaptersParams(path, names, position, num_blocks, adapter_tpl):
  """Params of all adapters of an encoder: NAME/block_INDEX/PLACE/...

  Args:
    path: Of the encoder, for messages.
    names: Names of the sets of adapters, one set for each domain.
    position: One of POSITIONS.
    num_blocks: Blocks of the encoder.
    adapter_tpl: ResidualAdapter Params with their input_dim.

  Returns:
    Group Params, of a Group for each name, of a Group for each block.

  Raises:
    errors.ConfigError: A name or position that cannot be.
  """
  suggest.CheckChoice(f'{path}.adapter_position', position, POSITIONS)
  for name in names:
    if not IsName(name):
      raise errors.ConfigError(f'{path}.adapters: {name!r} is no name of adapters, expected {NAME_RULE}')
    if list(names).count(name) > 1:
      raise errors.ConfigError(f'{path}.adapters: {name} is named twice')

  def _Group(name, members):
    return Group.Params().Set(name=name, members=members)

  return _Group(
    'adapters',
    [
      _Group(
        name,
        [
          _Group(f'block_{i}', [adapter_tpl.Copy().Set(name=place) for place in _PLACES[position]])
          for i in range(num_blocks)
        ],
      )
      for name in names
    ],
  )


def Adapt(adapters, theta, place, features, block_inputs=None):
  """Applies the adapter of a place, if a block has one there.

  Args:
    adapters: Group of one block's adapters.
    theta: Its variables.
    place: after_block, parallel, fflayer_start or fflayer_end.
    features: [B, N, D], what the block, or its feed-forward module, gives.
    block_inputs: [B, N, D], what enters the block; wanted for `parallel`.

  Returns:
    [B, N, D].
  """
  if place not in adapters.children:
    return features
  layer = adapters.children[place]
  if place == 'parallel':
    return features + layer.Residual(theta[place], tf.cast(block_inputs, features.dtype))
  return layer.FProp(theta[place], features)
