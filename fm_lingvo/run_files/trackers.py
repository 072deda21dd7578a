"""Sends a run's metrics to experiment trackers: MLflow and Weights & Biases, which are optional packages.

A tracker is a class with Log and End; `trainer --logger=mlflow,wandb` chooses. A resumed run continues the
tracker's run that it started: RUN/trackers.json has the ids.
"""

import importlib
import json
import os
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Protocol

from fm_lingvo import errors
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

_FILE = 'trackers.json'


class Tracker(Protocol):
  """Where metrics go, in addition to the run's folder."""

  id: str  # Of the tracker's run.

  def Log(self, dataset: str, step: int, values: Mapping[str, float]) -> None:
    """Takes the metrics of a step; `dataset` is `train` or the name of an evaluated data set."""

  def End(self, succeeded: bool) -> None:
    """Ends the tracker's run."""


class Mlflow:
  """MLflow; MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say where to, by default the folder mlruns."""

  def __init__(self, run: str, settings: Mapping[str, Any], run_id: str | None) -> None:
    self._mlflow = _Import('mlflow', 'mlflow')
    self._started = self._mlflow.start_run(run_id=run_id, run_name=None if run_id else run)
    self.id = self._started.info.run_id
    if not run_id:
      try:
        self._mlflow.log_params(dict(settings))
      except Exception:
        self.End(False)
        raise

  def Log(self, dataset: str, step: int, values: Mapping[str, float]) -> None:
    self._mlflow.log_metrics({f'{dataset}/{name}': float(value) for name, value in values.items()}, step=step)

  def End(self, succeeded: bool) -> None:
    self._mlflow.end_run('FINISHED' if succeeded else 'FAILED')


class Wandb:
  """Weights & Biases; WANDB_PROJECT and WANDB_MODE=offline and so on are its own settings."""

  def __init__(self, run: str, settings: Mapping[str, Any], run_id: str | None) -> None:
    self._run = _Import('wandb', 'wandb').init(name=run, config=dict(settings), id=run_id, resume='allow')
    self.id = self._run.id

  def Log(self, dataset: str, step: int, values: Mapping[str, float]) -> None:
    # Not its own `step`, which must never fall: an evaluation comes after the training's row of the same step.
    self._run.log({'step': step, **{f'{dataset}/{name}': float(value) for name, value in values.items()}})

  def End(self, succeeded: bool) -> None:
    self._run.finish(exit_code=0 if succeeded else 1)


_TRACKERS: dict[str, Callable[[str, Mapping[str, Any], str | None], Tracker]] = {'mlflow': Mlflow, 'wandb': Wandb}


def _Import(module: str, package: str) -> Any:
  try:
    return importlib.import_module(module)
  except ImportError as e:
    raise errors.ConfigError(f'--logger={module}: not installed ({errors.Reason(e)}); pip install {package}') from e


def Names(flag: str) -> list[str]:
  """Returns the names in a value of --logger.

  Raises:
    errors.ConfigError: There is no such tracker, or its package is not installed.
  """
  names = [name.strip() for name in flag.split(',') if name.strip()]
  for name in names:
    if name not in _TRACKERS:
      raise errors.ConfigError(
        f'--logger={flag}: no tracker {name}; expected {" or ".join(_TRACKERS)}{suggest.Hint(name, _TRACKERS)}'
      )
    _Import(name, name)
  return names


def _ReadIds(path: str) -> dict[str, str]:
  """Tracker -> id of its run, as an earlier start of this run wrote them; {} if there was none."""
  if not files.Exists(path):
    return {}
  with files.Open(path) as f:
    try:
      return {str(name): str(value) for name, value in json.load(f).items()}
    except (ValueError, AttributeError) as e:
      raise errors.ConfigError(f'{path}: expected a JSON object of texts ({errors.Reason(e)}); remove the file') from e


def _Start(name: str, run: str, settings: Mapping[str, Any], run_id: str | None) -> Tracker:
  """Returns the tracker `name`, started; raises errors.ConfigError if it cannot be."""
  try:
    return _TRACKERS[name](run, settings, run_id)
  except errors.ConfigError:
    raise
  except Exception as e:  # Of any type: trackers raise their own.
    raise errors.ConfigError(f'--logger={name}: cannot be started ({errors.Reason(e)})') from e


class Trackers:
  """The trackers of a run; with no names, nothing happens."""

  def __init__(self, names: Sequence[str], logdir: str, settings: Mapping[str, Any]) -> None:
    """Starts or resumes the trackers' runs; if one cannot be started, those that have been are ended.

    Args:
      names: As Names returns.
      logdir: Folder of the run.
      settings: What the run is compared by, see dashboard.Compared.

    Raises:
      errors.ConfigError: A tracker's package is not installed, or it cannot be started.
      errors.RunError: RUN/trackers.json cannot be written.
    """
    self._trackers: list[Tracker] = []
    if not names:
      return
    path = os.path.join(logdir, _FILE)
    ids = _ReadIds(path)
    try:
      for name in names:
        tracker = _Start(name, os.path.basename(os.path.normpath(logdir)), settings, ids.get(name))
        self._trackers.append(tracker)
        ids[name] = tracker.id
      with errors.Writing(path), files.Open(path, 'w') as f:
        f.write(json.dumps(ids, indent=2) + '\n')
    except BaseException:
      self.End(False)
      raise

  def Log(self, dataset: str, step: int, values: Mapping[str, float]) -> None:
    """Sends the metrics of a step to every tracker; one that fails is left out from then on, and a line says so."""
    self._Each(lambda tracker: tracker.Log(dataset, step, values))

  def End(self, succeeded: bool) -> None:
    """Ends the trackers' runs."""
    self._Each(lambda tracker: tracker.End(succeeded))

  def _Each(self, call: Callable[[Tracker], None]) -> None:
    for tracker in list(self._trackers):
      try:
        call(tracker)
      except Exception as e:  # A run of days does not end because a server does.
        self._trackers.remove(tracker)
        name = type(tracker).__name__.lower()
        print(f'--logger={name}: left out from now on ({errors.Reason(e)}); metrics.jsonl has everything', flush=True)
