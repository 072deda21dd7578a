"""Variables that only training has, beside the weights: which settings add them, and whether a checkpoint has them.

A run cannot go on with such a setting if it began without, since the variables have no values in its checkpoints.
"""

import collections
import os
import re
from collections.abc import Iterable
from typing import Any

from lingvo.core import optimizer

from fm_lingvo.checkpoints import reader

_AVERAGES = 'task.train.ema_decay'
_ACCUMULATED = 'gradient_accumulation_steps'
_TRAINED = 'task.train.learner.bprop_variable_filter'  # What is trained; its variables have slots of the optimizer.
_OPTIMIZER = 'task.train.learner.optimizer'
_ACCUMULATOR = '/grad_accumulator/'
_SLOT = re.compile(r'(.*/var)/[^/]+$')


def CheckMissing(checkpoint: reader.Checkpoint, missing: Iterable[str], tasks: Iterable) -> None:
  """Raises reader.Unusable, with the settings, if all variables that a checkpoint lacks are of training alone.

  Args:
    checkpoint: Of the run.
    missing: Names of variables of the training graph that are not in it.
    tasks: The tasks of that graph.
  """
  _Raise(checkpoint, {_SettingOf(name, checkpoint) for name in missing}, tasks)


def CheckDeclared(checkpoint: reader.Checkpoint, task: Any) -> None:
  """Raises as CheckMissing for a task whose variables are mere declarations; all that it finds would be missing.

  Args:
    checkpoint: Of the run.
    task: A base_task.BaseTask.
  """
  tp, settings = task.params.train, set()
  if (tp.ema_decay > 0 or tp.ema_schedule) and not any(n.endswith(reader.AVERAGE) for n in checkpoint.others):
    settings.add(_AVERAGES)
  slots = _WithSlots(checkpoint)
  for learner in task.learners:
    used = learner.params.optimizer
    if issubclass(used.cls, optimizer.Accumulator):
      used = used.optimizer_tpl
      if not any(_ACCUMULATOR in n for n in checkpoint.others):
        settings.add(_ACCUMULATED)
    if issubclass(used.cls, optimizer.Adam) and slots:
      trained = collections.defaultdict(set)
      for v in learner.GetTrainableVariables(task.vars).Flatten():
        trained[reader.Component(v.op.name)].add(v.op.name)
      # Adapters that are not in use have no gradients and so no slots.
      if any('/adapters/' not in part and not names & slots for part, names in trained.items()):
        settings.add(_TRAINED)
  _Raise(checkpoint, settings, [task])


def _SettingOf(name, checkpoint):
  """Returns the setting that adds a variable; None for a weight."""
  if name.endswith(reader.AVERAGE):
    return _AVERAGES
  if _ACCUMULATOR in name:
    return _ACCUMULATED
  slot = _SLOT.match(name)
  if not slot or slot.group(1) not in checkpoint.weights:
    return None
  slots = _WithSlots(checkpoint)
  return _TRAINED if slots and slot.group(1) not in slots else _OPTIMIZER


def _WithSlots(checkpoint):
  """Names of the weights that have slots of an optimizer in a checkpoint."""
  slots = (_SLOT.match(n) for n in checkpoint.others if not n.endswith(reader.AVERAGE) and _ACCUMULATOR not in n)
  return {slot.group(1) for slot in slots if slot}


def _Raise(checkpoint, settings, tasks):
  if not settings or None in settings:
    return
  run = os.path.dirname(os.path.dirname(checkpoint.prefix))
  decoder = ' and init_decoder = True' if any(task.Tokenizers() for task in tasks) else ''
  raise reader.Unusable(
    f'{checkpoint.prefix}: {" and ".join(sorted(settings))}: the run began without the variables that this setting '
    f'adds; set it as it was, or start another run with init_from = {run!r}{decoder}'
  )
