"""Binds params: looks up dotted paths in the Params trees that the experiment's code builds."""

import functools

from lingvo.core import cluster_factory

from fm_lingvo.config import bindings
from fm_lingvo.config import knobs
from fm_lingvo.config import param_tree
from fm_lingvo.config import registry
from fm_lingvo.config import spelling
from fm_lingvo.config import value_types
from fm_lingvo.utils import suggest

DidYouMean = suggest.DidYouMean
_ROOTS = ('task', 'input', 'model', 'schedule')


def Trees(model_name, cls, datasets):
  """Builds all params of an experiment.

  Args:
    model_name: Name of the experiment, for messages.
    cls: The experiment's class, either with bindings or as Lingvo registered it.
    datasets: Names of its data sets.

  Returns:
    dict: 'task', 'model', 'schedule' and the name of each data set -> param_tree.Tree.

  Raises:
    GinError: The experiment's code raised a ValueError.
  """
  # The Params of each layer look at the cluster; where there is none, each makes one, half of the time of this.
  with cluster_factory.Current():
    experiment = registry.Call(model_name, 'the experiment', cls)
    model = registry.Call(model_name, 'Task()', experiment.Model)
    trees = {'task': param_tree.Tree(model.task, 'task'), 'model': param_tree.Tree(model, 'model')}
    trees['model'].Refuse(trees['task'])
    trees['schedule'] = param_tree.Tree(
      registry.Call(model_name, 'ProgramSchedule()', experiment.ProgramSchedule), 'schedule'
    )
    # Messages show the values of the first data set that has a param.
    for name in sorted(datasets, key=lambda d: d != 'Train'):
      trees[name] = param_tree.Tree(
        registry.Call(model_name, f'{name}()', functools.partial(experiment.GetDatasetParams, name)), 'input'
      )
  return trees


