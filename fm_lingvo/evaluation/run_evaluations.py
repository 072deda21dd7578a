"""Evaluates a run's data sets and writes the results to TensorBoard, metrics.jsonl and hypotheses/."""

import os
import time

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.evaluation import evaluator
from fm_lingvo.evaluation import hypotheses
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import progress
from fm_lingvo.run_files import tensorboard


class Evaluations:
  """Evaluates data sets by name and writes the results into the run's folder."""

  def __init__(self, params, logdir, rows=None):
    """Constructor; each graph is built when it is first needed.

    Args:
      params: dict: data set name -> model Params with its input.
      logdir: Folder of the run.
      rows: The metrics_log.MetricsLog to write to; None: one of its own.
    """
    self._params, self._logdir = params, logdir
    self._evaluators, self._writers = {}, {}
    self._rows = rows or metrics_log.MetricsLog(logdir)

  @property
  def names(self):
    """Names of the data sets."""
    return list(self._params)

  def Evaluator(self, name):
    """The evaluator.Evaluator of a data set."""
    if name not in self._evaluators:
      self._evaluators[name] = evaluator.Evaluator(self._params[name])
      self._writers[name] = tf.summary.FileWriter(os.path.join(self._logdir, f'eval_{name.lower()}'))
    return self._evaluators[name]

  def Run(self, name, step, weights, should_stop=lambda: False):
    """Evaluates a data set.

    Args:
      name: One of `names`.
      step: Training step of the weights.
      weights: See evaluator.Evaluator.Run.
      should_stop: See evaluator.Evaluator.Run.

    Returns:
      (values, line): the metrics, and a line with a few of them for the terminal; (None, None) if should_stop ended
      the pass.

    Raises:
      errors.ConfigError: A stream has no usable example.
      errors.RunError: The results cannot be written.
      ValueError: The data set gave no batch.
    """
    started = time.monotonic()
    values, panel, rows = self.Evaluator(name).Run(weights, should_stop)
    if values is None:
      return None, None
    writer = self._writers[name]
    with errors.Writing(f'{self._logdir}: evaluation of {name} at step {step}'):
      writer.add_summary(tensorboard.Scalars(values), step)
      for summary in evaluator.PanelSummaries(panel):
        writer.add_summary(summary, step)
      if rows:
        hypotheses.Write(self._logdir, name, step, rows)
        writer.add_summary(hypotheses.Summary(rows), step)
      writer.flush()
    self._rows.Write(name, step, values)
    brief = progress.Format(evaluator.Brief(values))
    return values, f'step {step}: {name}: {brief} ({time.monotonic() - started:.1f} s)'
