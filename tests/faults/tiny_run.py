"""The smallest training run that has every part, and what it leaves in its folder."""

import os
import pathlib
import re
import shutil

import numpy as np
from lingvo import compat as tf

from fm_lingvo.data import dataset
from fm_lingvo.run_files import metrics_log
from params import asr
from tests import tiny_data
from tests.faults import processes

DATA = '.data-00000-of-00001'  # Suffix of a checkpoint's values.
_KNOBS = {'max_steps': 6, 'summary_interval_steps': 2, 'save_interval_steps': 2, 'eval_interval_steps': 4}


def WriteData(data_dir):
  """Writes data_dir/human: two shards of 12 training utterances and one of 4 held-out ones."""
  for split, shard, shards, utterances in (('train', 0, 2, 12), ('train', 1, 2, 12), ('dev', 0, 1, 4)):
    path = os.path.join(data_dir, 'human', dataset.ShardName(split, shard, shards))
    tiny_data.Write(path, utterances, prefix=f'{split}{shard}')


def ReadCheckpoint(prefix):
  """dict: name -> value of everything in a checkpoint."""
  reader = tf.train.load_checkpoint(prefix)
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


class TinyRun:
  """A run in `folder`, trained by processes that work in `work_dir`."""

  def __init__(self, work_dir, name, data_dir=None):
    """Creates it; the trainer makes the folder.

    Args:
      work_dir: Where the run's folder is, and the output of its processes.
      name: Of the folder; characters other than letters, digits and slashes become underscores.
      data_dir: Its data; default: a folder that all runs of `work_dir` share. WriteData writes it unless it exists.
    """
    self.work_dir, self.folder = work_dir, os.path.join(work_dir, re.sub(r'[^\w/]', '_', name))
    self.data_dir = data_dir or os.path.join(work_dir, 'data')
    if not os.path.exists(self.data_dir):
      WriteData(self.data_dir)

  def Command(self, *bindings, model='BestRqPretrain', evaluated=(), deterministic=False, **knobs):
    """argv of a trainer.

    Args:
      *bindings: Gin bindings beside those of a tiny model.
      model: Of params/asr.py.
      evaluated: Names of data sets.
      deterministic: Whether two such runs have equal weights, bit by bit.
      **knobs: Of the model.
    """
    tiny = tiny_data.Bindings(getattr(asr, model))
    train = ['task.train.log_interval_steps = 1', f'task.train.eval_datasets = {list(evaluated)}']
    knobs = {**_KNOBS, 'data_dir': self.data_dir, **knobs}
    own = [f'{model}.{name} = {value!r}' for name, value in knobs.items()]
    flags = [f'--gin_bindings={binding}' for binding in (*tiny, *train, *own, *bindings)]
    flags += ['--deterministic'] if deterministic else []
    return ['trainer', f'--model=asr.{model}', f'--logdir={self.folder}', *flags]

  def Start(self, *bindings, patch=None, **options):
    """Starts the trainer; returns processes.Started."""
    return processes.Started(self.Command(*bindings, **options), self.work_dir, patch)

  def Train(self, *bindings, patch=None, seconds=processes.TIMEOUT_SECONDS, **options):
    """Runs the trainer to its end; returns processes.Done."""
    return self.Start(*bindings, patch=patch, **options).Wait(seconds)

  def TrainAsCommand(self, *bindings, env=None, prefix=(), **options):
    """Runs the trainer to its end in a new interpreter, as processes.Command; returns processes.Done."""
    argv = self.Command(*bindings, **options)[1:]
    return processes.Command('fm_lingvo.trainer', argv, self.work_dir, env, prefix, seconds=600)

  def Steps(self):
    """Steps of the checkpoints that have an index, ascending."""
    return sorted(int(path.stem.partition('-')[2]) for path in self._Files('ckpt-*.index'))

  def Prefix(self, step):
    """Prefix of a checkpoint's files."""
    return os.path.join(self.folder, 'train', f'ckpt-{step:08d}')

  def IsFinite(self, step):
    """Whether every weight of a checkpoint is."""
    return all(np.all(np.isfinite(v)) for v in ReadCheckpoint(self.Prefix(step)).values() if v.dtype.kind == 'f')

  def Differing(self, step, other, other_step=None):
    """Names of what is not the same, bit by bit, in a checkpoint of another run."""
    a = ReadCheckpoint(self.Prefix(step))
    b = ReadCheckpoint(other.Prefix(step if other_step is None else other_step))
    return [name for name in sorted({*a, *b}) if name not in a or name not in b or not np.array_equal(a[name], b[name])]

  def Metrics(self):
    """Rows of metrics.jsonl."""
    return metrics_log.ReadMetrics(os.path.join(self.folder, 'metrics.jsonl'))

  def State(self):
    """dict: file -> content of the checkpoints and the configuration."""
    files = [pathlib.Path(self.folder, 'config.gin')]
    for pattern in ('ckpt*', 'checkpoint*', 'trainer_params*'):
      files += [path for path in self._Files(pattern) if path.is_file()]
    return {path: path.read_bytes() for path in files}

  def Copy(self, name):
    """Copies the run's folder, its file `checkpoint` naming the copies; returns the copy's TinyRun."""
    copy = TinyRun(self.work_dir, name, self.data_dir)
    shutil.copytree(self.folder, copy.folder)
    for state in copy._Files('checkpoint'):
      state.write_text(state.read_text().replace(self.folder, copy.folder))
    return copy

  def _Files(self, pattern):
    return pathlib.Path(self.folder, 'train').glob(pattern)
