"""Settings that have no effect because of other settings; the trainer refuses those that the user has changed.

An experiment says which of its knobs these are (registry.Experiment._Idle). A class says it of its Params, in a class
method `Idle(p)` that returns a dict: path of a param or group below `p` -> why, such as
{'lora_tpl': "without adapter_kind = 'lora'"}. Params that the layer's owner overwrites in any case are in the class
attribute `set_by_owner`, a dict of the same form.
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
    whys = [_Why(found[name], path) for name, tree in trees.items() if scope in ('', name) and path in tree.leaves]
    if whys and all(whys):
      _Refuse(setting, whys[0])


def _Refuse(setting: Any, why: str) -> None:
  """Raises GinError if the user has changed a setting that has no effect."""
  if setting.binding and setting.binding.user and setting.changed:
    default = value_types.Literal(setting.default)
    raise setting.binding.Error(f'has no effect {why}' + (f'; expected {default}' if default else ''))


def Params(tree: Any) -> dict[str, str]:
  """Returns dict: path -> why, of all params and groups without effect in a param_tree.Tree."""
  idle: dict[str, str] = {}
  for path, node in tree.nodes.items():
    cls = node.cls if 'cls' in node else None
    whys = {**(cls.Idle(node) if hasattr(cls, 'Idle') else {}), **getattr(cls, 'set_by_owner', {})}
    idle.update({f'{path}.{name}': why for name, why in whys.items()})
  return idle


def _Why(idle: Mapping[str, str], path: str) -> str:
  """Why a path has no effect; '': it has one."""
  return next((why for start, why in idle.items() if path == start or path.startswith(start + '.')), '')
