"""Lingvo's Checkpointer and Saver, made safe: no damaged checkpoint is restored, no run silently starts over."""

import os
import time
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping

from google.protobuf import text_format
from lingvo import compat as tf
from lingvo.core import checkpointer
from lingvo.core import saver

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.checkpoints import training_state
from fm_lingvo.checkpoints import warm_start

# What TensorFlow raises for incomplete files or another model's. Errors of a dead worker are not among them.
_UNREADABLE = (
  tf.errors.DataLossError,
  tf.errors.NotFoundError,
  tf.errors.OutOfRangeError,
  tf.errors.InvalidArgumentError,
  ValueError,
)


class Checkpointer(checkpointer.Checkpointer):
  """Lingvo's Checkpointer with warm starts by warm_start.Restore and a check of every checkpoint that it restores.

  A run resumes from the newest checkpoint that can be restored and prints which newer ones it skipped. If the run has
  checkpoints but none can be restored, it is refused.

  Attributes:
    loaded: Names of the variables that warm_start.Restore loaded; empty in a resumed run.
    start_averages: List of ops that set the moving averages to the variables' values; empty without moving averages.
      They run after a warm start and must run again if the variables change before the first step.
  """

  def _BuildInitFromCheckpointRules(self):
    self._uninitialized_vars.mark_used()  # TensorFlow would warn about the unused op.
    self.loaded = set()
    self.start_averages = [StartAverages(model) for model in self._models if model.ema]
    self._restore_fns = [('warm_start.Restore', self._WarmStart)]

  def Restore(self, sess: tf.Session | None = None, force_reinitialize: bool = False) -> str | None:
    """As in the base class, but with `force_reinitialize` without its fetch of which variables are initialised.

    All variables are set in that case, so the fetch would only cost time.
    """
    if not force_reinitialize:
      return super().Restore(sess)
    path = self._RestoreFromLatestCheckpoint(sess)
    if not path:
      sess.run(self._init_op)
      for _, restore in self._restore_fns:
        restore(sess)
    return path

  def RestoreFromPath(self, sess: tf.Session | None = None, checkpoint_path: str = '') -> str:
    """Restores all variables, in a resumed run or for an evaluation.

    Returns:
      The checkpoint's prefix.

    Raises:
      reader.Unusable: The checkpoint cannot be read, is of another model, or holds NaN or Inf.
      errors.ConfigError: The checkpoint was made with another front end or tokenizer.
    """
    variables = {v.op.name: v for v in self._Variables()}
    checkpoint = reader.Checkpoint(checkpoint_path)
    CheckResumable(checkpoint, variables, [task for model in self._models for task in model.tasks])
    try:
      self._saver.Restore(sess, checkpoint_path)  # Sets every variable: Match has found them all.
    except _UNREADABLE as e:
      raise reader.Unusable(f'{checkpoint_path}: cannot be read ({errors.Reason(e)})') from e
    return checkpoint_path

  def _Variables(self):
    """List of the variables that checkpoints hold."""
    listed = self._saver._var_list
    return list(listed.values()) if isinstance(listed, dict) else listed

  def _RestoreFromLatestCheckpoint(self, sess=None):
    """Restores the newest usable checkpoint; returns its prefix, or None in a new run."""
    found = FirstUsable(self._train_dir, lambda prefix: self.RestoreFromPath(sess, prefix))
    if found:
      self._prev_ckpt_step = run_checkpoints.Step(found)
    return found

  def _WarmStart(self, sess):
    for model in self._models:
      for task in model.tasks:
        lines, loaded = warm_start.Restore(task, sess)
        self.loaded |= loaded
        for line in lines:
          print(line, flush=True)
    sess.run(self.start_averages)


def FirstUsable(train_dir: str, use: Callable[[str], object]) -> str | None:
  """Tries a run's checkpoints, the newest first, and prints which were skipped.

  Args:
    train_dir: The run's train folder.
    use: Called with the prefix of a checkpoint; raises reader.Unusable to try the next.

  Returns:
    The prefix of the first that `use` took; None if the run has no checkpoint yet.

  Raises:
    errors.ConfigError: The run has checkpoints, but none can be used.
  """
  problems, found = run_checkpoints.Problems(train_dir), None
  for prefix in run_checkpoints.Prefixes(train_dir):
    try:
      use(prefix)
      found = prefix
      break
    except reader.Unusable as e:
      problems.append(str(e))
  if problems and not found:
    raise errors.ConfigError(
      f'{"; ".join(problems)}; no other checkpoint to resume from, and a new run is not started in this folder: '
      'restore a checkpoint, or choose another --logdir'
    )
  for problem in problems:
    print(f'skipped: {problem}', flush=True)
  return found


