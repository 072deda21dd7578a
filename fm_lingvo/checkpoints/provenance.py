"""Records: frozen variables that say with which front end and tokenizer a checkpoint was made.

Weights are useless with another front end or tokenizer. A record stores the settings or a digest of one as numbers in
the checkpoint, so that every later stage can compare them with its own.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils


def CreateRecord(layer: base_layer.BaseLayer, name: str, values: list[float]) -> None:
  """Creates a variable that holds constants and is never trained; call it in a layer's _CreateLayerVariables.

  Args:
    layer: The layer that owns the variable.
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
