"""Maps dotted Gin paths to the values in a tree of Lingvo Params.

A leaf is a value; a group is a Params node. Elements of a list of Params are named
`list_0`, `list_1`, ...; elements of a dict or of a list of pairs are named by their keys.
"""

import copy
import functools
import re

from lingvo.core import base_layer
from lingvo.core import hyperparams

from fm_lingvo.config import value_types
from fm_lingvo.utils import suggest

# Params that Lingvo's runners set from flags after the configuration is built.
_FROM_FLAGS = re.compile(
  r'model\.cluster\.((mode|job|task|logdir|do_eval|add_summary|reporting_job|'
  r'tf_data_service_address)|(controller|worker|ps|input|evaler|decoder)\.'
  r'(name|replicas|.*_per_replica|num_tpu_hosts|devices_per_split|targets|'
  r'additional_worker_names))$'
)

_COMMON = frozenset(k for k, _ in base_layer.BaseLayer.Params().IterParams())


class Leaf:
  """One value in a tree of Params.

  Trees have thousands of leaves, of which few are asked for their types: they are found when they are asked for.

  Attributes:
    path: Dotted path of the value.
    value: The value, before any binding of the user's.
  """

  def __init__(self, path, owner, key):
    """Creates a leaf.

    Args:
      path: Dotted path of the value.
      owner: The Params node that contains the value.
      key: Name of the value in `owner`.
    """
    self.path = path
    self._owner = owner
    self._key = key
    self._param = owner._params[key]
    self.value = self._built = self._param.Get()

  @functools.cached_property
  def spec(self):
    """The value_types.Spec of the value that the experiment's code set."""
    return value_types.FromValues(self._key, self._param.GetDefault(), self._built)

  @functools.cached_property
  def refusal(self):
    """The reason why the value cannot be bound; '' if it can."""
    return f'{_TypeName(self._built)} values come from code, not from Gin' if self.spec.code else ''

  def Describe(self):
    """Returns path, type and value for a message."""
    return f'{self.path} ({value_types.Describe(self.spec, self.value)})'

  def Convert(self, value):
    """Returns `value` converted to the param's type; raises value_types.Mismatch."""
    if self.refusal:
      raise value_types.Mismatch(self.refusal)
    return self.spec.Convert(value)

  def Set(self, value):
    """Writes a converted value into the tree, which must be a copy owned by the caller."""
    # Lingvo freezes nodes such as params_init, because their defaults are shared.
    frozen = self._owner.IsImmutable()
    self._owner.__dict__['_immutable'] = False
    # The copy keeps the tree from sharing a list with the binding.
    self._owner.Set(**{self._key: copy.deepcopy(value)})
    if frozen:
      self._owner.Freeze()


class Tree:
  """The leaves and groups of one tree of Params, by path."""

  def __init__(self, params, root):
    """Indexes `params` under the path `root`."""
    self.root = root
    self.leaves = {}  # path -> Leaf.
    self.groups = {}  # path -> list of the paths of its children.
    self.nodes = {}  # path -> the Params there.
    self._Visit(params, root)

  def _Visit(self, params, path):
    """Adds the node `params` and, recursively, its children."""
    self.groups[path] = []
    self.nodes[path] = params
    taken = set(dir(params))
    for key, value in params.IterParams():
      child = f'{path}.{key}'
      if child in ('model.task', 'model.input'):
        continue  # These have trees of their own.
      nodes = _Nodes(child, value)
      if nodes is None:
        self.leaves[child] = Leaf(child, params, key)
        self.groups[path].append(child)
        continue
      # If a param has the same name as a list element, the name refers to the param.
      nodes = [(p, node) for p, node in nodes if p == child or p[len(path) + 1 :] not in taken]
      self.groups[path].extend(p for p, _ in nodes)
      self.groups.setdefault(child, [p for p, _ in nodes])
      for element, node in nodes:
        self._Visit(node, element)

  def Refuse(self, task):
    """Marks the leaves of a model's tree that must not be bound.

    Args:
      task: Tree of the model's task. Lingvo copies params of task.train to
        model.train; they must be bound in task.train so that the two stay equal.
    """
    for path, leaf in self.leaves.items():
      prefix, _, name = path.rpartition('.')
      if prefix == 'model.train' and f'task.train.{name}' in task.leaves:
        leaf.refusal = f'Lingvo copies it; bind task.train.{name}'
      elif path == 'model.model':
        leaf.refusal = 'Lingvo sets it to the place where the experiment is defined'
      elif _FROM_FLAGS.match(path):
        leaf.refusal = 'the job flags set it, e.g. --worker_gpus'

  def WithSuffix(self, suffix):
    """Returns the paths of bindable leaves that equal `suffix` or end in `.suffix`."""
    return [
      path for path, leaf in self.leaves.items() if (path == suffix or path.endswith('.' + suffix)) and not leaf.refusal
    ]

  def Children(self, path):
    """Returns the names of a group's params, without the params that all layers share unless there are no others."""
    paths = sorted(p for p in self.groups[path] if p in self.groups or not self.leaves[p].refusal)
    own = [p for p in paths if p.rpartition('.')[2] not in _COMMON]
    return [p[len(path) + 1 :] if p.startswith(path + '.') else p for p in own or paths or self.groups[path]]

  def Missing(self, path):
    """Returns a message about a path that is not in the tree and similar to none in it."""
    group = path
    while group not in self.groups and group not in self.leaves:
      group = group.rpartition('.')[0]
    if group in self.leaves:
      return f'{group} is a value'
    return f'{group} has {suggest.Some(self.Children(group))}'


def _Nodes(key, value):
  """Returns [(path, Params)] of the Params in the value at path `key`; None if the value is a leaf."""
  params = hyperparams.Params
  if isinstance(value, params):
    return [(key, value)]
  if isinstance(value, dict) and value and all(isinstance(k, str) and isinstance(v, params) for k, v in value.items()):
    return [(f'{key}.{k}', v) for k, v in value.items()]
  if isinstance(value, (list, tuple)) and value:
    if all(isinstance(v, params) for v in value):
      return [(f'{key}_{i}', v) for i, v in enumerate(value)]
    if all(isinstance(v, tuple) and len(v) == 2 and isinstance(v[0], str) and isinstance(v[1], params) for v in value):
      return [(f'{key}.{v[0]}', v[1]) for v in value]
  return None


def _TypeName(value):
  """Returns the name of a type that Gin cannot write, for a message."""
  if isinstance(value, type):
    return 'class'
  return 'function' if callable(value) else type(value).__name__
