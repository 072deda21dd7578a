"""The study of a sweep: asks Optuna for values, runs trainers side by side, tells it what they reached."""

import contextlib
import math
import os
import time
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import NamedTuple

from fm_lingvo import errors
from fm_lingvo.run_files import run_lock

from ..common import interrupts
from . import space as space_lib
from . import trial as trial_lib

FILE = 'study.db'  # In the folder of the sweep.
_FOLDER = 'folder'  # User attribute of a trial: its run's folder, relative to the sweep's.
_BEGUN = 'begun'  # User attribute of the study: what it was begun with, see _Begun.


class Plan(NamedTuple):
  """What a sweep does.

  Attributes:
    model: Name of the experiment.
    logdir: Folder of the sweep.
    space: Name -> space.Dimension.
    dataset, metric: What is minimised, or with `maximize` maximised.
    trials: Trials to finish, those of earlier commands included.
    jobs: Trainers side by side.
    flags: Further flags of the trainer.
    prune: Whether trials that are worse than the median of the others at the same step are stopped.
  """

  model: str
  logdir: str
  space: Mapping[str, space_lib.Dimension]
  dataset: str
  metric: str
  maximize: bool = False
  trials: int = 20
  jobs: int = 1
  seed: int = 1
  prune: bool = True
  startup_trials: int = 5
  flags: Sequence[str] = ()


class Study:
  """Runs a Plan; what it finished survives it in LOGDIR/study.db."""

  def __init__(
    self, plan: Plan, command: Callable[..., list[str]] = trial_lib.Command, poll_seconds: float = 2.0
  ) -> None:
    """Opens the study, or begins it.

    Args:
      plan: What to do.
      command: Makes a trial's command, as trial.Command does.
      poll_seconds: Between two looks at the trainers.

    Raises:
      errors.ConfigError: Optuna is not installed, or the folder's study is damaged or was begun with another model,
        metric or kind of values.
      errors.RunError: The folder cannot be written.
    """
    self._plan, self._command, self._poll_seconds = plan, command, poll_seconds
    self._optuna = _Optuna()
    with errors.Writing(plan.logdir):
      os.makedirs(plan.logdir, exist_ok=True)
    optuna = self._optuna
    pruner = optuna.pruners.MedianPruner(n_startup_trials=plan.startup_trials)
    path = os.path.join(plan.logdir, FILE)
    with _Opening(path):
      self.study = optuna.create_study(
        study_name='sweep',
        storage=f'sqlite:///{os.path.abspath(path)}',
        load_if_exists=True,
        direction='maximize' if plan.maximize else 'minimize',
        sampler=_Sampler(optuna, plan),
        pruner=pruner if plan.prune else optuna.pruners.NopPruner(),
      )
    _CheckBegun(self.study, plan)
    self._running: dict[trial_lib.Trial, Any] = {}
    self._failed_in_a_row = 0

  def Run(self) -> None:
    """Runs trials until there are as many as planned.

    Raises:
      errors.ConfigError: Three trainers failed one after the other, evaluations lack the metric, or another sweep
        runs in the folder.
      KeyboardInterrupt: As the caller's signals do; trainers have been stopped, with checkpoints.
    """
    with run_lock.Hold(self._plan.logdir):  # Two sweeps in one folder would take up each other's trials.
      self._TakeUp()
      self._RunAll()

  def _RunAll(self) -> None:
    try:
      while self._running or self._Left():
        while len(self._running) < self._plan.jobs and self._Left():
          self._Start()
        self._Look()
        time.sleep(self._poll_seconds)
    finally:
      for trial in self._running:
        trial.AskToStop()
      for trial in self._running:
        trial.Stop()

  def _Left(self) -> bool:
    """Whether a further trial is to be started."""
    states = self._optuna.trial.TrialState
    done = self.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    return len(done) + len(self._running) < self._plan.trials

  def _TakeUp(self) -> None:
    """Lets trials that an earlier command left unfinished go on, in their folders."""
    states = self._optuna.trial.TrialState
    for old in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
      self.study.tell(old.number, state=states.FAIL)
      if set(old.params) == set(self._plan.space):
        self.study.enqueue_trial(old.params, user_attrs={_FOLDER: old.user_attrs.get(_FOLDER, _Name(old.number))})

  def _Start(self) -> None:
    """Starts a trial on the cores that no other one has."""
    asked = self.study.ask()
    params = {name: dimension.Suggest(asked, name) for name, dimension in self._plan.space.items()}
    name = asked.user_attrs.get(_FOLDER) or _Name(asked.number)
    asked.set_user_attr(_FOLDER, name)
    folder = os.path.join(self._plan.logdir, name)
    bindings = space_lib.Bindings(self._plan.model, params)
    command = self._command(self._plan.model, folder, bindings, self._plan.flags)
    with interrupts.Held():
      trial = trial_lib.Trial(asked.number, folder, command, self._Cores())
      self._running[trial] = asked
    print(f'trial {asked.number}: {", ".join(bindings)}', flush=True)

  def _Cores(self) -> list[int]:
    """Cores of the next trial: its share of this process's; none, for all, with one job or more jobs than cores."""
    mine, jobs = sorted(os.sched_getaffinity(0)), self._plan.jobs
    if jobs == 1 or jobs > len(mine):
      return []
    share = len(mine) // jobs
    used = [set(trial.cores) for trial in self._running]
    for job in range(jobs):
      cores = mine[job * share : (job + 1) * share]
      if not any(others.intersection(cores) for others in used):
        return cores
    return []

  def _Look(self) -> None:
    """Reports news of the running trials, and takes leave of those that have ended or are stopped."""
    states = self._optuna.trial.TrialState
    for trial, asked in list(self._running.items()):
      code = trial.Ended()
      for step, value in trial.News(self._plan.dataset, self._plan.metric):
        asked.report(value, step)
      if code is None:
        if asked.should_prune():
          trial.Stop()
          self._Finish(trial, None, states.PRUNED, 'stopped: worse than the median of the others at its step')
        continue
      values = trial_lib.Values(trial.folder, self._plan.dataset, self._plan.metric)
      if code:
        self._Finish(trial, None, states.FAIL, f'failed with exit code {code}: {trial.LastError()}')
      elif not values:
        raise errors.ConfigError(
          f'--metric={self._plan.dataset}/{self._plan.metric}: {trial.folder} has no evaluation of {self._plan.dataset}'
        )
      elif not (finite := [value for _, value in values if math.isfinite(value)]):
        self._Finish(trial, None, states.FAIL, f'failed: {self._plan.dataset}/{self._plan.metric} is NaN or infinite')
      else:
        best = (max if self._plan.maximize else min)(finite)
        self._Finish(trial, best, states.COMPLETE, f'{self._plan.dataset}/{self._plan.metric} {best:.4g}')

  def _Finish(self, trial: trial_lib.Trial, value: float | None, state: Any, line: str) -> None:
    self.study.tell(self._running.pop(trial), value, state=state)
    print(f'trial {trial.number}: {line}', flush=True)
    failed = state == self._optuna.trial.TrialState.FAIL
    self._failed_in_a_row = self._failed_in_a_row + 1 if failed else 0
    if self._failed_in_a_row == 3:
      raise errors.ConfigError(f'three trials failed one after the other; the last one in {trial.folder}: {line}')

  def Table(self, limit: int = 10) -> list[str]:
    """Lines of the best trials, the best first, and of how to train with its values."""
    states = self._optuna.trial.TrialState
    done = self.study.get_trials(deepcopy=False, states=(states.COMPLETE,))
    done = sorted(done, key=lambda t: -t.value if self._plan.maximize else t.value)
    pruned = len(self.study.get_trials(deepcopy=False, states=(states.PRUNED,)))
    lines = [f'{len(done)} trials finished, {pruned} stopped early; {self._plan.dataset}/{self._plan.metric}:']
    for trial in done[:limit]:
      values = ', '.join(space_lib.Bindings(self._plan.model, trial.params))
      lines.append(f'  {trial.value:.4g}  {trial.user_attrs[_FOLDER]}  {values}')
    if done:
      path = os.path.join(self._plan.logdir, done[0].user_attrs[_FOLDER], 'config.gin')
      lines.append(f'the best again: trainer --gin_file={path} --model={self._plan.model}')
    return lines


