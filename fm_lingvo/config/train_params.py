"""Training params: those that we add to Lingvo's task.train, and range checks of both.

The ranges are checked when a task is built: by --dry_run, by every job and by the tools.
"""

import math
import re

from fm_lingvo import errors
from fm_lingvo.utils import ranges

# Param -> smallest legal value.
_SMALLEST = {
  'max_steps': 1,
  'eval_interval_steps': 1,
  'log_interval_steps': 1,
  'save_interval_steps': 1,
  'summary_interval_steps': 1,
  'save_max_to_keep': 1,
  'max_skipped_steps': 0,
  'best_max_to_keep': 1,
  'early_stop_min_steps': 0,
}


def Define(tp):
  """Adds the params of local runs to a task's training Params `tp`, and sets Lingvo's defaults for them."""
  tp.Define('eval_datasets', [], 'Names of the data sets that a local run evaluates on.')
  tp.Define('final_eval_datasets', [], 'Names of the data sets that a local run evaluates once, at its end.')
  tp.Define('eval_interval_steps', 500, 'Steps, >= 1, between two evaluations of a local run.')
  tp.Define('log_interval_steps', 50, "Steps, >= 1, between two lines of a local run's log.")
  tp.Define(
    'max_minutes',
    None,
    'Minutes of training, > 0, after which a local run saves a checkpoint, evaluates and ends; None: no time limit.',
  )
  tp.Define(
    'max_skipped_steps',
    20,
    'Steps with a NaN or Inf in loss or gradients, >= 0, that a local run skips, or a job of a cluster since its '
    'start; one more ends it.',
  )
  tp.Define(
    'best_metric',
    None,
    'DATASET/METRIC, such as DevTarget/labeled/wer: the metric of one of eval_datasets by which a local run keeps its '
    'best checkpoints in RUN/best; None: it keeps none.',
  )
  tp.Define('best_is_highest', False, 'Whether a higher best_metric is better.')
  tp.Define('best_max_to_keep', 1, 'Best checkpoints, >= 1, that a run keeps in addition to its newest ones.')
  tp.Define(
    'early_stop_patience',
    None,
    'Evaluations, >= 1, without a better best_metric after which a local run ends; None: it does not end early.',
  )
  tp.Define('early_stop_min_steps', 0, 'Steps, >= 0, before which no run ends early.')
  tp.Define(
    'gradient_share_interval_steps',
    None,
    "Steps, >= 1, between two measurements of the branches' shares of the encoder's gradient in a local run, the "
    'metrics branch/BRANCH_encoder_grad_share; each costs a backward pass a branch. None: never.',
  )
  tp.Define('needs_init_from', False, 'Whether a new run must start from a checkpoint; otherwise it is rejected.')
  tp.Define(
    'init_from_averages',
    True,
    'Whether a warm start loads the moving averages of the weights of a run that has them (ema_decay).',
  )
  tp.save_interval_steps = 500
  tp.save_max_to_keep = 5
  # Asynchronous writing would need a second copy of all variables, and twice as many operations.
  tp.async_checkpointing = False


def Validate(path, tp):
  """Raises errors.ConfigError, one line with param and value, if a training param is out of range.

  Args:
    path: Path of the Params for messages, such as 'task.train'.
    tp: Params extended by Define.
  """

  def Check(ok, field, expected, p=tp, where=path):
    if not ok:
      raise errors.ConfigError(f'{where}.{field} = {p.Get(field)!r}: expected {expected}')

  for field, smallest in _SMALLEST.items():
    value = tp.Get(field)
    if value is None and field == 'save_interval_steps':
      continue  # Lingvo's jobs then save at time intervals.
    Check(ranges.IsWhole(value, smallest), field, f'an integer >= {smallest}')
  Check(tp.max_minutes is None or tp.max_minutes > 0, 'max_minutes', 'None or minutes > 0')
  interval = tp.gradient_share_interval_steps
  Check(interval is None or ranges.IsWhole(interval, 1), 'gradient_share_interval_steps', 'None or an integer >= 1')
  _ValidateBest(tp, Check)
  Check(0 <= tp.ema_decay < 1, 'ema_decay', 'a decay in [0, 1), 0 for no moving averages')
  for learner in _Learners(tp):
    _ValidateLearner(f'{path}.learner', learner, Check)


def _ValidateBest(tp, check):
  """Checks the params of best checkpoints and early stopping."""
  if tp.best_metric is not None:
    dataset, metric = BestMetric(tp)
    check(dataset and metric, 'best_metric', 'DATASET/METRIC, such as DevTarget/labeled/wer')
    check(dataset in tp.eval_datasets, 'best_metric', f'a data set of eval_datasets = {tp.eval_datasets}')
  patience = tp.early_stop_patience
  check(patience is None or ranges.IsWhole(patience, 1), 'early_stop_patience', 'None or an integer >= 1')
  check(patience is None or tp.best_metric is not None, 'early_stop_patience', 'None without best_metric')


