"""The smallest runs that have every part, and what is left of them: folders of data, trainer commands, weights."""

import glob
import os
import re
import shutil
import zlib

import numpy as np
from lingvo import compat as tf

from fm_lingvo.data import dataset

_MODEL = (
  'task.encoder.num_layers = 1',
  'task.encoder.model_dim = 16',
  'task.encoder.num_heads = 2',
  'task.encoder.kernel_size = 5',
  'task.encoder.subsampling.channels = 4',
  'task.train.log_interval_steps = 1',
)
_KNOBS = {
  'codebook_size': 16,
  'batch_seconds': 6.0,
  'mask_start_prob': 0.05,
  'max_seconds': 8.0,
  'max_steps': 6,
  'summary_interval_steps': 2,
  'save_interval_steps': 2,
  'eval_interval_steps': 4,
}


def Waveform(seconds, seed):
  """PCM16 [S] of three gliding tones in noise."""
  rng = np.random.RandomState(seed)
  t = np.arange(int(16000 * seconds)) / 16000
  wave = 0.02 * rng.randn(len(t))
  for start, glide in rng.uniform([200, -300], [2000, 300], [3, 2]):
    wave += 0.2 * np.sin(2 * np.pi * (start + glide * t) * t)
  return np.clip(wave * 32767, -32768, 32767).astype('<i2')


def WriteShard(path, num_utterances, prefix='utt'):
  """Writes a TFRecord shard; utterances are PREFIX-0, PREFIX-1, ..."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with tf.io.TFRecordWriter(path) as writer:
    for i in range(num_utterances):
      pcm = Waveform(1.5 + 0.1 * (i % 5), zlib.crc32(f'{prefix} {i}'.encode()))
      writer.write(
        dataset.EncodeExample(
          {
            'utt_id': f'{prefix}-{i}',
            'audio': pcm.tobytes(),
            'text': 'some words',
            'speaker': 's',
            'domain': 'test/tones',
            'duration': len(pcm) / 16000,
          }
        )
      )


def WriteData(data_dir, num_train=24, num_dev=4, shards=2):
  """Writes data_dir/human, training shards and a held-out one."""
  for i in range(shards):
    name = dataset.ShardName('train', i, shards)
    WriteShard(os.path.join(data_dir, 'human', name), num_train // shards, f'train{i}')
  WriteShard(os.path.join(data_dir, 'human', dataset.ShardName('dev', 0, 1)), num_dev, 'dev')


def Command(logdir, data_dir, *bindings, model='BestRqPretrain', evaluated=(), **knobs):
  """argv of a trainer; knobs and bindings are added to the tiny ones, `evaluated` are data sets."""
  own = {k: v for k, v in _KNOBS.items() if model == 'BestRqPretrain' or k not in ('codebook_size', 'mask_start_prob')}
  knobs = {**own, 'data_dir': data_dir, **knobs}
  every = [
    *_MODEL,
    f'task.train.eval_datasets = {list(evaluated)}',
    *(f'{model}.{name} = {value!r}' for name, value in knobs.items()),
    *bindings,
  ]
  return ['trainer', f'--model=asr.{model}', f'--logdir={logdir}', *(f'--gin_bindings={b}' for b in every)]


def Steps(logdir):
  """Steps of the checkpoints that have an index, ascending."""
  return sorted(
    int(re.search(r'ckpt-(\d+)\.index$', path).group(1))
    for path in glob.glob(os.path.join(logdir, 'train', 'ckpt-*.index'))
  )


def Prefix(logdir, step):
  """Prefix of a checkpoint's files."""
  return os.path.join(logdir, 'train', f'ckpt-{step:08d}')


def Weights(logdir, step):
  """dict: name -> value of everything in a checkpoint."""
  reader = tf.train.load_checkpoint(Prefix(logdir, step))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def Copy(run, to):
  """Copies a run's folder, its file `checkpoint` naming the copies; returns `to`."""
  shutil.copytree(run, to)
  state = os.path.join(to, 'train', 'checkpoint')
  if os.path.exists(state):
    with open(state, encoding='utf-8') as f:
      text = f.read()
    with open(state, 'w', encoding='utf-8') as f:
      f.write(text.replace(run, to))
  return to
