"""The smallest training run that has every part, and what it leaves in its folder."""

import glob
import os
import re
import shutil

from fm_lingvo import dataset
from fm_lingvo import metrics_log
from lingvo import compat as tf
import numpy as np
from params import asr
from tests import tiny_data
from tests.faults import processes

_KNOBS = {'max_steps': 6, 'summary_interval_steps': 2, 'save_interval_steps': 2, 'eval_interval_steps': 4}


def WriteData(data_dir):
  """Writes data_dir/human: two shards of 12 training utterances and one of 4 held-out ones."""
  for split, shard, shards, utterances in (('train', 0, 2, 12), ('train', 1, 2, 12), ('dev', 0, 1, 4)):
    tiny_data.Write(os.path.join(data_dir, 'human', dataset.ShardName(split, shard, shards)), utterances,
                    prefix=f'{split}{shard}')


class TinyRun:
  """A run in `folder`, trained by processes that work in `work_dir`."""

  def __init__(self, work_dir, name, data_dir=None):
    """Creates it; the trainer makes the folder.

    Args:
      work_dir: Where the run's folder is, and the output of its processes.
      name: Of the folder; what is no letter or slash becomes an underscore.
      data_dir: Its data; default: WriteData's, which all runs of `work_dir` share.
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
    knobs = {**_KNOBS, 'data_dir': self.data_dir, **knobs}
    bindings = [*tiny_data.Bindings(getattr(asr, model)), 'task.train.log_interval_steps = 1',
                f'task.train.eval_datasets = {list(evaluated)}',
                *(f'{model}.{name} = {value!r}' for name, value in knobs.items()), *bindings]
    return ['trainer', f'--model=asr.{model}', f'--logdir={self.folder}', *(f'--gin_bindings={b}' for b in bindings),
            *(['--deterministic'] if deterministic else [])]

  def Start(self, *bindings, patch=None, **knobs):
    """Starts the trainer; returns processes.Started."""
    return processes.Started(self.Command(*bindings, **knobs), self.work_dir, patch)

  def Train(self, *bindings, patch=None, seconds=processes.TIMEOUT_SECONDS, **knobs):
    """Runs the trainer to its end; returns processes.Done."""
    return self.Start(*bindings, patch=patch, **knobs).Wait(seconds)

  def TrainAsCommand(self, *bindings, env=None, prefix=(), **knobs):
    """The same in a new interpreter, as processes.Command."""
    argv = self.Command(*bindings, **knobs)[1:]
    return processes.Command('fm_lingvo.trainer', argv, self.work_dir, env, prefix, seconds=600)

  def Steps(self):
    """Steps of the checkpoints that have an index, ascending."""
    return sorted(int(re.search(r'ckpt-(\d+)\.index$', path).group(1))
                  for path in glob.glob(os.path.join(self.folder, 'train', 'ckpt-*.index')))

  def Prefix(self, step):
    """Prefix of a checkpoint's files."""
    return os.path.join(self.folder, 'train', f'ckpt-{step:08d}')

  def Data(self, step):
    """File of a checkpoint's values."""
    return self.Prefix(step) + '.data-00000-of-00001'

  def Weights(self, step):
    """dict: name -> value of everything in a checkpoint."""
    reader = tf.train.load_checkpoint(self.Prefix(step))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

  def IsFinite(self, step):
    """Whether every weight of a checkpoint is."""
    return all(np.all(np.isfinite(v)) for v in self.Weights(step).values() if v.dtype.kind == 'f')

  def Differing(self, step, other, other_step=None):
    """Names of the weights that are not the same, bit by bit, in a checkpoint of another run."""
    a, b = self.Weights(step), other.Weights(step if other_step is None else other_step)
    return [name for name in sorted({*a, *b}) if name not in a or name not in b or not np.array_equal(a[name], b[name])]

  def Metrics(self):
    """Rows of metrics.jsonl."""
    return metrics_log.ReadMetrics(os.path.join(self.folder, 'metrics.jsonl'))

  def State(self):
    """dict: file -> content of the checkpoints and the configuration."""
    paths = [os.path.join(self.folder, 'config.gin')]
    for pattern in ('ckpt*', 'checkpoint*', 'trainer_params*'):
      paths += [p for p in glob.glob(os.path.join(self.folder, 'train', pattern)) if os.path.isfile(p)]
    contents = {}
    for path in paths:
      with open(path, 'rb') as f:
        contents[path] = f.read()
    return contents

  def Copy(self, name):
    """Copies the run's folder, its file `checkpoint` naming the copies; returns the copy's TinyRun."""
    copy = TinyRun(self.work_dir, name, self.data_dir)
    shutil.copytree(self.folder, copy.folder)
    state = os.path.join(copy.folder, 'train', 'checkpoint')
    if os.path.exists(state):
      with open(state, encoding='utf-8') as f:
        text = f.read()
      with open(state, 'w', encoding='utf-8') as f:
        f.write(text.replace(self.folder, copy.folder))
    return copy
