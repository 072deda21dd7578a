"""Frozen variables that tell a checkpoint's reader what it was made with.

A front end or a tokenizer is not a weight, yet weights are worth nothing without it. A
record keeps it as numbers in the checkpoint, so that it travels through every stage.
"""

from lingvo import compat as tf
from lingvo.core import py_utils


def CreateRecord(layer, name, values):
  """Creates a variable of a layer that holds constants and is never trained.

  To be called in the layer's _CreateLayerVariables.

  Args:
    layer: The BaseLayer.
    name: Name of the variable.
    values: List of floats, exact in float32.
  """

  def Init(unused_shape, dtype=tf.float32, **unused_kwargs):
    return tf.constant(values, dtype)

  layer.CreateVariable(
    name,
    py_utils.WeightParams([len(values)], init=py_utils.WeightInit.CustomVarInit(Init), dtype=tf.float32),
    trainable=False,
  )
