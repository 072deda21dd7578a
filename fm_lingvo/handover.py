"""Hands the weights of one stage over to the next: all that is asked for, or an error.

A run starts from another run's checkpoint where p.train.init_from_checkpoint_rules
says so. Lingvo only warns when a rule finds nothing; here every variable of the model
that a rule covers must be in the checkpoint, with its shape, and the front end and the
tokenizer that the checkpoint records must be this model's.
"""

import collections
import os
import re

from fm_lingvo import checkpoints
from fm_lingvo import errors
from fm_lingvo import gin_names
from lingvo import compat as tf
from lingvo.core import checkpointer
import numpy as np

# Lingvo calls every weight .../var; optimizers' slots and the step end otherwise, accumulated gradients do not.
_WEIGHT = re.compile(r'(?!.*/grad_accumulator/).*/var$')
STEP = 'global_step'  # The training step's name in a checkpoint.
_AVERAGE = '/ExponentialMovingAverage'  # Ends the name of a weight's moving average.
_LOADED_BYTES = 1 << 28  # In a step of Load; one of a cluster's takes at most 2 GB.
_SOME = 3  # Names that a message shows of many.


def InitRules(init_from, fresh=()):
  """Rules for p.train.init_from_checkpoint_rules: all weights, except new ones.

  The path is looked up when a run starts, not here: params do not depend on the disk.

  Args:
    init_from: Folder of a run, whose newest checkpoint is taken, or a checkpoint's
      prefix; '' gives no rules.
    fresh: Regular expressions, searched for in variables' names, of what is new in
      this stage and keeps its initial value.

  Returns:
    dict in Lingvo's format: {path: (loading rules, ignore rules)}.
  """
  if not init_from:
    return {}
  # Lingvo matches rules at the start of a name.
  return {init_from: ([('(.*/var):0$', '%s')], [f'.*(?:{f})' for f in fresh])}


def Resolve(path):
  """The prefix of a checkpoint.

  Args:
    path: Folder of a run, its train folder, or a checkpoint's prefix.

  Returns:
    The newest checkpoint's prefix, or `path` itself.

  Raises:
    errors.ConfigError: There is none.
  """
  path = path.rstrip('/')
  if tf.io.gfile.exists(path + '.index'):
    return path
  if not tf.io.gfile.isdir(path):
    raise errors.ConfigError(
        f'{path}: no such run or checkpoint' + gin_names.DidYouMean(_Nearest(path)))
  for folder in (os.path.join(path, 'train'), path):
    newest = checkpoints.Newest(folder)
    if newest:
      return newest
  raise errors.ConfigError(
      f'{path}: no checkpoint in {os.path.join(path, "train")}; expected a run '
      'that has saved one')


def _Nearest(path):
  """A run or checkpoint beside `path` whose name is like its own, or None."""
  folder, name = os.path.split(path)
  if not tf.io.gfile.isdir(folder or '.'):
    return None
  found = [entry.rstrip('/') for entry in tf.io.gfile.listdir(folder or '.')]
  found = [re.sub(r'\.index$', '', entry) for entry in found
           if entry.endswith('.index') or '.' not in entry]
  nearest = gin_names.Nearest(name, found)
  return nearest and os.path.join(folder, nearest)


class Checkpoint:
  """What a checkpoint holds.

  Attributes:
    prefix: Its path.
    weights: dict name -> (dtype name, shape as a tuple), of weights and records,
      without optimizers' slots and the step.
    others: As weights, of the rest.
    averaged: Whether the run kept moving averages (task.train.ema_decay): Read gives
      these, which are what its evaluations used.
  """

  def __init__(self, path):
    """Opens the checkpoint that Resolve finds."""
    self.prefix = Resolve(path)
    try:
      self._reader = tf.train.NewCheckpointReader(self.prefix)
      shapes = self._reader.get_variable_to_shape_map()
      dtypes = self._reader.get_variable_to_dtype_map()
    except Exception as e:  # TensorFlow raises several kinds, some of them plain.
      raise errors.ConfigError(
          f'{self.prefix}: not a readable TensorFlow checkpoint '
          f'({str(e).splitlines()[0][:120]})') from e
    self.weights, self.others = {}, {}
    for name, shape in sorted(shapes.items()):
      to = self.weights if _WEIGHT.match(name) else self.others
      to[name] = dtypes[name].name, tuple(shape)
    self.averaged = any(name + _AVERAGE in self.others for name in self.weights)

  @property
  def step(self):
    """The training step that it holds, -1 if it has none."""
    return int(self._reader.get_tensor(STEP)) if STEP in self.others else -1

  def Read(self, name):
    """The value of a variable, or its moving average if there is one: a NumPy array."""
    if name + _AVERAGE in self.others:
      name += _AVERAGE
    try:
      return self._reader.get_tensor(name)
    except Exception as e:
      raise errors.ConfigError(f'{self.prefix}: {name} cannot be read '
                               f'({str(e).splitlines()[0][:120]})') from e

  def Load(self, variables, sess):
    """Gives variables, a dict name in the checkpoint -> variable, what Read returns."""
    # Many in a step: each step has the graph looked through, which took seconds for the variables one by one.
    ops, feed, size = [], {}, 0
    for name, v in variables.items():
      value = self.Read(name)
      if ops and size + value.nbytes > _LOADED_BYTES:
        sess.run(ops, feed)
        ops, feed, size = [], {}, 0
      ops.append(v.initializer)
      feed[v.initializer.inputs[1]] = value
      size += value.nbytes
    sess.run(ops, feed)


