"""A run's checkpoints on disk: which there are, what is wrong with one, in which order a resumed run tries them.

A checkpoint is the files PREFIX.index and PREFIX.data-*; the file `checkpoint` beside them names the newest. TensorFlow keeps
a checksum of each tensor, so whatever reads one learns of flipped bits.
"""

import os
import re
import shutil
import time

from fm_lingvo import errors
from fm_lingvo import gin_names
from google.protobuf import text_format
from lingvo import compat as tf
from lingvo.core import saver
import numpy as np

# What TensorFlow raises for files that are not whole or not of this model; a worker that has died is none of these.
UNREADABLE = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.OutOfRangeError, tf.errors.InvalidArgumentError,
              ValueError)
_STEP = re.compile(r'ckpt-(\d+)$')


class Unusable(errors.ConfigError):
  """A checkpoint that cannot be restored; the message says why, without its name."""


def Named(folder):
  """The prefix that the file `checkpoint` of a train folder names, whether it exists or not; None if there is no name.

  It is one of this folder, wherever the folder was when the file was written.
  """
  try:
    state = tf.train.get_checkpoint_state(folder)
  except ValueError:  # An empty file.
    return None
  if not state or not state.model_checkpoint_path:
    return None
  return os.path.join(folder, os.path.basename(state.model_checkpoint_path))


def Step(prefix):
  """Step in the name of a checkpoint, -1 if there is none."""
  found = _STEP.search(prefix)
  return int(found.group(1)) if found else -1


def Exists(prefix):
  """Whether a checkpoint has an index; its data may be missing."""
  return tf.io.gfile.exists(prefix + '.index')


def Prefixes(folder):
  """Checkpoints of a train folder, the one to try first first: the named one, then all others, the newest first."""
  found = [path[:-len('.index')] for path in tf.io.gfile.glob(os.path.join(folder, 'ckpt-*.index'))]
  found.sort(key=Step, reverse=True)
  named = Named(folder)
  first = [named] if named and Exists(named) else []
  same = {os.path.abspath(prefix) for prefix in first}
  return first + [prefix for prefix in found if os.path.abspath(prefix) not in same]


def Newest(folder):
  """The checkpoint of a train folder to try first, or None."""
  return next(iter(Prefixes(folder)), None)


def Problems(folder):
  """One line for each sign, besides unreadable checkpoints, that the folder is not as a trainer left it."""
  lines = []
  state = os.path.join(folder, 'checkpoint')
  named = Named(folder)
  if tf.io.gfile.exists(state) and not named:
    lines.append(f'{state}: names no checkpoint, so it is not as TensorFlow writes it')
  elif named and not Exists(named):
    lines.append(f'{state}: names {os.path.basename(named)}, which is not there')
  stems = {re.sub(r'\.data-\d+-of-\d+$', '', path) for path in tf.io.gfile.glob(os.path.join(folder, 'ckpt-*.data-*'))}
  lines += [f'{stem}: has data but no index' for stem in sorted(stems) if not Exists(stem) and stem != named]
  return lines


def CheckFits(prefix, variables):
  """Raises Unusable unless a checkpoint can be read and has a value of the right shape for each variable.

  Args:
    prefix: Of its files; only the index is read.
    variables: dict name -> variable.
  """
  try:
    shapes = tf.train.NewCheckpointReader(prefix).get_variable_to_shape_map()
  except Exception as e:  # TensorFlow raises several kinds, some of them plain.
    raise Unusable(f'cannot be read ({errors.Reason(e)})') from e
  wrong = [f'{name} is {shapes[name]} there and {v.shape.as_list()} here' if name in shapes else f'{name} is not in it'
           for name, v in sorted(variables.items()) if shapes.get(name) != v.shape.as_list()]
  if wrong:
    raise Unusable(f'of another model: {gin_names.Some(wrong, 3)}')


def CheckFinite(prefix, variables):
  """Raises Unusable if a checkpoint has a NaN or an Inf in one of the variables.

  It reads the file, one value at a time. To fetch what was restored would take a step of the session for each value, in which
  TensorFlow optimises the whole graph, or all values in memory at once.

  Args:
    prefix: Of a checkpoint that fits, see CheckFits.
    variables: dict name -> variable.
  """
  reader = tf.train.NewCheckpointReader(prefix)
  wrong = sorted(name for name, v in variables.items()
                 if v.dtype.base_dtype.is_floating and not np.all(np.isfinite(reader.get_tensor(name))))
  if wrong:
    raise Unusable(f'NaN or Inf in {gin_names.Some(wrong, 3)}')


def RemoveUnfinished(folder):
  """Removes what a process that died while saving left; to be called by the only writer of the folder."""
  if '://' in folder or not os.path.isdir(folder):
    return
  for entry in os.listdir(folder):
    if re.fullmatch(r'ckpt-\d+_temp', entry):
      shutil.rmtree(os.path.join(folder, entry))
    elif re.fullmatch(r'ckpt-\d+\.index\.tempstate\d+', entry):
      os.remove(os.path.join(folder, entry))


class Saver(saver.Saver):
  """Lingvo's, which keeps the newest checkpoints by its list of them, made robust where that list is wrong.

  A list that is damaged or misses checkpoints is made anew from what is on disk; files with another name than ckpt-STEP, such as a
  copy of somebody's, are left alone. Times in the future, after a clock was set
  back, count as just past: the newest checkpoint would be taken for the oldest otherwise, and removed as soon as it is saved.
  """

  _saving = None  # Prefix of the checkpoint that is on disk, but not in the list yet.

  def _BuildRestore(self):
    """Builds the restoring of all variables of a device by one operation; Lingvo makes one for each variable."""
    per_device, assigned = {}, []
    for var in self._vars:
      per_device.setdefault(var.device, []).append(var)
    with self._var_graph.as_default():
      for device, variables in per_device.items():
        with self._var_graph.device(device):
          values = tf.raw_ops.RestoreV2(
              prefix=self._restore_prefix_ph, tensor_names=[var.op.name for var in variables],
              shape_and_slices=[''] * len(variables), dtypes=[var.dtype for var in variables])
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
    times = dict(zip(map(os.path.basename, state.all_model_checkpoint_paths), state.all_model_checkpoint_timestamps))
    prefixes = sorted((p for p in Prefixes(self._logdir) if Step(p) not in (-1, Step(self._saving or ''))), key=Step)
    now = time.time()
    state.all_model_checkpoint_paths[:] = prefixes
    state.all_model_checkpoint_timestamps[:] = [
        min(times.get(os.path.basename(p)) or _SavedAt(p), now - (len(prefixes) - i)) for i, p in enumerate(prefixes)]
    return state


def _SavedAt(prefix):
  return tf.io.gfile.stat(prefix + '.index').mtime_nsec / 1e9
