"""Adapters: a few parameters per block that adapt a frozen encoder. Residual bottlenecks, or those of lora.py.

B: utterances, N: encoded frames, D: model width, A: width of the bottleneck.
"""

import re
from typing import Any

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import conformer_cpu
from fm_lingvo.layers import layer_norm
from fm_lingvo.layers import lora
from fm_lingvo.utils import ranges
from fm_lingvo.utils import suggest

KINDS = ('residual', 'lora', 'bias')
POSITIONS = ('after_block', 'parallel', 'after_ff')

# The places in a block where a position has adapters. They are part of the names of variables,
# so that adapters trained at one position cannot be loaded at another.
_PLACES = {
  'after_block': ('after_block',),
  'parallel': ('parallel',),
  'after_ff': ('fflayer_start', 'fflayer_end'),
}
_IN_WEIGHTS = ('lora', 'bias')  # Kinds that change a block's weights; the place has the kind's name.
_ACTIVATIONS = ('RELU', 'GELU', 'SWISH', 'TANH', 'NONE')
NO_ADAPTER = 'none'  # Where the name of a set is expected: no adapters.
NAME_RULE = f'lower-case letters, digits and _, starting with a letter, and not {NO_ADAPTER}'


def IsName(name):
  """Whether a name is valid for a set of adapters."""
  return isinstance(name, str) and name != NO_ADAPTER and bool(re.fullmatch('[a-z][a-z0-9_]*', name))