def CheckResumable(checkpoint: reader.Checkpoint, variables: Mapping[str, tf.Variable], tasks: Iterable) -> None:
  """Checks whether a run can resume from a checkpoint.

  Args:
    checkpoint: Of the run.
    variables: dict: name -> variable, or a declaration with its dtype and shape.
    tasks: The tasks with these variables.

  Raises:
    reader.Unusable: The checkpoint cannot be read, is of another model, was saved without what a setting adds to the
      training graph, or holds NaN or Inf.
    errors.ConfigError: It was made with another front end or tokenizer.
  """
  tasks = list(tasks)
  match = reader.Match(checkpoint, variables)
  training_state.CheckMissing(checkpoint, match.missing, tasks)
  match.CheckFound()
  match.CheckForms()
  checkpoint.CheckFinite(name for name, v in variables.items() if v.dtype.base_dtype.is_floating)
  for task in tasks:
    match.CheckRecords(task)


def StartAverages(model) -> tf.Operation:
  """Returns an op that sets a model's moving averages to its variables' values.

  TensorFlow initialises them before a warm start loads the variables.
  """
  averages = [(model.ema.average(v), v) for v in model.variables_for_ema] if model.ema else []
  return tf.group(*[tf.assign(average, v) for average, v in averages if average is not None])


class Saver(saver.Saver):
  """Lingvo's Saver, made robust against a wrong list of checkpoints, which decides which of them it deletes.

  A list that is damaged or incomplete is rebuilt from the files on disk. Files with names other than ckpt-STEP, such as
  a user's copy, are left alone. Timestamps in the future, which appear after a clock was set back, are moved into the
  past: otherwise the newest checkpoint would count as the oldest and be deleted as soon as it is saved.
  """

  _saving = None  # Prefix of the checkpoint that is on disk but not yet in the list.

  def _AddShardedSaveOps(self, variables, checkpoint_prefix, var_key_fn):
    return super()._AddShardedSaveOps([_Readable(v) for v in variables], checkpoint_prefix, var_key_fn)

  def _BuildRestore(self):
    """Builds one restore operation per device; Lingvo builds one per variable."""
    per_device, assigned = {}, []
    for var in self._vars:
      per_device.setdefault(var.device, []).append(var)
    with self._var_graph.as_default():
      for device, variables in per_device.items():
        with self._var_graph.device(device):
          values = tf.raw_ops.RestoreV2(
            prefix=self._restore_prefix_ph,
            tensor_names=[var.op.name for var in variables],
            shape_and_slices=[''] * len(variables),
            dtypes=[var.dtype for var in variables],
          )
          assigned += [var.assign(value, read_value=False) for var, value in zip(variables, values)]
      self._restore_op = tf.group(*assigned)

  def _FinalizeSave(self, global_step, prefix):
    """As in the base class, but without the graph in PREFIX.meta.

    Nothing reads it. It was larger than a small model's weights, and if it alone did not fit on the disk, the whole
    checkpoint before it was not named as the newest one.
    """
    self._DoSanityCheck(prefix)
    self._UpdateState(prefix)
    return global_step, prefix

  def _UpdateState(self, prefix):
    self._saving = prefix
    super()._UpdateState(prefix)

  def _GetState(self):
    try:
      state = super()._GetState()
    except (text_format.ParseError, UnicodeDecodeError):
      state = saver.CheckpointState()
    paths = run_checkpoints.Numbered(self._logdir, but=self._saving)
    known = dict(zip(map(os.path.basename, state.all_model_checkpoint_paths), state.all_model_checkpoint_timestamps))
    now = time.time()
    state.all_model_checkpoint_paths[:] = paths
    state.all_model_checkpoint_timestamps[:] = [
      min(known.get(os.path.basename(p)) or run_checkpoints.SavedAt(p), now - (len(paths) - i))
      for i, p in enumerate(paths)
    ]
    return state


class _Readable:
  """A variable whose value is the read operation that it has; Lingvo's Saver builds two more for each variable."""

  def __init__(self, variable):
    self.name, self.device = variable.name, variable.device
    self._value = variable.graph.as_graph_element(variable)

  def read_value(self):
    return self._value


def PatchLingvo() -> None:
  """Makes Lingvo's cluster jobs use this Checkpointer and every job this Saver; repeated calls are harmless."""
  checkpointer.Checkpointer = Checkpointer
  checkpointer.custom_saver.Saver = Saver
