"""Warm starts: a new run loads weights from another run's checkpoint, all that its rules cover or none.

p.train.init_from_checkpoint_rules names the checkpoint. Lingvo only warns if a rule finds nothing. Here every variable
of the model that a rule covers must be in the checkpoint with the same shape, and the checkpoint must have been made
with this model's front end and tokenizer.
"""

import re
from collections.abc import Iterable

from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.utils import suggest

# Head -> setting of the experiments of params/ with which a new run does not load it.
_NEW = {'best_rq': 'init_best_rq = False', 'transducer': 'init_decoder = False', 'ctc': 'init_decoder = False'}


def InitRules(init_from: str, fresh: Iterable[str] = ()) -> dict:
  """Returns rules for p.train.init_from_checkpoint_rules that load all weights except the new ones.

  The path is resolved when a run starts, not here, so that params do not depend on the disk.

  Args:
    init_from: Folder of a run or a checkpoint's prefix, as reader.Resolve takes it: of a run that keeps best
      checkpoints the best one, else the newest; '' gives no rules.
    fresh: Regular expressions, searched for in variable names: variables that are new in this stage and keep their
      initial values.

  Returns:
    dict in Lingvo's format: {path: (loading rules, ignore rules)}.
  """
  if not init_from:
    return {}
  # Lingvo matches rules at the start of a name.
  return {init_from: ([('(.*/var):0$', '%s')], [f'.*(?:{f})' for f in fresh])}


def Sources(train_params: hyperparams.Params) -> list[str]:
  """Returns the runs and checkpoints that task.train of a task's Params names for a warm start."""
  paths = list(train_params.init_from_checkpoint_rules or {})
  if train_params.init_from_checkpoint_override is not None:
    paths = [train_params.init_from_checkpoint_override]  # '' means none.
  return list(filter(None, paths))


def CheckSources(train_params: hyperparams.Params) -> None:
  """Checks the checkpoints for a warm start before the graph is built.

  Args:
    train_params: task.train of a task's Params.

  Raises:
    errors.ConfigError: A checkpoint is missing or cannot be read, or the stage needs one and none is named.
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
  """Loads the weights that the rules of a task's params cover.

  Call it in new runs only, after the variables are initialised.

  Args:
    task: A task with CheckRestored, in whose graph this runs. Weights and records are loaded; optimizer slots and the
      step are not.
    sess: Session with the task's initialised variables.

  Returns:
    (lines, loaded): lines to print, two for each checkpoint; names of the loaded variables.

  Raises:
    errors.ConfigError: Variables are missing or differ in shape, the checkpoint cannot be read, or was made with
      another front end or tokenizer.
  """
  lines: list[str] = []
  loaded: set[str] = set()
  for covered, match in Matches(task):
    match.Restore(task, sess)
    loaded.update(v.op.name for v in covered.values())
    averaged = ', moving averages' if match.checkpoint.averaged else ''
    lines += [
      f'started from {match.checkpoint.prefix}{averaged}: {reader.Summary(match.used) or "nothing"}',
      match.UnusedLine(),
    ]
  return lines, loaded


def Check(task) -> None:
  """Raises the errors of Restore without a session; the task's variables may be mere declarations of name and shape."""
  for covered, match in Matches(task):
    match.Check(task)
    match.checkpoint.Values(covered)  # Finds damage.


def Matches(task):
  """Yields (dict: name in the checkpoint -> variable, its reader.Match) for each checkpoint of a task's rules."""
  taken: set[str] = set()
  for path, rules in (task.params.train.init_from_checkpoint_rules or {}).items():
    if not path:  # Lingvo's result of init_from_checkpoint_override = ''.
      continue
    covered = _CoveredVariables(task.vars.Flatten(), *rules)
    if not covered:
      raise errors.ConfigError(
        f'task.train.init_from_checkpoint_rules: the rules of {path} cover no variable of this model'
      )
    twice = sorted(v.op.name for v in covered.values() if v.op.name in taken)
    if twice:
      raise errors.ConfigError(
        f'task.train.init_from_checkpoint_rules: {suggest.Some(twice, 3)} covered by the rules of two checkpoints; '
        'expected one for each variable'
      )
    taken.update(v.op.name for v in covered.values())
    match = reader.Match(reader.Checkpoint(path, task.params.train.init_from_averages), covered)
    heads = {part for name in match.missing for part in name.split('/')[1:2]}
    if heads and heads <= _NEW.keys():
      settings = ' and '.join(sorted({_NEW[head] for head in heads}))
      match.advice = f'; {settings} of the experiment makes new ones'
    yield covered, match


def _CoveredVariables(variables, loading_rules, ignore_rules):
  """Returns dict: name in the checkpoint -> variable, for the variables that the rules cover."""
  covered = {}
  for v in variables:
    for pattern, name_format in loading_rules:
      match = re.match(pattern, v.name)
      if match and not any(re.match(rule, v.name) for rule in ignore_rules):
        name = re.sub(':0$', '', name_format % match.groups())
        if name in covered:
          raise errors.ConfigError(
            f'task.train.init_from_checkpoint_rules: {covered[name].op.name} and {v.op.name} would both be loaded from '
            f'{name}; expected another name for each variable'
          )
        covered[name] = v
        break
  return covered