def Idle(path, tp):
  """The params at `path`, such as 'task.train', that have no effect with the values of the others; see idle.py."""
  idle = {}
  if tp.best_metric is None:
    idle.update(dict.fromkeys(('best_is_highest', 'best_max_to_keep'), 'without best_metric'))
  if tp.early_stop_patience is None:
    idle.update(early_stop_min_steps='without early_stop_patience')
  if not tp.init_from_checkpoint_rules:
    idle.update(init_from_averages='without init_from')
  if tp.save_interval_steps is not None:
    idle.update(save_interval_seconds='with save_interval_steps')
  if tp.learner is not None:  # Lingvo's older place of what a learner has.
    of_learner = {name for learner in _Learners(tp) for name in learner.GetKeys()}
    for name in of_learner & {key for key, _ in tp.IterParams()}:
      idle[name] = f'with {path}.learner; bind {path}.learner.{name}'
  return idle


def BestMetric(tp):
  """Returns (data set, metric) of best_metric, or None if it is not set."""
  dataset, _, metric = (tp.best_metric or '').partition('/')
  return (dataset, metric) if tp.best_metric is not None else None


def DatasetsAtTheEnd(tp):
  """Returns the names of the data sets that a local run evaluates at its end."""
  return list(dict.fromkeys([*tp.eval_datasets, *tp.final_eval_datasets]))


def ValidateEnd(path, tp):
  """Raises errors.ConfigError if the last steps could not change the weights; called when a run starts."""
  for learner in _Learners(tp):
    steps = learner.optimizer.accum_steps if 'accum_steps' in learner.optimizer else 1
    if tp.max_steps % steps:
      raise errors.ConfigError(
        f'{path}.max_steps = {tp.max_steps}: expected a multiple of {steps}, the knob gradient_accumulation_steps; the '
        'gradients of the steps after the last update would be lost'
      )
    if tp.max_steps > _End(learner.lr_schedule):
      raise errors.ConfigError(
        f'{path}.max_steps = {tp.max_steps}: expected <= {learner.lr_schedule.total_steps}, the total_steps of '
        'learner.lr_schedule, after which the learning rate is 0; the knob max_steps sets both'
      )


def ValidateLocal(path, tp):
  """Raises errors.ConfigError if a training param fits only Lingvo's cluster jobs; called when a local run starts."""
  if tp.save_interval_steps is None:
    raise errors.ConfigError(f'{path}.save_interval_steps = None: expected an integer >= 1 in a local run')
  if tp.early_stop and tp.early_stop.window:
    raise errors.ConfigError(
      f'{path}.early_stop.window = {tp.early_stop.window}: expected 0 in a local run, which has best_metric and '
      'early_stop_patience instead'
    )


def _Learners(tp):
  """Returns the Params of a task's learners as a list; Lingvo allows one, several or none."""
  return list(tp.learner) if isinstance(tp.learner, (list, tuple)) else [tp.learner] if tp.learner is not None else []


def _End(schedule):
  """Returns the step from which the schedule is 0; infinity if there is none."""
  is_endless = any(schedule.Get(name) for name in ('final_value', 'cyclical') if name in schedule)
  return math.inf if 'total_steps' not in schedule or is_endless else schedule.total_steps


def _ValidateLearner(path, p, check):
  """Checks the ranges of a learner, its optimizer and its schedule."""
  schedule, optimizer = p.lr_schedule, p.optimizer
  check(p.learning_rate >= 0, 'learning_rate', '>= 0', p, path)
  if 'warmup_steps' in schedule:
    check(ranges.IsWhole(schedule.warmup_steps, 1), 'warmup_steps', 'an integer >= 1', schedule, f'{path}.lr_schedule')
  if 'accum_steps' in optimizer:
    check(ranges.IsWhole(optimizer.accum_steps, 1), 'accum_steps', 'an integer >= 1', optimizer, f'{path}.optimizer')
  if 'rate_groups' in p:
    _ValidateRateGroups(path, p, check)


def _ValidateRateGroups(path, p, check):
  """Checks the groups of variables with learning rates of their own."""
  groups, where = p.rate_groups, ('rate_groups', p, path)

  def Check(ok, expected):
    check(ok, where[0], expected, *where[1:])

  for group in groups:
    Check(isinstance(group, (list, tuple)) and len(group) == 3, 'a list of (name, regular expression, factor)')
    name, pattern, factor = group
    Check(isinstance(name, str) and re.fullmatch(r'\w+', name), f'a name of letters, digits and _, not {name!r}')
    Check(isinstance(factor, (int, float)) and 0 < factor < math.inf, f'a factor > 0 of {name}, not {factor!r}')
    Check(_IsPattern(pattern), f'a regular expression of {name}, not {pattern!r}')
  Check(len({name for name, *_ in groups}) == len(groups), 'names that differ')


def _IsPattern(pattern):
  try:
    return isinstance(pattern, str) and bool(re.compile(pattern))
  except re.error:
    return False
