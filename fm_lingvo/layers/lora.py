"""Adapters in the weights: low-rank changes of a frozen block's projections, or changes of its biases alone.

W' = W + scale * A B (LoRA, arXiv 2106.09685), b' = b + d (BitFit, arXiv 2106.10199). The block computes with W' and b'
as if they were its own, so that it needs no code for them, and the change can be merged into plain weights. B and d
are zero at the start: the block is then the same, bit for bit. In bfloat16, W' is W again if a change is less than half
of a unit in its last place, so that such adapters are trained in float32 only.

D: inputs of a projection, P: its outputs, r: rank.
"""

import re

import numpy as np
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import provenance
from fm_lingvo.utils import ranges
from fm_lingvo.utils import suggest

# Part of a block -> {name of the change: key of the weights in the block's variables}.
_PARTS = {
  'query': {'query': 'trans_atten.atten.query.w'},
  'key': {'key': 'trans_atten.atten.key.w'},
  'value': {'value': 'trans_atten.atten.value.w'},
  'post': {'post': 'trans_atten.atten.post.w'},
  'feed_forward': {
    'ff_start_in': 'fflayer_start.fflayer.fc[0].w',
    'ff_start_out': 'fflayer_start.fflayer.fc[1].w',
    'ff_end_in': 'fflayer_end.fflayer.fc[0].w',
    'ff_end_out': 'fflayer_end.fflayer.fc[1].w',
  },
  'convolution': {'conv_in': 'lconv.linear_start.w', 'conv_out': 'lconv.linear_end.w'},
}
PROJECTIONS = tuple(_PARTS)
_BIAS = re.compile(r'(.*\.)?(b|bias)')  # Of layer norms, too.


class WeightAdapter(base_layer.BaseLayer):
  """Base class of changes of one block's weights."""

  set_by_owner = {'shapes': 'since the encoder sets it to those of its blocks'}

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('shapes', None, "Key of each of the block's variables -> shape; set by the encoder.")
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.fprop_dtype not in (None, tf.float32) and not self.do_eval:
      raise errors.ConfigError(
        f'{p.name}.fprop_dtype = {p.fprop_dtype.name}: expected float32 in training (compute_dtype), since the sum of '
        'weights and their changes would be rounded to the weights; adapter_kind = residual can be trained so'
      )

  def Change(self, theta: py_utils.NestedMap, key: str):
    """Returns what is added to the block's weights `key`, float32, an array if `theta` has arrays; None: nothing."""
    raise NotImplementedError('Abstract method')

  def Apply(self, theta: py_utils.NestedMap, block: py_utils.NestedMap) -> py_utils.NestedMap:
    """Returns the block's changed weights.

    Args:
      theta: This layer's variables.
      block: Those of the block.
    """
    changed = []
    for key, weights in block.FlattenItems():
      change = self.Change(theta, key)
      if change is not None:
        weights = tf.cast(tf.cast(weights, tf.float32) + change, weights.dtype)
      changed.append(weights)
    return block.Pack(changed)


class LowRank(WeightAdapter):
  """LoRA: rank-r changes of projections.

  Weights of several heads, such as [D, heads, width], are one matrix here: the first dimension times all others. The
  scale alpha / r is a frozen variable, so that it is stored with the weights.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('rank', 8, 'Rank r of a change, >= 1.')
    p.Define('alpha', 16.0, 'Changes are scaled by alpha / rank, > 0.')
    p.Define('projections', ['query', 'value', 'feed_forward'], f'What is changed, of {", ".join(PROJECTIONS)}.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    ranges.AtLeast(p, rank=1)
    if not p.alpha > 0:
      raise errors.ConfigError(f'{p.name}.alpha = {p.alpha}: expected > 0')
    if not p.projections:
      raise errors.ConfigError(f'{p.name}.projections = []: expected some of {", ".join(PROJECTIONS)}')
    for part in p.projections:
      suggest.CheckChoice(f'{p.name}.projections', part, PROJECTIONS)
    self._names = {key: name for part in p.projections for name, key in _PARTS[part].items()}

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    provenance.CreateRecord(self, 'scale', [p.alpha / p.rank])
    for key, name in self._names.items():
      rows, *columns = p.shapes[key]
      for suffix, shape, init in (
        ('a', [rows, p.rank], p.params_init),
        ('b', [p.rank, int(np.prod(columns))], py_utils.WeightInit.Constant(0.0)),
      ):
        self.CreateVariable(f'{name}_{suffix}', py_utils.WeightParams(shape, init=init, dtype=tf.float32))

  def Change(self, theta, key):
    """scale * A B in the shape of the weights; see the base class."""
    if key not in self._names:
      return None
    a, b = (theta[f'{self._names[key]}_{suffix}'] for suffix in 'ab')
    shape = self.params.shapes[key]
    if isinstance(a, np.ndarray):
      return np.reshape(np.matmul(a, b) * theta.scale, shape)
    product = tf.matmul(tf.cast(a, tf.float32), tf.cast(b, tf.float32)) * tf.cast(theta.scale, tf.float32)
    return tf.reshape(product, shape)


class Biases(WeightAdapter):
  """BitFit: changes of all biases of a block."""

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    for key, shape in self.params.shapes.items():
      if _BIAS.fullmatch(key):
        zero = py_utils.WeightInit.Constant(0.0)
        self.CreateVariable(_Name(key), py_utils.WeightParams(shape, init=zero, dtype=tf.float32))

  def Change(self, theta, key):
    """The bias's change; see the base class."""
    if not _BIAS.fullmatch(key):
      return None
    change = theta[_Name(key)]
    return change if isinstance(change, np.ndarray) else tf.cast(change, tf.float32)


def _Name(key):
  """A variable's name of a key: fflayer_end.fflayer.fc[0].b -> fflayer_end__fflayer__fc_0__b."""
  return key.replace('].', '__').replace('[', '_').replace('.', '__')


def ProjectionsOf(variables: set[str]) -> list[str]:
  """Returns the parts whose changes a LowRank layer's variables hold, in the order of PROJECTIONS."""
  return [part for part, names in _PARTS.items() if all(f'{name}_a' in variables for name in names)]