class ResidualAdapter(base_layer.BaseLayer):
  """x + up(activation(down(layer norm(x)))), initially the identity.

  From Houlsby et al., arXiv 1902.00751; the form with a layer norm on the input is
  from Bapna and Firat, arXiv 1909.08478. Weight and bias of `up` are initialised with
  zero, so that the sum is exactly x, and only `up` has a gradient at the first step.
  """

  set_by_owner = {'input_dim': 'since the encoder sets it to its model_dim'}

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('input_dim', None, 'Width D of inputs and outputs; set by the encoder.')
    p.Define('bottleneck_dim', 32, 'Width A of the bottleneck, >= 1.')
    p.Define('activation', 'RELU', f'Activation in the bottleneck, one of {", ".join(_ACTIVATIONS)}.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    ranges.AtLeast(p, bottleneck_dim=1)
    suggest.CheckChoice(f'{p.name}.activation', p.activation, _ACTIVATIONS)
    self.CreateChild('ln', layer_norm.LayerNorm.Params().Set(input_dim=p.input_dim, fprop_dtype=tf.float32))
    self.CreateChild(
      'down',
      conformer_cpu.FCLayer.Params().Set(
        input_dim=p.input_dim, output_dim=p.bottleneck_dim, activation=p.activation, has_bias=True
      ),
    )
    self.CreateChild(
      'up',
      conformer_cpu.FCLayer.Params().Set(
        input_dim=p.bottleneck_dim,
        output_dim=p.input_dim,
        activation='NONE',
        has_bias=True,
        params_init=py_utils.WeightInit.Constant(0.0),
      ),
    )

  def Residual(self, theta, inputs):
    """Returns the residual to be added to `inputs` [B, N, D], of the same shape."""
    x = self.ln.FProp(theta.ln, inputs)
    x = self.down.FProp(theta.down, x)  # [B, N, D] -> [B, N, A]
    return self.up.FProp(theta.up, x)  # [B, N, A] -> [B, N, D]

  def FProp(self, theta, inputs):
    """Args: inputs [B, N, D]. Returns: [B, N, D]."""
    return inputs + self.Residual(theta, inputs)


class Group(base_layer.BaseLayer):
  """A container of named layers under one scope, without a computation of its own."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('members', [], 'List of layer Params with different names.')
    return p

  def __init__(self, params):
    super().__init__(params)
    for member in self.params.members:
      self.CreateChild(member.name, member)


def Idle(p) -> dict[str, str]:
  """The params of adapters in a ConformerEncoder's Params that have no effect; see config/idle.py."""
  if not p.adapters:
    return dict.fromkeys(('adapter_kind', 'adapter_position', 'adapter_tpl', 'lora_tpl'), 'without adapters')
  idle = {} if p.adapter_kind == 'lora' else {'lora_tpl': "without adapter_kind = 'lora'"}
  if p.adapter_kind != 'residual':
    idle.update(dict.fromkeys(('adapter_position', 'adapter_tpl'), "without adapter_kind = 'residual'"))
  return idle


def AdaptersParams(p, block):
  """Returns the Params of all adapters of an encoder: NAME/block_INDEX/PLACE/...

  Args:
    p: Params of a ConformerEncoder.
    block: One of its blocks, which all have the same variables.

  Returns:
    Params of a Group with a Group for each name, which has a Group for each block.

  Raises:
    errors.ConfigError: A name, the kind or the position is invalid.
  """
  path, names = p.name, p.adapters
  suggest.CheckChoice(f'{path}.adapter_kind', p.adapter_kind, KINDS)
  suggest.CheckChoice(f'{path}.adapter_position', p.adapter_position, POSITIONS)
  places, member = _PLACES[p.adapter_position], p.adapter_tpl.Copy().Set(input_dim=p.model_dim)
  if p.adapter_kind != 'residual':
    shapes = {key: v.shape.as_list() for key, v in block.vars.FlattenItems()}
    member = p.lora_tpl.Copy() if p.adapter_kind == 'lora' else lora.Biases.Params()
    places, member = (p.adapter_kind,), member.Set(shapes=shapes)
  for name in names:
    if not IsName(name):
      raise errors.ConfigError(f'{path}.adapters: {name!r} is not a valid name, expected {NAME_RULE}')
    if list(names).count(name) > 1:
      raise errors.ConfigError(f'{path}.adapters: {name} is named twice')

  def _Group(name, members):
    return Group.Params().Set(name=name, members=members)

  return _Group(
    'adapters',
    [
      _Group(
        name,
        [_Group(f'block_{i}', [member.Copy().Set(name=place) for place in places]) for i in range(p.num_layers)],
      )
      for name in names
    ],
  )


def Saved(shapes: dict[str, tuple], scope: str) -> dict[str, dict[str, Any]]:
  """Finds the sets of adapters in a checkpoint.

  Args:
    shapes: Name of each variable in the checkpoint -> shape.
    scope: Scope of the encoder in these names, such as 'task/encoder'.

  Returns:
    dict: name of a set -> the arguments of BaseEncoder.UseAdapter that are known.
  """
  places: dict[str, set[str]] = {}
  widths: dict[str, int] = {}
  changes: dict[str, set[str]] = {}
  prefix = f'{scope}/adapters/'
  for variable, shape in shapes.items():
    if variable.startswith(prefix):
      name, _, place, *rest = variable[len(prefix) :].split('/')
      places.setdefault(name, set()).add(place)
      if rest == ['down', 'w', 'var']:
        widths[name] = shape[1]
      elif place == 'lora' and rest[0].endswith('_a'):
        widths[name] = shape[1]
        changes.setdefault(name, set()).add(rest[0])
  return {name: _Form(found, widths.get(name), changes.get(name, set())) for name, found in places.items()}


def _Form(places, width, changes):
  """The arguments of UseAdapter of a set with adapters at these places; changes: those of `lora`."""
  for kind in _IN_WEIGHTS:
    if places == {kind}:
      return dict(kind=kind, bottleneck_dim=width, projections=lora.ProjectionsOf(changes) or None)
  positions = [position for position, of_position in _PLACES.items() if set(of_position) == places]
  return dict(kind='residual', position=positions[0] if positions else None, bottleneck_dim=width)


def InWeights(group):
  """Returns the lora.WeightAdapter of a Group of one block's adapters, or None."""
  return next((layer for name, layer in group.children.items() if name in _IN_WEIGHTS), None)


def Adapt(adapters, theta, place, features, block_inputs=None):
  """Applies the adapter at a place of a block, if there is one.

  Args:
    adapters: Group of one block's adapters.
    theta: Variables of the group.
    place: after_block, parallel, fflayer_start or fflayer_end.
    features: [B, N, D], output of the block or of its feed-forward module.
    block_inputs: [B, N, D], input of the block; required for `parallel`.

  Returns:
    [B, N, D].
  """
  if place not in adapters.children:
    return features
  layer = adapters.children[place]
  if place == 'parallel':
    return features + layer.Residual(theta[place], tf.cast(block_inputs, features.dtype))
  return layer.FProp(theta[place], features)
