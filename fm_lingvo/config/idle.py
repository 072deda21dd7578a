"""Settings that have no effect because of other settings; the trainer refuses those that the user has changed.

An experiment says which of its knobs these are (registry.Experiment._Idle). A class says it of its Params, in a class
method `Idle(p)` that returns a dict: path of a param or group below `p` -> what it needs, such as
{'lora_tpl': "adapter_kind = 'lora'"}.
"""

from collections.abc import Mapping
from typing import Any

from fm_lingvo.config import value_types


def Check(experiment: Any, knobs: Mapping[str, Any], params: Mapping[tuple, Any], trees: Mapping[str, Any]) -> None:
  """Raises errors.GinError, one line, for the first setting of the user that has no effect.

  A param of several data sets is refused if it has no effect in any of them.

  Args:
    experiment: The registry.Experiment, with its knobs bound.
    knobs: Name of each knob -> knobs.Setting.
    params: (data set or '', path) -> knobs.Setting of each bound param.
    trees: param_paths.Trees with every binding applied.
  """
  idle = experiment._Idle()
  for name, setting in knobs.items():
    if name in idle:
      _Refuse(setting, idle[name])
  found = {name: Params(tree) for name, tree in trees.items()}
  for (scope, path), setting in params.items():
    needs = [_Need(found[name], path) for name, tree in trees.items() if scope in ('', name) and path in tree.leaves]
    if needs and all(needs):
      _Refuse(setting, needs[0])


def _Refuse(setting: Any, need: str) -> None:
  """Raises GinError if the user has changed a setting that has no effect without `need`."""
  if setting.binding and setting.binding.user and setting.changed:
    default = value_types.Literal(setting.default)
    raise setting.binding.Error(f'has no effect; expected {need}, too' + (f', or {default}' if default else ''))


def Params(tree: Any) -> dict[str, str]:
  """Returns dict: path -> what it needs, of all params and groups without effect in a param_tree.Tree."""
  idle: dict[str, str] = {}
  for path, node in tree.nodes.items():
    of_class = getattr(node.cls, 'Idle', None) if 'cls' in node else None
    idle.update({f'{path}.{name}': need for name, need in (of_class(node) if of_class else {}).items()})
  return idle


def _Need(idle: Mapping[str, str], path: str) -> str:
  """What a path needs in order to have an effect; '': nothing."""
  return next((need for start, need in idle.items() if path == start or path.startswith(start + '.')), '')
