"""Layers that differ in their variables only: their computation is traced once, and so is its gradient.

Building a graph takes Python milliseconds for each operation, and a Conformer block has hundreds, its gradient twice as
many. TensorFlow copies a traced function where it is called, in C++, before the first step: what is computed, and in
which order, does not change.
"""

import contextlib
from collections.abc import Iterator

from lingvo import compat as tf
from lingvo.core import py_utils

_is_on = True  # Set by Off.


@contextlib.contextmanager
def Off() -> Iterator[None]:
  """Context in which Chain traces each layer, for graphs whose every operation has to be reached."""
  global _is_on
  before, _is_on = _is_on, False
  try:
    yield
  finally:
    _is_on = before


def Chain(layers, thetas, state):
  """Computes layers one after another.

  Args:
    layers: List of layers with FProp(theta, state) -> state of the same structure, which use no other tensors.
    thetas: List of their variables, a NestedMap each.
    state: NestedMap of tensors.

  Returns:
    The state after the last layer.
  """
  if not _is_on or len(layers) < 2 or not all(_AreAlike(layer, layers[0]) for layer in layers[1:]):
    for layer, theta in zip(layers, thetas):
      state = layer.FProp(theta, state)
    return state

  form = py_utils.NestedMap(theta=thetas[0], state=state)

  @tf.function(autograph=False)
  def _FProp(seed, *tensors):
    py_utils.ResetStepSeed(seed)
    inputs = form.Pack(tensors)
    outputs = layers[0].FProp(inputs.theta, inputs.state)
    return py_utils.GetStepSeed(), *outputs.Flatten()

  for theta in thetas:
    inputs = py_utils.NestedMap(theta=theta, state=state)
    seed, *outputs = _FProp(py_utils.GetStepSeed(), *inputs.Flatten())
    py_utils.ResetStepSeed(seed)
    state = state.Pack(outputs)
  return state


def _AreAlike(layer, other):
  """Whether two layers have the same class and params, other than their names."""
  return type(layer) is type(other) and layer.params.Copy().Set(name=other.params.name) == other.params
