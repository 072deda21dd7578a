"""Rematerialisation: discards a layer's activations after the forward pass and recomputes them for the gradient.

Only the layer's inputs stay in memory, at the cost of one more forward pass.
"""

from lingvo import compat as tf
from lingvo.core import py_utils


def FProp(fprop, theta, state):
  """Computes `fprop(theta, state)`, and recomputes it in the backward pass.

  Lingvo's own forms do not save memory here. A layer's `remat` is a loop of one step, which Recurrent optimises away.
  RematerializeFn copies the weights and may recompute all layers before the first gradient is available.

  Args:
    fprop: Function (theta, state) -> state of the same structure; must not use other tensors.
    theta: The layer's variables, a NestedMap of tensors.
    state: NestedMap of tensors; all computations in `fprop` must depend on state.features.

  Returns:
    The new state.
  """
  inputs = py_utils.NestedMap(theta=theta, state=state)
  before = py_utils.GetStepSeed()

  @tf.custom_gradient
  def _FProp(*tensors):
    packed = inputs.Pack(tensors)

    def _Gradient(*d_outputs):
      after = py_utils.GetStepSeed()
      py_utils.ResetStepSeed(before)  # Repeats the dropout of the forward pass.
      again = packed.DeepCopy()
      again.state.features = _After(d_outputs, packed.state.features)
      outputs = fprop(again.theta, again.state).Flatten()
      py_utils.ResetStepSeed(after)
      xs = again.Flatten()
      return tf.gradients(outputs, xs, d_outputs, stop_gradients=xs)

    return tuple(fprop(packed.theta, packed.state).Flatten()), _Gradient

  return state.Pack(_FProp(*inputs.Flatten()))


def _After(gradients, x):
  """Returns x, with a dependency on the gradients that the graph optimiser cannot remove.

  Without it the recomputation could be merged with the forward pass, or start before the gradients are available.
  """
  first = sum(tf.cast(tf.reshape(g, [-1])[0], x.dtype) for g in gradients)  # []
  return tf.where_v2(tf.math.is_nan(first), first, x)
