"""Reads checkpoints and checks whether one fits the variables of a graph.

Warm starts, resumed runs, evaluations and the tools share one question: does the checkpoint hold the needed variables
with the right dtypes and shapes? Match answers it, with one wording for each error.
"""

import collections
import os
import re
from collections.abc import Iterable
from collections.abc import Mapping

import numpy as np
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import run_checkpoints
from fm_lingvo.checkpoints import sizes
from fm_lingvo.checkpoints import weights_file
from fm_lingvo.utils import files
from fm_lingvo.utils import shipped
from fm_lingvo.utils import suggest

# Lingvo calls every weight .../var. Optimizer slots and the step end differently; accumulated gradients do not.
_WEIGHT = re.compile(r'(?!.*/grad_accumulator/).*/var$')
STEP = 'global_step'  # The training step's name in a checkpoint.
AVERAGE = '/ExponentialMovingAverage'  # Suffix of the name of a weight's moving average.
_LOADED_BYTES = 1 << 28  # Per session run of Load; a cluster sends a protocol buffer, which can hold 2 GB.
_SOME = 3  # How many names a message shows.


class Unusable(errors.ConfigError):
  """A checkpoint cannot be read, is of another model, or holds NaN or Inf; the message begins with its prefix."""


class Checkpoint:
  """A checkpoint on disk and the variables in it.

  Attributes:
    prefix: Path prefix of its files.
    weights: dict name -> (dtype name, shape as a tuple) of weights and records, without optimizer slots and the step.
    others: As weights, for all other variables.
    averaged: Whether it has moving averages (task.train.ema_decay) and these are asked for. Read then returns them: the
      run's evaluations used them.
  """

  def __init__(self, path: str, averages: bool = True, adapter: str | None = None):
    """Opens the checkpoint that Resolve finds; only its index is read.

    Args:
      path: See Resolve.
      averages: Whether Read returns moving averages where there are any; else the weights that training uses.
      adapter: File with adapters (weights_file.ADAPTER), whose weights are added or take the place of others, or None.

    Raises:
      errors.ConfigError: `path` has no checkpoint, or a safetensors file cannot be read.
      Unusable: The file is not a TensorFlow checkpoint.
    """
    self.prefix = Resolve(path)
    try:
      if self.prefix.endswith(weights_file.SUFFIX):
        self._reader = weights_file.Reader(self.prefix)
      else:
        self._reader = tf.train.NewCheckpointReader(self.prefix)
      if adapter is not None:
        self._reader = weights_file.WithAdapter(self._reader, weights_file.Reader(adapter))
      shapes = self._reader.get_variable_to_shape_map()
      dtypes = self._reader.get_variable_to_dtype_map()
    except errors.ConfigError:
      raise
    except Exception as e:  # TensorFlow raises several types, RuntimeError among them.
      raise Unusable(f'{self.prefix}: not a readable TensorFlow checkpoint ({errors.Reason(e)})') from e
    self.weights: dict[str, tuple[str, tuple]] = {}
    self.others: dict[str, tuple[str, tuple]] = {}
    for name in sorted(shapes):
      group = self.weights if _WEIGHT.match(name) else self.others
      group[name] = dtypes[name].name, tuple(shapes[name])
    self.averaged = averages and any(name + AVERAGE in self.others for name in self.weights)

  @property
  def step(self) -> int:
    """The training step in the checkpoint, -1 if it has none."""
    return int(self._reader.get_tensor(STEP)) if STEP in self.others else -1

  def Read(self, name: str, averaged: bool = True) -> np.ndarray:
    """Returns the value of a variable, or with `averaged`, unless the checkpoint is read without, its moving average.

    A moving average itself is read as its variable.

    Raises:
      Unusable: The variable's data is damaged.
    """
    if averaged:
      name = name.removesuffix(AVERAGE)
      name += AVERAGE * (self.averaged and name + AVERAGE in self.others)
    try:
      return self._reader.get_tensor(name)
    except Exception as e:
      raise Unusable(f'{self.prefix}: {name} cannot be read ({errors.Reason(e)})') from e

  def Values(self, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Returns dict: name -> value as Read returns it."""
    return {name: self.Read(name) for name in names}

  def Load(self, variables: Mapping[str, tf.Variable], sess: tf.Session) -> None:
    """Sets variables to the values that Read returns.

    Many variables share a session run because TensorFlow optimises the graph again for each new set of operations.

    Args:
      variables: dict: name in the checkpoint -> variable.
      sess: Session of the variables' graph.
    """
    ops: list = []
    feed: dict = {}
    size = 0
    for name, v in variables.items():
      value = self.Read(name)
      if ops and size + value.nbytes > _LOADED_BYTES:
        sess.run(ops, feed)
        ops, feed, size = [], {}, 0
      ops.append(v.initializer)
      feed[v.initializer.inputs[1]] = value
      size += value.nbytes
    sess.run(ops, feed)

  def CheckFinite(self, names: Iterable[str]) -> None:
    """Raises Unusable if one of the variables `names` holds NaN or Inf; moving averages are not checked."""
    wrong = [name for name in sorted(names) if not np.all(np.isfinite(self.Read(name, averaged=False)))]
    if wrong:
      raise Unusable(f'{self.prefix}: NaN or Inf in {suggest.Some(wrong, _SOME)}')


class Match:
  """Compares a checkpoint with the variables that a graph needs.

  Attributes:
    checkpoint: The Checkpoint.
    used: The part of Checkpoint.weights that the graph needs.
    unused: The rest of Checkpoint.weights.
    missing: Sorted names of needed variables that are not in the checkpoint.
    differing: dict: name of a variable whose dtype or shape differs -> a phrase with both.
    advice: What a message about missing variables ends with.
  """

  advice = ''

  def __init__(self, checkpoint: Checkpoint, variables: Mapping[str, tf.Variable]):
    """Compares names, dtypes and shapes.

    Args:
      checkpoint: The Checkpoint.
      variables: dict: name in the checkpoint -> variable that needs its value.
    """
    self.checkpoint = checkpoint
    self._variables = dict(sorted(variables.items()))
    present = {**checkpoint.weights, **checkpoint.others}
    self.used = {n: form for n, form in checkpoint.weights.items() if n in self._variables}
    self.unused = {n: form for n, form in checkpoint.weights.items() if n not in self._variables}
    self.missing = [n for n in self._variables if n not in present]
    self.differing = {
      n: f'{_Described(present[n])} there and {_Described(_Form(v))} in this model'
      for n, v in self._variables.items()
      if n in present and present[n] != _Form(v)
    }

  def CheckFound(self) -> None:
    """Raises Unusable, with their number and some names, if variables are missing."""
    if self.missing:
      raise Unusable(
        f'{self.checkpoint.prefix}: of another model: {len(self.missing)} of the {len(self._variables)} variables that '
        f'are needed are not in it: {suggest.Some(self.missing, _SOME)}; {self.UnusedLine()}{self.advice}'
      )

  def CheckForms(self) -> None:
    """Raises Unusable, with some names, if dtypes or shapes differ."""
    if self.differing:
      names = suggest.Some([f'{name} is {both}' for name, both in self.differing.items()], _SOME)
      there = sizes.There(self.checkpoint.prefix)
      raise Unusable(
        f'{self.checkpoint.prefix}: of another model: {names}; set the same sizes{there}, or take another checkpoint'
      )

  def CheckRecords(self, task) -> None:
    """Raises errors.ConfigError if the checkpoint was made with another front end or tokenizer than a task's."""
    wrong = {*self.missing, *self.differing}
    fixed = {n: v for n, v in self._variables.items() if not v.trainable and n not in wrong}
    task.CheckRestored({v.op.name: self.checkpoint.Read(n) for n, v in fixed.items()}, self.checkpoint.prefix)

  def Check(self, task) -> None:
    """Checks everything before weights are loaded.

    Args:
      task: Task whose CheckRestored compares the records.

    Raises:
      Unusable: Variables are missing or of another dtype or shape.
      errors.ConfigError: The checkpoint was made with another front end or tokenizer.
    """
    # Records first: "another tokenizer" says more than "another vocabulary size", as does another front end's
    # normalisation than "has no frontend/mean".
    self.CheckRecords(task)
    self.CheckFound()
    self.CheckForms()

  def Restore(self, task, sess: tf.Session) -> None:
    """Checks as Check does, then loads all variables."""
    self.Check(task)
    self.checkpoint.Load(self._variables, sess)

  def UnusedLine(self) -> str:
    """Returns `left unused in it: COMPONENTS`."""
    return f'left unused in it: {Summary(self.unused) or "nothing"}'


def _Form(v):
  """(dtype name, shape) of a variable, as Checkpoint.weights has them."""
  return v.dtype.base_dtype.name, tuple(v.shape.as_list())


def _Described(form):
  return f'{form[0]} {list(form[1])}'


def Resolve(path: str) -> str:
  """Finds a checkpoint.

  Args:
    path: Folder of a run, its train folder, a checkpoint's prefix, or a folder of fm-export --format=safetensors, such
      as the one that the project ships.

  Returns:
    The file of the weights in such a folder; the prefix of the run's best checkpoint if it keeps any
    (task.train.best_metric), else of the folder's newest, or `path` itself if it is a prefix.

  Raises:
    errors.ConfigError: `path` does not exist or has no checkpoint.
  """
  path = shipped.Folder(path.rstrip('/'))
  exported = weights_file.In(path) or weights_file.AdapterIn(path)
  if exported:
    return exported
  if tf.io.gfile.exists(path + '.index'):
    return path
  if not tf.io.gfile.isdir(path):
    raise errors.ConfigError(f'{path}: no such run or checkpoint' + suggest.DidYouMean(_Nearest(path)))
  best = run_checkpoints.Best(path)
  if best:
    return best
  for folder in (os.path.join(path, 'train'), path):
    newest = run_checkpoints.Newest(folder)
    if newest:
      return newest
  raise errors.ConfigError(f'{path}: no checkpoint in {os.path.join(path, "train")}; expected a run that has saved one')


def _Nearest(path):
  """Returns the run or checkpoint next to `path` with the most similar name, or None."""
  folder, name = os.path.split(path)
  if not tf.io.gfile.isdir(folder or '.'):
    return None
  found = [entry.rstrip('/') for entry in files.List(folder or '.')]
  found = [re.sub(r'\.index$', '', entry) for entry in found if entry.endswith('.index') or '.' not in entry]
  nearest = suggest.Nearest(name, found)
  return nearest and os.path.join(folder, nearest)


def Component(name: str) -> str:
  """Returns the component that a weight belongs to: encoder, encoder/adapters/NAME, transducer, ..."""
  parts = name.split('/')
  if parts[1:3] == ['encoder', 'adapters']:
    return '/'.join(parts[1:4])
  return parts[1]


def Summary(weights: Mapping[str, tuple]) -> str:
  """Returns one phrase: the components, each with its numbers of variables and values.

  Args:
    weights: Checkpoint.weights or a part of it.
  """
  counts: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
  for name, (_, shape) in weights.items():
    count = counts[Component(name)]
    count[0] += 1
    count[1] += int(np.prod(shape))
  return ', '.join(
    f'{name} ({variables} variables, {values:,} values)' for name, (variables, values) in sorted(counts.items())
  )
