"""Lingvo's Checkpointer and Saver, made safe: nothing damaged is restored, nothing is started anew in silence."""

import os
import time

from google.protobuf import text_format
from lingvo import compat as tf
from lingvo.core import checkpointer
from lingvo.core import saver

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.checkpoints import warm_start

# What TensorFlow raises for files that are not whole or not of this model; a worker that has died is none of these.
_UNREADABLE = (
  tf.errors.DataLossError,
  tf.errors.NotFoundError,
  tf.errors.OutOfRangeError,
  tf.errors.InvalidArgumentError,
  ValueError,
)


class Checkpointer(checkpointer.Checkpointer):
  """Lingvo's, which starts new runs by warm_start.Restore, prints its lines, and checks what it restores.

  A run resumes from its newest checkpoint that can be restored; those that are passed over are printed. If none can be
  restored, the run is refused.

  Attributes:
    loaded: Names of the variables that warm_start.Restore loaded, empty in a resumed run.
    start_averages: List of ops, empty without moving averages, that start these from the variables; run after a warm
      start, and to be run again if the variables change before the first step.
  """

  def _BuildInitFromCheckpointRules(self):
    self._uninitialized_vars.mark_used()  # Else TensorFlow warns where no run needs them.
    self.loaded = set()
    self.start_averages = [StartAverages(model) for model in self._models if model.ema]
    self._restore_fns = [('warm_start.Restore', self._WarmStart)]

  def Restore(self, sess: tf.Session | None = None, force_reinitialize: bool = False) -> str | None:
    """As Lingvo's, which first fetches which variables are initialised: not needed where all of them are set anyway."""
    if not force_reinitialize:
      return super().Restore(sess)
    path = self._RestoreFromLatestCheckpoint(sess)
    if not path:
      sess.run(self._init_op)
      for _, restore in self._restore_fns:
        restore(sess)
    return path

  def RestoreFromPath(self, sess: tf.Session | None = None, checkpoint_path: str = '') -> str:
    """Restores all variables, of a resumed run or for an evaluation.

    Raises:
      reader.Unusable: It cannot be read, is of another model or has NaNs.
      errors.ConfigError: The checkpoint was made with another front end or tokenizer.
    """
    variables = {v.op.name: v for v in self._Variables()}
    checkpoint = reader.Checkpoint(checkpoint_path)
    match = reader.Match(checkpoint, variables)
    match.CheckFound()
    match.CheckForms()
    checkpoint.CheckFinite(name for name, v in variables.items() if v.dtype.base_dtype.is_floating)
    if checkpoint.renamed:  # Lingvo restores variables by the names that they have now.
      checkpoint.Load(variables, sess, averaged=False)
    else:
      try:
        self._saver.Restore(sess, checkpoint_path)  # Match has left no variable uninitialised.
      except _UNREADABLE as e:
        raise reader.Unusable(f'{checkpoint_path}: cannot be read ({errors.Reason(e)})') from e
    for model in self._models:
      for task in model.tasks:
        task.CheckRestored(sess, checkpoint_path)
    return checkpoint_path

  def _Variables(self):
    """List of the variables that checkpoints hold."""
    listed = self._saver._var_list
    return list(listed.values()) if isinstance(listed, dict) else listed

  def _RestoreFromLatestCheckpoint(self, sess=None):
    """Restores the newest good checkpoint; returns its prefix, None in a new run."""
    problems, found = run_checkpoints.Problems(self._train_dir), None
    for prefix in run_checkpoints.Prefixes(self._train_dir):
      try:
        found = self.RestoreFromPath(sess, prefix)
        break
      except reader.Unusable as e:
        problems.append(str(e))
    if problems and not found:
      raise errors.ConfigError(
        f'{"; ".join(problems)}; no other checkpoint to go on from, and a new run is not started in its place: restore '
        'one, or choose another --logdir'
      )
    for problem in problems:
      print(f'passed over: {problem}', flush=True)
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


def StartAverages(model) -> tf.Operation:
  """An op that starts a model's moving averages anew from its variables' values.

  They are created before a new run's variables are loaded from another checkpoint.
  """
  averages = [(model.ema.average(v), v) for v in model.variables_for_ema] if model.ema else []
  return tf.group(*[tf.assign(average, v) for average, v in averages if average is not None])


class Saver(saver.Saver):
  """Lingvo's, which keeps the newest checkpoints by its list of them, made robust where that list is wrong.

  A list that is damaged or misses checkpoints is made anew from what is on disk; files with another name than
  ckpt-STEP, such as a copy that a user made, are left alone. Times in the future, after a clock was set back, count as
  just past: otherwise the newest checkpoint would be taken for the oldest, and removed as soon as it is saved.
  """

  _saving = None  # Prefix of the checkpoint that is on disk, but not in the list yet.

  def _BuildRestore(self):
    """Builds one restore operation for all variables of a device; Lingvo makes one for each variable."""
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


def PatchLingvo() -> None:
  """Makes Lingvo's cluster jobs use this Checkpointer, and all of them this Saver; may be called again."""
  checkpointer.Checkpointer = Checkpointer
  checkpointer.custom_saver.Saver = Saver
