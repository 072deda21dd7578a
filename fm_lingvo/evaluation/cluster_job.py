"""A cluster's evaluation job: evaluates one data set with the newest checkpoints until training has ended.

`--job=evaler_DATASET` runs it as a separate process. It connects to no other job and only shares their --logdir. It
evaluates and decodes as a local run does and writes the same files.
"""

import os
import time

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.evaluation import run_evaluations
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import run_dir

PREFIX = 'evaler_'
_POLL_SECONDS = 2.0


class EvaluationJob:
  """Evaluates one data set of a run that other processes train."""

  def __init__(self, name, params, logdir):
    """Builds the graph.

    Args:
      name: The data set.
      params: Model Params with its input.
      logdir: Folder of the run, whose checkpoints are in train/.
    """
    self._name, self._logdir = name, logdir
    self._last_step = params.task.train.max_steps
    self._evaluations = run_evaluations.Evaluations({name: params}, logdir)
    self._evaluator = self._evaluations.Evaluator(name)
    run_dir.CopyTokenizers(self._evaluator.task, logdir)

  def Run(self, poll_seconds=_POLL_SECONDS):
    """Waits for new checkpoints and evaluates them; returns after the run's last one.

    Only the newest checkpoint is evaluated, and only if metrics.jsonl has no row of this data set for its step. A
    restarted job therefore repeats nothing.

    Args:
      poll_seconds: Seconds between two checks for a new checkpoint.

    Raises:
      errors.ConfigError: A checkpoint has no step in its name, or does not fit the model.
    """
    rows = metrics_log.MetricsLog(self._logdir)
    done = -1
    while done < self._last_step:
      path = run_checkpoints.Newest(os.path.join(self._logdir, 'train'))
      step = run_checkpoints.Step(path) if path else -1
      if path and step < 0:
        raise errors.ConfigError(f'{path}: no step in its name; expected ckpt-STEP')
      if step <= done:
        time.sleep(poll_seconds)
        continue
      if self._name not in rows.Datasets(step):
        _, line = self._evaluations.Run(self._name, step, self._evaluator.ReadWeights(reader.Checkpoint(path)))
        print(line, flush=True)
      done = step
