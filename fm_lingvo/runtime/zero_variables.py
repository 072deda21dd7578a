"""Creates variables of zeros as nodes of a GraphDef.

Creating one by TensorFlow's Python takes more than two milliseconds, many as nodes a tenth of that.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lingvo import compat as tf
from lingvo.core import py_utils
from tensorflow.core.framework import variable_pb2
from tensorflow.python.ops import resource_variable_ops


class Form(NamedTuple):
  """What a variable has besides its name."""

  dtype: tf.DType
  shape: tuple[int, ...]
  device: str = ''


def Define(forms: Mapping[str, Form]) -> dict[str, variable_pb2.VariableDef]:
  """Adds the operations of variables to the current graph; returns name -> definition, for Create."""
  graph_def, definitions = tf.GraphDef(), {}
  for root, form in forms.items():

    def _Node(op, suffix, inputs=(), root=root, form=form):
      node = graph_def.node.add(op=op, name=root + suffix, input=inputs, device=form.device)
      node.attr['dtype'].type = form.dtype.as_datatype_enum
      return node

    handle = _Node('VarHandleOp', '')
    handle.attr['shape'].shape.CopyFrom(tf.TensorShape(form.shape).as_proto())
    handle.attr['shared_name'].s = root.encode()
    zeros = _Node('Const', '/zeros')
    zeros.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(0, form.dtype, form.shape))
    _Node('AssignVariableOp', '/Assign', [root, zeros.name])
    _Node('ReadVariableOp', '/Read/ReadVariableOp', [root])
    definitions[root] = variable_pb2.VariableDef(
      variable_name=f'{root}:0',
      initializer_name=f'{root}/Assign',
      initial_value_name=f'{root}/zeros:0',
      snapshot_name=f'{root}/Read/ReadVariableOp:0',
      is_resource=True,
    )
  tf.import_graph_def(graph_def, name='')
  return definitions


def Create(definition: variable_pb2.VariableDef, trainable: bool = False) -> tf.Variable:
  """Returns the variable of a definition, which is now in the graph's collections."""
  definition.trainable = trainable
  variable = resource_variable_ops.ResourceVariable.from_proto(definition)
  tf.add_to_collection(tf.GraphKeys.GLOBAL_VARIABLES, variable)
  if trainable:
    tf.add_to_collection(tf.GraphKeys.TRAINABLE_VARIABLES, variable)
  return variable


def Scope():
  """Returns a context in which layers get variables of zeros, for a graph whose weights are loaded from elsewhere.

  A layer's own initial values are most of the operations of its variables.
  """
  return py_utils.VariableCreatorScope(_Creator)


def _Creator(next_creator, **kwargs):
  """See py_utils.VariableCreatorScope."""
  if kwargs['shape'] is None:  # Of the initial value.
    return next_creator(**kwargs)
  name = f'{kwargs["var_name"]}/var'
  definitions = Define({name: Form(tf.as_dtype(kwargs['dtype']), tuple(kwargs['shape']))})
  variable = Create(definitions[name], kwargs['trainable'])
  for collection in kwargs['var_params'].collections:
    tf.add_to_collection(collection, variable)
  return variable
