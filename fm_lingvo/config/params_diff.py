"""Compares two texts of Lingvo's params: the configuration at a run's last start and on resume."""

import os

from lingvo import compat as tf

_SHOWN = 20
# Params that determine where a run computes, but not what.
_IGNORED = ('cluster.',)


def Params(text):
  """Parses the text of a Params into a dict name -> value; values of several lines are joined."""
  params, name = {}, None
  for line in text.split('\n'):  # Values may have other line separators.
    head, colon, value = line.partition(' : ')
    if colon and ' ' not in head.strip() and not line.startswith(' '):
      name = head
      params[name] = value
    elif name is not None:
      params[name] += ' ' + line.strip()
  return params


def Differences(before, now):
  """Returns a line `NAME: OLD -> NEW` for each param that differs, at most 20, then the number of the others.

  Args:
    before, now: Texts as Params.ToText() returns them.
  """
  before, now = Params(before), Params(now)
  changed = {name: (before.get(name), now.get(name)) for name in sorted({*before, *now})}
  changed = {n: c for n, c in changed.items() if c[0] != c[1] and not n.startswith(_IGNORED)}
  names = [n for n, c in changed.items() if changed.get(f'task.{n}') != c]  # The model repeats what its task has.
  lines = [f'{name}: {before.get(name, "(not there)")} -> {now.get(name, "(not there)")}' for name in names[:_SHOWN]]
  if len(names) > _SHOWN:
    lines.append(f'and {len(names) - _SHOWN} more')
  return lines


def SinceStart(train_dir, params):
  """Returns Differences between trainer_params.txt, written at the run's last start, and `params`; [] in a new run."""
  path = os.path.join(train_dir, 'trainer_params.txt')
  if not tf.io.gfile.exists(path):
    return []
  with tf.io.gfile.GFile(path) as f:
    return Differences(f.read(), params.ToText())