@contextlib.contextmanager
def _Opening(path: str) -> Iterator[None]:
  """Turns errors of the data base into a ConfigError."""
  try:
    yield
  except Exception as e:
    if type(e).__module__.partition('.')[0] not in ('optuna', 'sqlalchemy', 'sqlite3'):
      raise
    raise errors.ConfigError(f'{path}: no study of a sweep, or a damaged one ({errors.Reason(e)})') from e


def _Begun(plan: Plan) -> dict[str, Any]:
  """What must stay as it is in a study: else its trials could not be compared, or Optuna would refuse the values.

  The ends of numbers may change.
  """
  kinds = {f'--search={name}': [d.kind, *(d.values if d.kind == 'choice' else ())] for name, d in plan.space.items()}
  metric = f'{plan.dataset}/{plan.metric}' + (', maximised' if plan.maximize else '')
  return {'--model': plan.model, '--metric': metric, **kinds}


def _CheckBegun(study: Any, plan: Plan) -> None:
  """Raises ConfigError if a study was begun with other values than a plan's; a new study notes them."""
  old, new = study.user_attrs.get(_BEGUN, {}), _Begun(plan)
  for name, value in new.items():
    if old.get(name, value) != value:
      raise errors.ConfigError(
        f'{name}: {plan.logdir} was begun with {_Text(old[name])}, not {_Text(value)}; expected the same, or another '
        '--logdir'
      )
  study.set_user_attr(_BEGUN, {**old, **new})


def _Text(value: str | list) -> str:
  if isinstance(value, str):
    return value
  kind, *choices = value
  return f'{kind}({", ".join(map(str, choices))})' if choices else kind


def _Name(number: int) -> str:
  return f'trial-{number:04d}'


def _Optuna() -> Any:
  try:
    import optuna
  except ImportError as e:
    raise errors.ConfigError(f"Optuna is not installed ({errors.Reason(e)}); pip install 'fm_lingvo[sweep]'") from e
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  return optuna


def _Sampler(optuna: Any, plan: Plan) -> Any:
  with warnings.catch_warnings():  # A trial that runs beside others must not repeat them; Optuna calls that new.
    warnings.simplefilter('ignore', optuna.exceptions.ExperimentalWarning)
    return optuna.samplers.TPESampler(seed=plan.seed, n_startup_trials=plan.startup_trials, constant_liar=True)
