"""What differs between two texts of Lingvo's params: the configuration at a run's start and at its resumption."""

import os

from lingvo import compat as tf

_SHOWN = 20
# Where and for how long a run goes on, not what it computes.
_IGNORED = ('cluster.',)


def Params(text):
  """dict name -> value, of the text of a Params; a value of several lines is joined."""
  params, name = {}, None
  for line in text.splitlines():
    head, colon, value = line.partition(' : ')
    if colon and ' ' not in head.strip() and not line.startswith(' '):
      name = head
      params[name] = value
    elif name is not None:
      params[name] += ' ' + line.strip()
  return params


def Differences(before, now):
  """Lines `NAME: OLD -> NEW` for each param that differs; at most some, and then how many more there are.

  Args:
    before, now: Texts as Params.ToText() gives them.
  """
  before, now = Params(before), Params(now)
  names = [
    name for name in sorted({*before, *now}) if before.get(name) != now.get(name) and not name.startswith(_IGNORED)
  ]
  lines = [f'{name}: {before.get(name, "(not there)")} -> {now.get(name, "(not there)")}' for name in names[:_SHOWN]]
  if len(names) > _SHOWN:
    lines.append(f'and {len(names) - _SHOWN} more')
  return lines


def SinceStart(train_dir, params):
  """Differences between trainer_params.txt, of the run's last start, and Params; [] in a new run."""
  path = os.path.join(train_dir, 'trainer_params.txt')
  if not tf.io.gfile.exists(path):
    return []
  with tf.io.gfile.GFile(path) as f:
    return Differences(f.read(), params.ToText())
