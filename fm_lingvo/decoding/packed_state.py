"""Packs the states of a beam's hypotheses into one tensor per dtype, which one operation reads or writes.

M: hypotheses of all utterances.
"""

from collections.abc import Mapping

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils


class Packing:
  """The form of a NestedMap of tensors [M, ...]; all but M is static."""

  def __init__(self, like: py_utils.NestedMap):
    self._like = like.Transform(lambda x: x)
    self._shapes = [x.shape.as_list()[1:] for x in like.Flatten()]
    self._dtypes = [x.dtype for x in like.Flatten()]
    self._names = sorted({dtype.name for dtype in self._dtypes})

  def Pack(self, values: py_utils.NestedMap) -> py_utils.NestedMap:
    """Returns name of a dtype -> [M, width]."""
    flat = [_Shaped(x, [_Width(shape)]) for x, shape in zip(values.Flatten(), self._shapes)]
    return py_utils.NestedMap({name: tf.concat(self._Of(name, flat), axis=1) for name in self._names})

  def Unpack(self, packed: Mapping[str, tf.Tensor]) -> py_utils.NestedMap:
    """The inverse of Pack, for any M."""
    parts = {name: iter(tf.split(packed[name], self._Of(name, map(_Width, self._shapes)), axis=1)) for name in packed}
    flat = [_Shaped(next(parts[dtype.name]), shape) for dtype, shape in zip(self._dtypes, self._shapes)]
    return self._like.Pack(flat)

  def _Of(self, name, values):
    return [x for x, dtype in zip(values, self._dtypes) if dtype.name == name]


def _Shaped(x, shape):
  """Returns x [M, ...] as [M, *shape]."""
  return x if x.shape.as_list()[1:] == shape else tf.reshape(x, [py_utils.GetShape(x)[0], *shape])


def _Width(shape):
  return int(np.prod(shape, initial=1))
