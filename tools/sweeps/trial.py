"""One trial of a sweep: a trainer's process, and the metric that it writes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from collections.abc import Sequence

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.utils import suggest

from ..common import trainer_log

LOG = 'trainer.log'


class Trial:
  """A trainer that runs.

  Attributes:
    number: Of the study's trial.
    folder: Of the run.
    cores: Numbers of the cores that it computes on; none: all.
  """

  def __init__(self, number: int, folder: str, command: Sequence[str], cores: Sequence[int] = ()) -> None:
    """Starts it.

    Args:
      number: Of the study's trial.
      folder: Of the run; the trainer's output goes to FOLDER/trainer.log.
      command: Of the trainer, with all flags.
      cores: Numbers of the cores to compute on; none: all.
    """
    self.number, self.folder, self.cores = number, folder, list(cores)
    self._reported: set[int] = set()
    self._asked = False
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, LOG), 'a', encoding='utf-8') as log:
      self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    if cores:
      os.sched_setaffinity(self._process.pid, cores)

  def Ended(self) -> int | None:
    """The exit code; None while it runs."""
    return self._process.poll()

  def News(self, dataset: str, metric: str) -> Iterator[tuple[int, float]]:
    """Yields (step, value) of evaluations that were not yielded before.

    Args:
      dataset: Data set of the evaluations.
      metric: Name of the value.

    Raises:
      errors.ConfigError: An evaluation has no such metric.
    """
    for step, value in Values(self.folder, dataset, metric):
      if step not in self._reported:
        self._reported.add(step)
        yield step, value

  def AskToStop(self) -> None:
    """Lets the trainer save a checkpoint and end; Stop waits for it."""
    if self._process.poll() is None and not self._asked:
      self._asked = True  # A second signal would end it without a checkpoint.
      self._process.send_signal(signal.SIGTERM)

  def Stop(self) -> None:
    """Ends the trainer, which saves a checkpoint first."""
    self.AskToStop()
    self._process.wait()

  def LastError(self) -> str:
    """The trainer's last error, or its last line."""
    return trainer_log.LastError(trainer_log.Tail(os.path.join(self.folder, LOG)))


def Values(folder: str, dataset: str, metric: str) -> list[tuple[int, float]]:
  """Returns (step, value) of the evaluations of a run, in their order; [] if there is none yet.

  Raises:
    errors.ConfigError: An evaluation has no such metric.
  """
  path = os.path.join(folder, 'metrics.jsonl')
  if not os.path.exists(path):
    return []
  rows = [row for row in metrics_log.ReadMetrics(path) if row['dataset'] == dataset]
  for row in rows:
    if metric not in row:
      known = [name for name in row if name not in ('dataset', 'step', 'time')]
      raise _NoMetric(dataset, metric, known)
  return [(row['step'], row[metric]) for row in rows]


def CheckMetric(
  model: str,
  dataset: str,
  metric: str,
  bindings: Sequence[str],
  flags: Sequence[str],
  main: Sequence[str] = (sys.executable, '-m', 'fm_lingvo.trainer'),
) -> None:
  """Asks a trainer which metrics its evaluations will have; takes as long as an evaluation's graph, some seconds.

  Args:
    model: Name of the experiment.
    dataset: Data set of the evaluations.
    metric: Name of the value.
    bindings: Of a trial.
    flags: Further flags of the trainer.
    main: The trainer.

  Raises:
    errors.ConfigError: There will be no such metric, or the trainer refuses the data set, the bindings or the flags.
  """
  command = [*main, f'--model={model}', *flags, *(f'--gin_bindings={b}' for b in bindings), f'--list_metrics={dataset}']
  asked = subprocess.run(command, capture_output=True, text=True, check=False)
  if asked.returncode:
    said = trainer_log.LastError(asked.stderr).removeprefix('trainer: ')
    raise errors.ConfigError(said.replace('--list_metrics', '--metric'))  # The words of our own flag.
  known = [name.removeprefix(f'{dataset}/') for name in asked.stdout.splitlines() if name.startswith(f'{dataset}/')]
  if metric not in known:
    raise _NoMetric(dataset, metric, known)


def _NoMetric(dataset: str, metric: str, known: Sequence[str]) -> errors.ConfigError:
  expected = suggest.Hint(metric, known) or f'; expected one of {suggest.Some(known)}'
  return errors.ConfigError(f'--metric={dataset}/{metric}: no such metric{expected}')


def Command(model: str, folder: str, bindings: Sequence[str], flags: Sequence[str]) -> list[str]:
  """The trainer's command of a trial; the bindings of the trial come last and win."""
  return [
    *(sys.executable, '-m', 'fm_lingvo.trainer', f'--model={model}', f'--logdir={folder}'),
    *flags,
    *(f'--gin_bindings={binding}' for binding in bindings),
  ]