class Paths:
  """The params of one experiment and their bindings.

  Attributes:
    settings: (data set or '', path) -> knobs.Setting of each bound param, in the
      order of binding.
  """

  def __init__(self, model_name, trees, datasets, macros):
    """Starts without bindings.

    Args:
      model_name: Name of the experiment.
      trees: Trees() of the experiment without bindings.
      datasets: Names of its data sets.
      macros: bindings.Macros.
    """
    self.settings = {}
    self._model_name = model_name
    self._trees = trees
    self._datasets = datasets
    self._macros = macros

  def Bind(self, binding):
    """Looks up the param that a bindings.Binding names, checks the value and stores the setting.

    Raises:
      GinError: No such param or data set, a wrong value.
    """
    value = self._macros.Resolve(binding)
    if binding.scope and binding.scope not in self._datasets:
      near = suggest.Nearest(binding.scope, self._datasets)
      raise binding.Error(
        f'{self._model_name} has no data set {binding.scope}'
        + (DidYouMean(near and f'{near}/{binding.path}') or f'; its data sets are {", ".join(self._datasets)}')
      )
    path = self._Find(binding)
    leaves = [t.leaves[path] for t in self._Among(binding.scope) if path in t.leaves]
    default = leaves[0].value  # Data sets may have different defaults; messages show that of the first.
    for leaf in leaves:
      if not bindings.IsRequired(value):
        try:
          converted = spelling.Convert(leaf.Convert, leaf.spec, value)
        except value_types.Mismatch as e:
          how_to = spelling.HowTo(binding, leaf.spec, value, leaf.value, e)
          raise binding.Error(e.Message(leaf.value) + how_to + self._macros.Note(binding)) from e
      else:
        converted = value
      if not binding.user:
        leaf.value = converted  # The default that the user's bindings change.
    key = binding.scope, path
    name = f'{binding.scope}/{path}' if binding.scope else path
    self.settings.pop(key, None)  # The last binding wins and is applied last.
    self.settings[key] = knobs.Setting(name, converted, default, binding)

  def Apply(self, params, root, dataset=''):
    """Returns a copy of `params` with all bindings applied.

    Args:
      params: Params as built by the experiment's code.
      root: 'task', 'model', 'schedule' or 'input'.
      dataset: Name of the data set, if root is 'input'.
    """
    params = params.Copy()
    tree = param_tree.Tree(params, root)
    for scope in ('', dataset) if dataset else ('',):
      for (bound_scope, path), setting in self.settings.items():
        if bound_scope == scope and path in tree.leaves:
          tree.leaves[path].Set(setting.value)
    return params

  def CheckRequired(self):
    """Raises GinError if a param still has the value `%gin.REQUIRED`."""
    for setting in self.settings.values():
      self._macros.CheckRequired(setting.binding)

  def CheckApplied(self, trees):
    """Raises GinError if binding one param removed another bound param from the tree.

    Args:
      trees: Trees() of the experiment with bindings.
    """
    for (scope, path), setting in self.settings.items():
      for name, tree in self._trees.items():
        if scope in ('', name) and path in tree.leaves and (path not in trees[name].leaves):
          raise setting.binding.Error(f'the other bindings remove this param from {name}')

  def CheckShadowed(self, bindings):
    """Raises GinError if an unscoped binding has no effect because earlier scoped ones override it everywhere.

    Args:
      bindings: All bindings, in order.
    """
    order = {id(b): i for i, b in enumerate(bindings)}
    for (scope, path), setting in self.settings.items():
      datasets_with_path = [d for d in self._datasets if path in self._trees[d].leaves]
      scoped = [self.settings.get((d, path)) for d in datasets_with_path]
      if (
        not scope
        and datasets_with_path
        and all(scoped)
        and any(order[id(s.binding)] < order[id(setting.binding)] for s in scoped)
      ):
        raise setting.binding.Error(
          'no effect: every data set with this param has a scoped binding, e.g. '
          f'{scoped[0].name} at {scoped[0].binding.place}'
        )

  def Hints(self, name):
    """Describes the params whose last path component is `name`, or else the most similar one."""
    leaves = self._Leaves('')
    matches = [p for p in leaves if p.endswith('.' + name)]
    if not matches:
      near = suggest.NearestPath(name.lower(), leaves, 0.7)
      matches = [near] if near else []
    matches.sort(key=lambda p: (p.count('.'), _ROOTS.index(p.partition('.')[0]), p))
    return [leaves[p].Describe() for p in matches]

  def _Among(self, scope):
    """Returns the trees in which a path with this scope is looked up."""
    return [self._trees[scope]] if scope else list(self._trees.values())

  def _Leaves(self, scope):
    """Returns dict path -> Leaf of the params that can be bound with this scope; the first tree with a path wins."""
    return {p: leaf for tree in reversed(self._Among(scope)) for p, leaf in tree.leaves.items() if not leaf.refusal}

  def _Find(self, binding):
    """Returns the full path of the param that a binding names; raises GinError if there is none or several."""
    path, trees = binding.path, self._Among(binding.scope)
    if any(path in t.leaves for t in trees):
      return path
    for tree in trees:
      if path in tree.groups:
        raise binding.Error(f'a group of params, not a value; bind one of {suggest.Some(tree.Children(path))}')
    matches = sorted({p for t in trees for p in t.WithSuffix(path)})
    if len(matches) == 1:
      return matches[0]
    if matches:
      raise binding.Error(f'ambiguous; could be {suggest.Some(matches)}')
    raise self._NoSuchParam(binding, trees)

  def _NoSuchParam(self, binding, trees):
    """Returns the GinError for a path that does not exist."""
    path = binding.path
    if binding.scope and path.split('.')[0] in ('task', 'model', 'schedule'):
      return binding.Error('only input params have a data-set scope' + DidYouMean(path))
    if path.startswith(('model.task.', 'model.input.')):
      path = path[len('model.') :]
    leaves = self._Leaves(binding.scope)
    near = suggest.NearestPath(path, leaves)
    if near:
      scope = f'{binding.scope}/' if binding.scope else ''
      return binding.Error('no such param' + DidYouMean(scope + leaves[near].Describe()))
    tree = next((t for t in trees if path.startswith(t.root + '.')), None)
    return binding.Error(
      'no such param; '
      + (tree.Missing(path) if tree else f"paths start with one of {', '.join(_ROOTS)} or with the experiment's name")
    )
