"""Einsum as transposed matrix products, which converters know: a product with weights becomes one matrix product.

TensorFlow Lite and ONNX have no Einsum, or one that quantizers leave alone.
"""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

_einsum = tf.einsum


@contextlib.contextmanager
def InUse() -> Iterator[None]:
  """Context in which Einsum replaces tf.einsum, to build layers in."""
  with mock.patch.object(tf, 'einsum', Einsum):
    yield


def Einsum(equation: str, *inputs: Any, **kwargs: Any) -> tf.Tensor:
  """As tf.einsum; with two inputs and without `...`, of matrix products."""
  terms, _, output = equation.replace(' ', '').partition('->')
  if len(inputs) != 2 or '.' in equation or not output:
    return _einsum(equation, *inputs, **kwargs)
  a, b = terms.split(',')
  x, y = map(tf.convert_to_tensor, inputs)
  batch = [k for k in output if k in a and k in b]
  summed = [k for k in a if k in b and k not in output]
  rows = [k for k in output if k in a and k not in b]
  columns = [k for k in output if k in b and k not in a]
  if {*a} != {*batch, *rows, *summed} or {*b} != {*batch, *summed, *columns} or len({*a}) + len({*b}) != len(a + b):
    return _einsum(equation, *inputs, **kwargs)  # A sum over one input, or a diagonal.
  sizes = {**_Sizes(b, y), **_Sizes(a, x)}
  x = _Matrices(x, a, batch, rows, summed, sizes)  # [batch, rows, summed]
  y = _Matrices(y, b, batch, summed, columns, sizes)  # [batch, summed, columns]
  product = tf.reshape(tf.matmul(x, y), [sizes[k] for k in batch + rows + columns])
  return _Transposed(product, batch + rows + columns, list(output))


def _Sizes(labels, x):
  return dict(zip(labels, py_utils.GetShape(x)))


def _Transposed(x, labels, wanted):
  """Transposes x, whose dimensions are `labels`, to `wanted`."""
  order = [list(labels).index(k) for k in wanted]
  return x if order == list(range(len(order))) else tf.transpose(x, order)


def _Matrices(x, labels, batch, rows, columns, sizes):
  """x as [batch, rows, columns], without the first if `batch` is empty."""
  x = _Transposed(x, labels, batch + rows + columns)
  groups = ([batch] if batch else []) + [rows, columns]
  if [len(group) for group in groups] == [1] * len(groups):
    return x
  return tf.reshape(x, [_Product([sizes[k] for k in group]) for group in groups])


def _Product(sizes):
  """Product of ints and scalar tensors."""
  known = int(np.prod([s for s in sizes if isinstance(s, int)], dtype=np.int64))
  for size in sizes:
    if not isinstance(size, int):
      known = size * known if not isinstance(known, int) or known != 1 else size
  return known
