"""Keeps a run's best checkpoints by a metric of its evaluations, and says when training no longer improves it.

RUN/best has the checkpoints, beside those of RUN/train, which the saver deletes in turn; its file `checkpoint` names
the best one. There is no further state: the values are the rows of metrics.jsonl, so that a resumed run
has the same ones.
"""

import math
import os

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.config import train_params
from fm_lingvo.run_files import metrics_log
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest


class BestCheckpoints:
  """The best checkpoints of a run by task.train.best_metric.

  Attributes:
    dataset: Name of the data set, None if the run keeps no best checkpoints.
  """

  def __init__(self, tp, logdir, datasets):
    """Constructor.

    Args:
      tp: task.train of a task's Params.
      logdir: Folder of the run.
      datasets: Names of the data sets that have files.

    Raises:
      errors.ConfigError: The data set has no files.
    """
    self.dataset, self._metric = train_params.BestMetric(tp) or (None, None)
    self._tp, self._logdir = tp, logdir
    self._folder = os.path.join(logdir, run_checkpoints.BEST)
    self._values = {}  # Step -> value, of all evaluations in order.
    if self.dataset and self.dataset not in datasets:
      raise errors.ConfigError(f'task.train.best_metric = {tp.best_metric!r}: {self.dataset} has no files to evaluate')

  def CheckStart(self, evaluate):
    """Raises errors.ConfigError if evaluations lack the metric; evaluates only if the run has not done so before.

    Args:
      evaluate: Function from a number of batches, None: all, to the metrics of an evaluation of them.
    """
    if not self.dataset or self._values:
      return
    values = evaluate(1)
    # A batch may lack what others have: a mean over masked frames, if none is masked.
    self._CheckMetric(values if self._metric in values else evaluate(None))

  def _CheckMetric(self, values):
    suggest.CheckChoice('task.train.best_metric: metric', self._metric, sorted(values))

  def Resume(self, step):
    """Reads the values up to `step`, from which the run goes on; removes best checkpoints after it.

    Raises:
      errors.ConfigError: The run has been given another metric, which its newest evaluation lacks.
    """
    self._values = {}
    path = os.path.join(self._logdir, 'metrics.jsonl')
    if not self.dataset or not files.Exists(path):
      return
    rows = [row for row in metrics_log.ReadMetrics(path) if row.get('dataset') == self.dataset and row['step'] <= step]
    if rows:
      self._CheckMetric(rows[-1].keys() - {'dataset', 'step', 'time'})
    self._values = {row['step']: row[self._metric] for row in rows if self._metric in row}
    self._Prune([prefix for prefix in self._Kept() if run_checkpoints.Step(prefix) <= step])

  def Add(self, step, values, save):
    """Notes an evaluation of the data set and keeps its checkpoint if it is one of the best; may be repeated.

    Args:
      step: Step of the evaluated weights.
      values: dict: metric -> value.
      save: Function that returns the prefix of the checkpoint of this step, which it saves if it must.

    Returns:
      A line for the terminal if it is the best one so far, else None.

    Raises:
      errors.RunError: A file cannot be written.
      errors.ConfigError: The metric is not among the values.
    """
    self._CheckMetric(values)
    self._values[step] = values[self._metric]
    ranked = sorted({*self._kept_steps, step}, key=self._Rank)[: self._tp.best_max_to_keep]
    if step in ranked:
      prefix = save()
      with errors.Writing(f'{self._folder}: checkpoint at step {step}'):
        run_checkpoints.Copy(prefix, self._folder)
    with errors.Writing(self._folder):
      self._Prune([prefix for prefix in self._Kept() if run_checkpoints.Step(prefix) in ranked])
    return f'best so far: {self.Line()}' if ranked[0] == step else None

  def Line(self):
    """Returns a phrase: the metric, its best value, its step, and the checkpoint."""
    step = self.step
    return f'{self._tp.best_metric} {self._values.get(step, math.nan):.4g} at step {step}, {self.prefix}'

  @property
  def prefix(self):
    """Prefix of the best checkpoint's files, None if there is none."""
    return run_checkpoints.Best(self._logdir) if self.dataset else None

  @property
  def step(self):
    """Step of the best checkpoint, None if there is none."""
    return run_checkpoints.Step(self.prefix) if self.prefix else None

  def WhyEnd(self, step):
    """Returns a phrase that says why a run ends early at `step`, None if it does not."""
    if not self._values or not self._tp.early_stop_patience or step < self._tp.early_stop_min_steps:
      return None
    best = min(self._values, key=self._Rank)
    since = sum(s > best for s in self._values)
    if since < self._tp.early_stop_patience:
      return None
    return f'{self._tp.best_metric} has not improved in {since} evaluations, since step {best}'

  def _Rank(self, step):
    """Sort key of an evaluation: the best first, of equal ones the earliest."""
    value = self._values.get(step, math.nan)
    if not math.isfinite(value):
      return math.inf, step
    return -value if self._tp.best_is_highest else value, step

  @property
  def _kept_steps(self):
    return [run_checkpoints.Step(prefix) for prefix in self._Kept()]

  def _Kept(self):
    """Prefixes of the checkpoints in RUN/best."""
    return run_checkpoints.Numbered(self._folder)

  def _Prune(self, kept):
    """Makes the folder's file `checkpoint` name the best of `kept`, then removes all other checkpoints."""
    kept = sorted(kept, key=lambda prefix: self._Rank(run_checkpoints.Step(prefix)))
    if kept:
      tf.tf1.train.update_checkpoint_state(self._folder, kept[0], kept)
    found = tf.io.gfile.glob(files.LiteralFolder(os.path.join(self._folder, 'ckpt-*.*')))
    stems = {path.rpartition('.')[0] for path in found}
    for prefix in stems - set(kept):
      run_checkpoints.Remove(prefix)