def Component(name):
  """Component of a weight's name: encoder, encoder/adapters/NAME, transducer, ..."""
  parts = name.split('/')
  if parts[1:3] == ['encoder', 'adapters']:
    return '/'.join(parts[1:4])
  return parts[1]


def Summary(weights):
  """One phrase: components, each with its variables and values.

  Args:
    weights: As Checkpoint.weights, or a part of it.
  """
  counts = collections.defaultdict(lambda: [0, 0])
  for name, (_, shape) in weights.items():
    count = counts[Component(name)]
    count[0] += 1
    count[1] += int(np.prod(shape))
  return ', '.join(f'{name} ({variables} variables, {values:,} values)'
                   for name, (variables, values) in sorted(counts.items()))


def Sources(train_params):
  """List of the runs and checkpoints that a new run starts from, as task.train of a task's Params says."""
  paths = list(train_params.init_from_checkpoint_rules or {})
  if train_params.init_from_checkpoint_override is not None:
    paths = [train_params.init_from_checkpoint_override]  # '' means none.
  return list(filter(None, paths))


def CheckSources(train_params):
  """Raises ConfigError if a run could not start for want of a checkpoint.

  To be called for new runs before their graph is built, so that they end at once.

  Args:
    train_params: task.train of a task's Params.
  """
  paths = Sources(train_params)
  if train_params.needs_init_from and not paths:
    raise errors.ConfigError(
        'task.train.init_from_checkpoint_rules = {}: expected the run that this stage starts from, as the knob init_from; '
        'asr.FromScratch trains from random weights')
  for path in paths:
    Checkpoint(path)


def Restore(task, sess):
  """Loads what the rules of a task's params ask for.

  To be called in new runs, not in resumed ones, after the variables' initialisation.

  Args:
    task: A task with CheckRestored, in whose graph this runs. What it calls weights
      and records are loaded; optimizers' slots and the step are not.
    sess: Session that holds its initialised variables.

  Returns:
    (lines, loaded): lines to print, two for each checkpoint; names of the loaded
    variables.

  Raises:
    errors.ConfigError: Variables are missing or differ in shape, the checkpoint
      cannot be read, or was made with another front end or tokenizer.
  """
  lines, loaded = [], set()
  for path, rules in (task.params.train.init_from_checkpoint_rules or {}).items():
    if not path:  # Where Lingvo has put init_from_checkpoint_override = ''.
      continue
    checkpoint = Checkpoint(path)
    wanted = _Wanted(task.vars.Flatten(), *rules)
    twice = [v.op.name for v, _ in wanted if v.op.name in loaded]
    if twice:
      raise errors.ConfigError(
          f'task.train.init_from_checkpoint_rules: {gin_names.Some(twice, _SOME)} by '
          'the rules of two checkpoints; expected one for each variable')
    names = {name for _, name in wanted}
    used = {n: w for n, w in checkpoint.weights.items() if n in names}
    left = {n: w for n, w in checkpoint.weights.items() if n not in names}
    left = f'left unused in it: {Summary(left) or "nothing"}'
    _CheckFound(checkpoint, wanted, left)
    # Records first: another tokenizer says more than another size of the vocabulary.
    checkpoint.Load({name: v for v, name in wanted if not v.trainable
                     and _Form(v) == checkpoint.weights[name]}, sess)
    task.CheckRestored(sess, checkpoint.prefix)
    _CheckForms(checkpoint, wanted)
    checkpoint.Load({name: v for v, name in wanted if v.trainable}, sess)
    loaded.update(v.op.name for v, _ in wanted)
    averaged = ', moving averages' if checkpoint.averaged else ''
    lines += [f'started from {checkpoint.prefix}{averaged}: '
              f'{Summary(used) or "nothing"}', left]
  return lines, loaded


def _Wanted(variables, loading_rules, ignore_rules):
  """List of (variable, its name in the checkpoint) of those that the rules cover."""
  wanted = []
  for v in variables:
    for pattern, name_format in loading_rules:
      match = re.match(pattern, v.name)
      if match and not any(re.match(rule, v.name) for rule in ignore_rules):
        wanted.append((v, re.sub(':0$', '', name_format % match.groups())))
        break
  return sorted(wanted, key=lambda pair: pair[1])


