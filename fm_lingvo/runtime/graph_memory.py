"""Frees what TensorFlow keeps of a graph after its last use.

In graph mode, tf.custom_gradient registers a function for each call, for the life of the process. The function holds
tensors, which hold their graph. An activation such as swish registers one in each layer.
"""

import inspect
from collections.abc import Iterator
from typing import Any

from lingvo import compat as tf
from tensorflow.python.framework import ops

_PREFIX = 'CustomGradient-'
_MAX_NESTING = 3  # Of functions in each other's closures.


def ForgetGradients(graph: tf.Graph) -> None:
  """Removes the custom gradients of a graph, and of the functions in it; it cannot be differentiated afterwards."""
  # There is no public way: names of TensorFlow 2.13 to 2.21.
  registered = ops.gradient_registry._registry
  for name in [name for name in list(registered) if name.startswith(_PREFIX)]:
    entry = registered.get(name, {})
    if any(_IsInside(getattr(x, 'graph', None), graph) for x in _Tensors(entry.get('type'))):
      registered.pop(name, None)


def _Tensors(function: Any, depth: int = 0) -> Iterator[Any]:
  """Yields the tensors in the closure of a function, and of the functions in it."""
  for cell in getattr(function, '__closure__', None) or ():
    try:
      content = cell.cell_contents
    except ValueError:  # An empty cell.
      continue
    for x in content if isinstance(content, list | tuple) else [content]:
      if isinstance(x, tf.Tensor):
        yield x
      elif inspect.isfunction(x) and depth < _MAX_NESTING:
        yield from _Tensors(x, depth + 1)


def _IsInside(inner: Any, graph: tf.Graph) -> bool:
  while inner is not None and inner is not graph:
    inner = getattr(inner, 'outer_graph', None)
  return inner is graph
