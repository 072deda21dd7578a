"""The local training loop: one process trains, evaluates, writes summaries and checkpoints, and resumes.

Lingvo's cluster jobs divide this work among a controller, trainers and evalers, which poll for checkpoints. On one
machine, a single loop starts faster and saves at exactly the configured steps.
"""

import os
import time

from lingvo import base_runner
from lingvo import compat as tf
from lingvo.core import py_utils

import fm_lingvo
from fm_lingvo import errors
from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.config import train_params
from fm_lingvo.data import example_filter
from fm_lingvo.evaluation import evaluator
from fm_lingvo.evaluation import run_evaluations
from fm_lingvo.run_files import dashboard
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import progress
from fm_lingvo.run_files import run_dir
from fm_lingvo.run_files import step_trace
from fm_lingvo.run_files import tensorboard
from fm_lingvo.training import best_checkpoints
from fm_lingvo.training import followed
from fm_lingvo.training import kept_decoder
from fm_lingvo.training import nonfinite_steps
from fm_lingvo.training import start_data
from fm_lingvo.training import stop_signals
from fm_lingvo.utils import own_names


class DamagedRecord(Exception):
  """A shard has a record that cannot be read; the steps before it are in a checkpoint."""


class LocalRunner(base_runner.BaseRunner):
  """Runs an experiment on this machine's CPU or GPUs."""

  def __init__(self, params, eval_params, logdir, config_text, settings=None, loggers=(), trace_step=0):
    """Builds the training graph.

    Args:
      params: Model Params with the training input.
      eval_params: dict: data set name -> model Params with its input, for the data sets in task.train.eval_datasets
        and final_eval_datasets.
      logdir: Folder of the run.
      config_text: Text of config.gin, written to the run's folder and to TensorBoard.
      settings: What the run is compared by in TensorBoard and trackers, see dashboard.Compared; None: nothing.
      loggers: Names of trackers, see trackers.Names.
      trace_step: Step to trace, see step_trace; 0: none.

    Raises:
      errors.ConfigError: task.train.save_interval_steps is None, Lingvo's early stopping is set, or the data set of
        task.train.best_metric has no files.
    """
    super().__init__(params, logdir=logdir)
    self._job_name = 'local'
    self._signum = None
    self._saved_step = None  # Of the newest checkpoint.
    self._task_params = params.task.train
    train_params.ValidateLocal('task.train', self._task_params)
    self._best = best_checkpoints.BestCheckpoints(self._task_params, logdir, list(eval_params))
    with self._graph.as_default(), self._cluster, tf.device(self._cluster.GetPlacer()):
      self._model = self.params.Instantiate()
      self._model.ConstructFPropBPropGraph()
      self._task = self._model.GetTask()
      interval = self._task_params.gradient_share_interval_steps
      self._shares = self._task.GradientShares(self._task.eval_metrics) if interval else {}
      self._checkpointer = checkpointer.Checkpointer(self._train_dir, self._model)
      # Leave out ops that do nothing: TensorFlow optimises the whole graph for each new set of fetches.
      self._local_init = [op for op in (tf.local_variables_initializer(), tf.tables_initializer()) if op.control_inputs]
      self._summary_writer = self._CreateSummaryWriter(self._train_dir)
    self._rows = metrics_log.MetricsLog(logdir)
    self._evaluations = run_evaluations.Evaluations(eval_params, logdir, self._rows)
    self._skipped = nonfinite_steps.SkippedSteps(logdir, self._task_params.max_skipped_steps)
    self._config_text = config_text
    self._settings = settings or {}
    self._loggers = loggers
    self._trace = step_trace.StepTrace(logdir, trace_step)

  def _WriteConfiguration(self):
    """Writes the configuration and the parameter counts; call it once the run's checkpoint is known to fit."""
    table = run_dir.TaskParameterTable(self._task)
    print(run_dir.FormatParameterTable(*table), flush=True)
    text = self.params.ToText()
    with errors.Writing(self._logdir):
      run_dir.WriteText(os.path.join(self._logdir, 'config.gin'), self._config_text)
      run_dir.WriteText(os.path.join(self._train_dir, 'trainer_params.txt'), text)
      run_dir.WriteParameters(self._logdir, *table)
      run_dir.CopyTokenizers(self._task, self._logdir)
      start_data.RecordTranscripts(self.params.input, self._logdir)
      self._summary_writer.add_summary(tensorboard.Text('config.gin', self._config_text), 0)
      self._summary_writer.add_summary(tensorboard.Text('params', text), 0)
      self._summary_writer.add_summary(run_dir.ParameterSummary(*table), 0)
      self._summary_writer.add_summary(dashboard.Layout(), 0)

  def Start(self):
    """Trains to the last step or until a signal.

    Returns:
      dict: `train` or the name of an evaluated data set -> its last metrics.

    Raises:
      stop_signals.Interrupted: SIGTERM or SIGINT arrived, and a checkpoint is saved.
      DamagedRecord: A record could not be read; the run can continue without it.
      errors.RunError: A file cannot be written, or too many steps were skipped.
      errors.ConfigError: A stream has no usable example, checkpoints do not fit, or the step to trace is over.
    """
    with example_filter.NamingEmptyStreams(), self._cluster, self._graph.as_default(), self._GetSession() as sess:
      sess.run(self._local_init)
      ready = False
      try:
        step = self._RestoreOrInitialize(sess)
        self._task.input.start_step = step
        self._task.input.Initialize(sess)
        ready = True
        followers = followed.Followed(self._logdir, self._settings, self._loggers, self._rows, not step)
        with stop_signals.Caught(self.RequestStop), followers:
          return self._Loop(sess, step)
      except tf.errors.DataLossError as e:
        step = int(sess.run(py_utils.GetGlobalStep()))
        if ready:
          self._Save(sess, step)
        raise DamagedRecord(f'step {step}: a record cannot be read ({errors.Reason(e)})') from e

  def _RestoreOrInitialize(self, sess):
    """Resumes the run, or initialises it with warm start and fitting; returns the step to continue from."""
    path = self._checkpointer.Restore(sess, force_reinitialize=True)
    step = reader.Checkpoint(path).step if path else 0
    self._trace.CheckStart(step)
    self._saved_step = step if path else None
    self._WriteConfiguration()
    self._rows.DropAfter(step)
    self._skipped.DropAfter(step)
    self._best.Resume(step)
    if path:
      print(f'resumed from {path}', flush=True)
    else:
      self._task.Fit(sess, self._checkpointer.loaded)
      sess.run(self._checkpointer.start_averages)
      kept_decoder.Print(self._task, self.params.input)
    self._best.CheckStart(lambda batches: self._FirstBatches(sess, batches))
    return step

  def _Loop(self, sess, step):
    """Trains from `step`; see Start."""
    task, tp = self._task, self._task_params
    first = step
    seconds = 60 * tp.max_minutes if tp.max_minutes else None
    bar = progress.Progress(tp.max_steps, step, tp.log_interval_steps, seconds)
    window = metrics_log.Window()
    latest = {}
    fetches = [task.train_op, task.eval_metrics, evaluator.CountTensors(task), nonfinite_steps.RowTensors(task)]
    last = step >= tp.max_steps
    try:
      if last:
        bar.Line(f'nothing to train: the run is at step {step}, with max_steps = {tp.max_steps}')
      if step and (last or step % tp.eval_interval_steps == 0):
        # Evaluations that are missing because the run was killed after it saved this checkpoint.
        with window.Paused():
          last = self._EvaluateAll(sess, step, bar, latest, last)
      deadline = time.monotonic() + (seconds or float('inf'))  # Not time.time: the clock may be set.
      while not last:
        step += 1
        measured = self._shares if self._shares and step % tp.gradient_share_interval_steps == 0 else {}
        (_, metrics, counts, rows), shares = self._trace.Run(sess, step, [fetches, measured], bar.Line)
        metrics = {**metrics, **shares}
        if own_names.IsSkipped(metrics):
          bar.Line(self._skipped.Add(step, metrics, rows))
        else:
          window.Add(metrics, counts)
        if step == first + 1:
          bar.Line(f'first training step {time.time() - fm_lingvo.START_TIME:.1f} s after the start')
        bar.Step(step, window.Brief())
        last = (
          step == tp.max_steps or time.monotonic() >= deadline or self._signum is not None or self._skipped.exceeded
        )
        if last or step % tp.summary_interval_steps == 0:
          latest['train'] = self._WriteTrain(step, window.Flush())
        if last or step % tp.save_interval_steps == 0:
          self._Save(sess, step)
        if self._skipped.exceeded:
          raise self._skipped.Error()
        self._EndIfStopped(sess, step)
        if last or step % tp.eval_interval_steps == 0:
          with window.Paused():
            started = time.monotonic()
            ended = self._EvaluateAll(sess, step, bar, latest, last) and not last
            deadline += time.monotonic() - started
          if ended:  # Early.
            last = True
            if step % tp.summary_interval_steps:
              latest['train'] = self._WriteTrain(step, window.Flush())
    finally:
      bar.Close()
    self._FlushSummaries()
    return latest

  def _Save(self, sess, step):
    newest = run_checkpoints.Newest(self._train_dir)
    with errors.Writing(
      f'{self._train_dir}: checkpoint at step {step}; the newest complete one is '
      f'{os.path.basename(newest) if newest else "none"}'
    ):
      self._checkpointer.Save(sess, step)
    self._saved_step = step

  def _EndIfStopped(self, sess, step):
    """Raises Interrupted after a signal, which may have come at any time since the last checkpoint."""
    if self._signum is not None:
      if self._saved_step != step:
        self._Save(sess, step)
      raise stop_signals.Interrupted(self._signum, step)

  def _FlushSummaries(self):
    with errors.Writing(f'{self._train_dir}: event file'):
      self._summary_writer.flush()

  def _WriteTrain(self, step, values):
    values.update(self._task.DerivedMetrics(values))
    values['skipped_steps'] = self._skipped.total
    self._summary_writer.add_summary(tensorboard.Scalars(values), step)
    self._FlushSummaries()
    self._rows.Write('train', step, values)
    return values

  def _FirstBatches(self, sess, batches):
    """Returns the metrics of the data set of best_metric, over its first `batches` batches; None: over all."""
    evaluation = self._evaluations.Evaluator(self._best.dataset)
    return evaluation.Run(evaluation.CopyWeights(self._graph, sess), max_batches=batches)[0]

  def _EvaluateAll(self, sess, step, bar, latest, last):
    """Evaluates what metrics.jsonl lacks, and stores the metrics in `latest`; keeps the best checkpoints.

    An interrupted run does the rest when resumed.

    Returns:
      Whether the run ends: `last`, or the metric of the best checkpoints no longer improves.
    """
    tp = self._task_params
    self._EvaluateMissing(sess, step, bar, latest, tp.eval_datasets)
    why = None
    if self._best.dataset in latest:
      line = self._best.Add(step, latest[self._best.dataset], lambda: self._SavedPrefix(sess, step))
      if line:
        bar.Line(line)
      why = self._best.WhyEnd(step)
    if why and not last:
      self._SavedPrefix(sess, step)
      bar.Line(f'ended early at step {step}: {why}')
    if not last and not why:
      return False
    best = self._best.step
    if best is not None:
      bar.Line(f'best: {self._best.Line()}')
    self._EvaluateMissing(
      sess, step, bar, latest, tp.final_eval_datasets, None if best in (None, step) else self._best.prefix
    )
    return True

  def _EvaluateMissing(self, sess, step, bar, latest, names, checkpoint=None):
    """Evaluates those of `names` that have files and no row yet, at `step` or with the weights of a checkpoint."""
    at = step if checkpoint is None else run_checkpoints.Step(checkpoint)
    rows = self._rows.Rows(at)
    for name in names:
      if name in self._evaluations.names:
        latest[name] = rows.get(name) or self._Evaluate(sess, name, at, bar, checkpoint)
        self._EndIfStopped(sess, step)

  def _Evaluate(self, sess, name, step, bar, checkpoint=None):
    """Evaluates a data set with the weights of `sess`, or of the checkpoint with the prefix `checkpoint`."""
    evaluation = self._evaluations.Evaluator(name)
    read = None if checkpoint is None else reader.Checkpoint(checkpoint)
    weights = evaluation.ReadWeights(read) if read else evaluation.CopyWeights(self._graph, sess)
    values, line = self._evaluations.Run(name, step, weights, should_stop=lambda: self._signum is not None)
    if line:
      bar.Line(line)
    return values

  def _SavedPrefix(self, sess, step):
    """Returns the prefix of the checkpoint at `step`, the present one; saves it if it is not there."""
    if self._saved_step != step:
      self._Save(sess, step)
    return next(p for p in run_checkpoints.Prefixes(self._train_dir) if run_checkpoints.Step(p) == step)

  @property
  def task(self):
    """The base_task.BaseTask, built for training."""
    return self._task

  def RequestStop(self, signum):
    """Ends the run after the step in progress."""
    self._signum = signum
