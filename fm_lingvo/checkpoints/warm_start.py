"""A new run takes its weights from another run's checkpoint: all that are asked for, or an error.

p.train.init_from_checkpoint_rules says from which checkpoint. Lingvo only warns when a rule finds nothing; here every
variable of the model that a rule covers must be in the checkpoint, with its shape, and the front end and the tokenizer
that the checkpoint records must be this model's.
"""

import re
from collections.abc import Iterable

from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.utils import suggest


def InitRules(init_from: str, fresh: Iterable[str] = ()) -> dict:
  """Rules for p.train.init_from_checkpoint_rules: all weights, except new ones.

  The path is looked up when a run starts, not here: params do not depend on the disk.

  Args:
    init_from: Folder of a run, whose newest checkpoint is taken, or a checkpoint's prefix; '' gives no rules.
    fresh: Regular expressions, searched for in variables' names, of what is new in this stage and keeps its initial
      value.

  Returns:
    dict in Lingvo's format: {path: (loading rules, ignore rules)}.
  """
  if not init_from:
    return {}
  # Lingvo matches rules at the start of a name.
  return {init_from: ([('(.*/var):0$', '%s')], [f'.*(?:{f})' for f in fresh])}


def Sources(train_params: hyperparams.Params) -> list[str]:
  """Runs and checkpoints that a new run starts from, as task.train of a task's Params says."""
  paths = list(train_params.init_from_checkpoint_rules or {})
  if train_params.init_from_checkpoint_override is not None:
    paths = [train_params.init_from_checkpoint_override]  # '' means none.
  return list(filter(None, paths))


def CheckSources(train_params: hyperparams.Params) -> None:
  """Checks that the checkpoints are there that a new run starts from, before its graph is built.

  Args:
    train_params: task.train of a task's Params.

  Raises:
    errors.ConfigError: One is missing or cannot be read, or none is named and the stage needs one.
  """
  paths = Sources(train_params)
  if train_params.needs_init_from and not paths:
    raise errors.ConfigError(
      'task.train.init_from_checkpoint_rules = {}: expected the run that this stage starts from, as the knob '
      'init_from; asr.FromScratch trains from random weights'
    )
  for path in paths:
    reader.Checkpoint(path)


def Restore(task, sess: tf.Session) -> tuple[list[str], set[str]]:
  """Loads what the rules of a task's params ask for.

  To be called in new runs, not in resumed ones, after the variables' initialisation.

  Args:
    task: A task with CheckRestored, in whose graph this runs. Weights and records are loaded; optimizers' slots and the
      step are not.
    sess: Session that holds its initialised variables.

  Returns:
    (lines, loaded): lines to print, two for each checkpoint; names of the loaded variables.

  Raises:
    errors.ConfigError: Variables are missing or differ in shape, the checkpoint cannot be read, or was made with
      another front end or tokenizer.
  """
  lines: list[str] = []
  loaded: set[str] = set()
  for path, rules in (task.params.train.init_from_checkpoint_rules or {}).items():
    if not path:  # Where Lingvo has put init_from_checkpoint_override = ''.
      continue
    wanted = _Wanted(task.vars.Flatten(), *rules)
    twice = sorted(v.op.name for v in wanted.values() if v.op.name in loaded)
    if twice:
      raise errors.ConfigError(
        f'task.train.init_from_checkpoint_rules: {suggest.Some(twice, 3)} by the rules of two checkpoints; expected '
        'one for each variable'
      )
    checkpoint = reader.Checkpoint(path)
    match = reader.Match(checkpoint, wanted)
    match.Restore(task, sess)
    loaded.update(v.op.name for v in wanted.values())
    averaged = ', moving averages' if checkpoint.averaged else ''
    lines += [
      f'started from {checkpoint.prefix}{averaged}: {reader.Summary(match.used) or "nothing"}',
      match.UnusedLine(),
    ]
  return lines, loaded


def _Wanted(variables, loading_rules, ignore_rules):
  """dict: name in the checkpoint -> variable, of those that the rules cover."""
  wanted = {}
  for v in variables:
    for pattern, name_format in loading_rules:
      match = re.match(pattern, v.name)
      if match and not any(re.match(rule, v.name) for rule in ignore_rules):
        wanted[re.sub(':0$', '', name_format % match.groups())] = v
        break
  return wanted
