"""config.gin: the configuration of a run as Gin text that replays it.

Its lines are the macros in use, every knob, and the params that the user bound, so
that a knob changed on replay still moves what the code derives from it. What the
knobs imply (files of sizes) and all other values follow as comments.
"""

import re

from fm_lingvo.config import value_types

_CODE = 'from code'


def ConfigText(name, knobs, paths, macros, trees):
  """The text of config.gin.

  `trainer --model=NAME --gin_file=config.gin` with this text gives the same params
  as the run, by the same code.

  Args:
    name: Name of the model.
    knobs: knobs.Knobs.
    paths: param_paths.Paths.
    macros: bindings.Macros.
    trees: param_paths.Trees with every binding set; their other values become the
      comments.

  Returns:
    Valid Gin text. A line that was overridden says where and what it was.
  """
  settings = list(knobs.settings.values())
  explicit = [s for s in settings if not (s.binding and not s.binding.user)]
  bound = [s for s in paths.settings.values() if s.binding.user]
  implied = [s for s in settings + list(paths.settings.values()) if s.binding and not s.binding.user]
  lines = [
    f'# Configuration of {name}. To replay the run:',
    f'#   trainer --model={name} --gin_file=config.gin',
    '# A line that ends in "<- place" was set there; the others are the code\'s.',
  ]
  used = {}
  for setting in settings + list(paths.settings.values()):
    if setting.binding:
      used.update(dict.fromkeys(macros.Reached(setting.binding.value)))
  lines += _Section(
    'Macros', [f'{m} = {value_types.Literal(macros[m].value)}  # <- {macros[m].place}' for m in used if macros[m].user]
  )
  lines += _Section('Knobs', map(_Line, explicit))
  # In the order of their binding.
  lines += _Section('Params that were bound', map(_Line, bound))
  lines += _Section('Bound by files that the knobs imply; replay reads those again', [f'# {_Line(s)}' for s in implied])
  lines += _Section(
    'Every other param; a line without its # binds it', [f'# {line}' for line in _Others(trees, paths.settings)]
  )
  return '\n'.join(lines) + '\n'


def _Section(title, lines):
  """Lines under a title; nothing if there are none."""
  lines = list(lines)
  return ['', f'# {title}.', *lines] if lines else []


def _Line(setting):
  """The binding of one setting, with its origin if it has one."""
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
  """`path = value` of every param that is not bound, data sets with their scopes."""
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
  """A value that Gin cannot write, in one line without addresses."""
  if isinstance(value, type):
    return f'{value.__module__}.{value.__qualname__}'
  if callable(value):
    return getattr(value, '__qualname__', type(value).__name__)
  text = ' '.join(re.sub(r' at 0x[0-9a-f]+', '', repr(value)).split())
  return text if len(text) <= 80 else text[:77] + '...'