def _CheckFound(checkpoint, wanted, left):
  """Raises ConfigError for variables that are not in the checkpoint."""
  missing = [name for _, name in wanted if name not in checkpoint.weights]
  if missing:
    raise errors.ConfigError(
        f'{checkpoint.prefix}: {len(missing)} of the {len(wanted)} variables that '
        f'this stage starts from are not in it: {gin_names.Some(missing, _SOME)}; '
        f'{left}')


def _CheckForms(checkpoint, wanted):
  """Raises ConfigError for variables of another dtype or shape."""
  differing = []
  for v, name in wanted:
    here, there = _Form(v), checkpoint.weights[name]
    if here != there:
      differing.append(f'{name} is {there[0]} {list(there[1])} there and {here[0]} '
                       f'{list(here[1])} in this model')
  if differing:
    raise errors.ConfigError(
        f'{checkpoint.prefix}: {gin_names.Some(differing, _SOME)}; set the same '
        'sizes, or start from another checkpoint')


def _Form(v):
  """(dtype name, shape) of a variable, as Checkpoint.weights has them."""
  return v.dtype.base_dtype.name, tuple(v.shape.as_list())


def StartAverages(model):
  """An op that starts a model's moving averages anew from its variables' values.

  They are created before a new run's variables are loaded from another checkpoint.
  """
  averages = [(model.ema.average(v), v) for v in model.variables_for_ema
              ] if model.ema else []
  return tf.group(*[tf.assign(average, v) for average, v in averages
                    if average is not None])


class Checkpointer(checkpointer.Checkpointer):
  """Lingvo's, which starts new runs by Restore, prints its lines, and checks records.

  A run resumes from its newest checkpoint that can be restored; what is passed over is
  printed. If there are only others, the run is refused: it never starts anew in silence.

  Attributes:
    loaded: Names of the variables that Restore loaded, empty in a resumed run.
    start_averages: Ops that start moving averages from the variables, none where there are none; run after Restore
      in new runs, and to be run again if the variables change before the first step.
  """

  def _BuildInitFromCheckpointRules(self):
    self.loaded = set()
    self.start_averages = [StartAverages(model) for model in self._models if model.ema]
    self._restore_fns = [('handover.Restore', self._RestoreAll)]
    self._uninitialized_vars.mark_used()  # Restore may not need them, of which TensorFlow would warn.

  def Restore(self, sess=None, force_reinitialize=False):
    """As Lingvo's, which first asks which variables have a value; where all are given one, nobody needs to know."""
    if not force_reinitialize:
      return super().Restore(sess)
    path = self._RestoreFromLatestCheckpoint(sess)
    if not path:
      sess.run(self._init_op)
      for _, restore in self._restore_fns:
        restore(sess)
    return path

  def RestoreFromPath(self, sess=None, checkpoint_path=None):
    """Restores all variables, of a resumed run or for an evaluation.

    Raises:
      checkpoints.Unusable: It cannot be read, is of another model or has NaNs.
      errors.ConfigError: The checkpoint was made with another front end or tokenizer.
    """
    variables = {v.op.name: v for v in self._Variables()}
    checkpoints.CheckFits(checkpoint_path, variables)
    try:
      path = super().RestoreFromPath(sess, checkpoint_path)
    except checkpoints.UNREADABLE as e:
      raise checkpoints.Unusable(f'cannot be read ({errors.Reason(e)})') from e
    for model in self._models:
      for task in model.tasks:
        task.CheckRestored(sess, path)
    checkpoints.CheckFinite(checkpoint_path, variables)
    return path

  def _Variables(self):
    """List of the variables that checkpoints hold."""
    listed = self._saver._var_list  # pylint: disable=protected-access
    return list(listed.values()) if isinstance(listed, dict) else listed

  def _RestoreFromLatestCheckpoint(self, sess=None):
    """Restores the newest good checkpoint; returns its prefix, None in a new run."""
    problems, found = checkpoints.Problems(self._train_dir), None
    for prefix in checkpoints.Prefixes(self._train_dir):
      try:
        found = self.RestoreFromPath(sess, prefix)
        break
      except checkpoints.Unusable as e:
        problems.append(f'{prefix}: {e}')
    if problems and not found:
      raise errors.ConfigError(
          f'{"; ".join(problems)}; no other checkpoint to go on from, and a new run is not started in its place: restore '
          'one, or choose another --logdir')
    for problem in problems:
      print(f'passed over: {problem}', flush=True)
    if found:
      self._prev_ckpt_step = checkpoints.Step(found)
    return found

  def _RestoreAll(self, sess):
    for model in self._models:
      for task in model.tasks:
        lines, loaded = Restore(task, sess)
        self.loaded |= loaded
        for line in lines:
          print(line, flush=True)
    sess.run(self.start_averages)


def PatchLingvo():
  """Makes Lingvo's cluster jobs use this Checkpointer, and all of them checkpoints.Saver; may be called again."""
  checkpointer.Checkpointer = Checkpointer
  checkpointer.custom_saver.Saver = checkpoints.Saver
