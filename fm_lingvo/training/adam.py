"""Lingvo's Adam, with its slots created all at once.

It has two variables for each trained weight.
"""

from lingvo import compat as tf
from lingvo.core import hyperparams
from lingvo.core import optimizer

from fm_lingvo.layers import subparams
from fm_lingvo.runtime import zero_variables


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
    graph = var_list[0].graph
    known = {v.op.name: v for v in graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
    for slot, suffix in (('m', self._name), ('v', f'{self._name}_1')):
      names = {v.op.name: f'{v.op.name}/{suffix}' for v in var_list}
      forms = {names[v.op.name]: zero_variables.Form(v.dtype.base_dtype, tuple(v.shape), v.device) for v in var_list}
      with tf.device(None):  # Not where the current context would put them.
        missing = zero_variables.Define({name: form for name, form in forms.items() if name not in known})
        known.update({name: zero_variables.Create(definition) for name, definition in missing.items()})
      self._slot_dict(slot).update({(graph, name): known[slot_name] for name, slot_name in names.items()})
    super()._create_slots(var_list)
