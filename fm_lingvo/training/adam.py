"""Lingvo's Adam, with its slots created all at once.

It has two variables for each trained weight. Creating one takes Python more than two milliseconds, nodes of a GraphDef
a tenth of that.
"""

from collections.abc import Mapping

from lingvo import compat as tf
from lingvo.core import hyperparams
from lingvo.core import optimizer
from tensorflow.core.framework import variable_pb2
from tensorflow.python.ops import resource_variable_ops

from fm_lingvo.layers import subparams


def Use(p: hyperparams.Params) -> None:
  """Replaces Lingvo's Adam in Params `p` by that of this module."""
  for _, _, part in subparams.All(p):
    if subparams.Class(part) is optimizer.Adam:
      part.cls = Adam


class Adam(optimizer.Adam):
  """Lingvo's optimizer; variables and updates are the same."""

  def GetOptimizer(self, lr):
    """See optimizer.Base.GetOptimizer."""
    p = self.params
    return _Optimizer(learning_rate=lr, beta1=p.beta1, beta2=p.beta2, epsilon=p.epsilon, name=p.name)


class _Optimizer(tf.train.AdamOptimizer):
  """TensorFlow's optimizer, which creates no slot that it has."""

  def _create_slots(self, var_list):
    if tf.executing_eagerly_outside_functions():
      super()._create_slots(var_list)
      return
    graph = var_list[0].graph
    known = {v.op.name: v for v in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
    for slot, suffix in (('m', self._name), ('v', f'{self._name}_1')):
      names = {v.op.name: f'{v.op.name}/{suffix}' for v in var_list}
      known.update(_Zeros({names[v.op.name]: v for v in var_list if names[v.op.name] not in known}))
      self._slot_dict(slot).update({(graph, name): known[slot_name] for name, slot_name in names.items()})
    super()._create_slots(var_list)


def _Zeros(forms: Mapping[str, tf.Variable]) -> dict[str, tf.Variable]:
  """Creates variables of zeros.

  Args:
    forms: Name of each -> a variable with its form and device.

  Returns:
    Name -> variable.
  """
  graph_def, definitions = tf.GraphDef(), {}
  for root, v in forms.items():
    dtype = v.dtype.base_dtype

    def _Node(op, suffix, inputs=(), root=root, dtype=dtype, v=v):
      node = graph_def.node.add(op=op, name=root + suffix, input=inputs, device=v.device)
      node.attr['dtype'].type = dtype.as_datatype_enum
      return node

    handle = _Node('VarHandleOp', '')
    handle.attr['shape'].shape.CopyFrom(v.shape.as_proto())
    handle.attr['shared_name'].s = root.encode()
    zeros = _Node('Const', '/zeros')
    zeros.attr['value'].tensor.CopyFrom(tf.make_tensor_proto(0, dtype, v.shape))
    _Node('AssignVariableOp', '/Assign', [root, zeros.name])
    _Node('ReadVariableOp', '/Read/ReadVariableOp', [root])
    definitions[root] = variable_pb2.VariableDef(
      variable_name=f'{root}:0',
      initializer_name=f'{root}/Assign',
      initial_value_name=f'{root}/zeros:0',
      snapshot_name=f'{root}/Read/ReadVariableOp:0',
      is_resource=True,
      trainable=False,
    )
  with tf.device(None):  # Not where the current context would put them.
    tf.import_graph_def(graph_def, name='')
  created = {root: resource_variable_ops.ResourceVariable.from_proto(d) for root, d in definitions.items()}
  for variable in created.values():
    tf.add_to_collection(tf.GraphKeys.GLOBAL_VARIABLES, variable)
  return created
