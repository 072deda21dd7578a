"""Rematerialisation: a layer's activations are forgotten after its forward pass, and computed again for its gradient.

Memory then holds a layer's inputs instead of all that it computes, for one more forward pass.
"""

from lingvo import compat as tf
from lingvo.core import py_utils


def FProp(fprop, theta, state):
  """`fprop(theta, state)`, computed again in the backward pass.

  Lingvo's own ways do not save memory here: a layer's `remat` is a loop of one step, which Recurrent leaves out, and
  RematerializeFn copies the weights and may compute every layer again before the first gradient is there.

  Args:
    fprop: Function (theta, state) -> state of the same structure; uses no other tensors.
    theta: The layer's variables, a NestedMap of tensors.
    state: NestedMap of tensors; all computations in `fprop` begin with state.features.

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
      py_utils.ResetStepSeed(before)  # The same dropout.
      again = packed.DeepCopy()
      again.state.features = _After(d_outputs, packed.state.features)
      outputs = fprop(again.theta, again.state).Flatten()
      py_utils.ResetStepSeed(after)
      xs = again.Flatten()
      return tf.gradients(outputs, xs, d_outputs, stop_gradients=xs)

    return tuple(fprop(packed.theta, packed.state).Flatten()), _Gradient

  return state.Pack(_FProp(*inputs.Flatten()))


def _After(gradients, x):
  """x, once the gradients are there; no optimiser can tell that it is x.

  A second computation from x itself would be merged with the first, and need not wait.
  """
  first = sum(tf.cast(tf.reshape(g, [-1])[0], x.dtype) for g in gradients)  # []
  return tf.where_v2(tf.math.is_nan(first), first, x)
