"""Writes config.gin: the configuration of a run as Gin text that replays it.

It binds the macros in use, every knob, and the params that the user bound. Derived params
are not bound, so that they still follow a knob that is changed on replay. Bindings of the
files that the knobs imply, and all other values, are listed as comments.
"""

import re

from fm_lingvo.config import run_experiment
from fm_lingvo.config import value_types

_CODE = 'from code'


def ConfigText(name, knobs, paths, macros, trees):
  """Returns the text of config.gin.

  With the same version of the code, `trainer --model=NAME --gin_file=config.gin` gives the same
  params as the run.

  Args:
    name: Name of the model.
    knobs: knobs.Knobs.
    paths: param_paths.Paths.
    macros: bindings.Macros.
    trees: param_paths.Trees with every binding applied; values that are not bound are listed
      as comments.

  Returns:
    Valid Gin text. The line of an overridden value names the place of the binding and the default.
  """
  settings = list(knobs.settings.values())
  explicit = [s for s in settings if not (s.binding and not s.binding.user)]
  bound = [s for s in paths.settings.values() if s.binding.user]
  implied = [s for s in settings + list(paths.settings.values()) if s.binding and not s.binding.user]
  lines = [
    f'# Configuration of {name}. To replay the run:',
    f'#   {run_experiment.ReplayCommand(name)}',
    '# A line that ends in "<- place" was set there; all other values are defaults.',
    *run_experiment.Lines(name),
  ]
  used = {}
  for setting in settings + list(paths.settings.values()):
    if setting.binding:
      used.update(dict.fromkeys(macros.Reached(setting.binding.value)))
  lines += _Section(
    'Macros', [f'{m} = {value_types.Literal(macros[m].value)}  # <- {macros[m].place}' for m in used if macros[m].user]
  )
  lines += _Section('Knobs', map(_Line, explicit))
  # In the order in which they were bound.
  lines += _Section('Params that were bound', map(_Line, bound))
  lines += _Section(
    'Bound by files that the knobs imply; a replay reads these files again', [f'# {_Line(s)}' for s in implied]
  )
  lines += _Section(
    'All other params; remove the # of a line to bind it', [f'# {line}' for line in _Others(trees, paths.settings)]
  )
  return '\n'.join(lines) + '\n'


def _Section(title, lines):
  """Returns lines with a title above; an empty list if there are no lines."""
  lines = list(lines)
  return ['', f'# {title}.', *lines] if lines else []


def _Line(setting):
  """Returns the binding of one setting, with the place where it was set."""
  binding = setting.binding
  literal = value_types.Literal(binding.value if binding else setting.value)
  if literal is None:
    return f'# {_CODE}: {setting.name}'
  line = f'{setting.name} = {literal}'
  if binding and setting.changed:
    was = value_types.Literal(setting.default)
    line += f'  # <- {binding.place}; was {_CODE if was is None else was}'
  return line


def _Others(trees, bound):
  """Returns `path = value` for every param that is not bound; data sets have their scope."""
  lines = []
  for name, tree in trees.items():
    scope = name if tree.root == 'input' else ''
    prefix = f'{scope}/' if scope else ''
    for path, leaf in sorted(tree.leaves.items()):
      if (scope, path) in bound or ('', path) in bound:
        continue
      literal = value_types.Literal(leaf.value)
      if literal is None or leaf.refusal:
        lines.append(f'{_CODE}: {prefix}{path}: {_Short(leaf.value)}')
      else:
        lines.append(f'{prefix}{path} = {literal}')
  return lines


def _Short(value):
  """Returns one line for a value that Gin cannot write, without memory addresses."""
  if isinstance(value, type):
    return f'{value.__module__}.{value.__qualname__}'
  if callable(value):
    return getattr(value, '__qualname__', type(value).__name__)
  text = ' '.join(re.sub(r' at 0x[0-9a-f]+', '', repr(value)).split())
  return text if len(text) <= 80 else text[:77] + '...'
