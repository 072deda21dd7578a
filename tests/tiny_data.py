"""A data set of a few seconds of synthetic sound, for end-to-end tests."""

import dataclasses
import os
import zlib

import numpy as np
import tensorflow as tf


def Waveform(seconds, seed):
  """PCM16 [S] of a few gliding tones in noise, something to learn."""
  rng = np.random.RandomState(seed)
  time = np.arange(int(16000 * seconds)) / 16000
  wave = 0.02 * rng.randn(len(time))
  for _ in range(3):
    start, glide = rng.uniform(200, 2000), rng.uniform(-300, 300)
    wave += 0.2 * np.sin(2 * np.pi * (start + glide * time) * time)
  return np.clip(wave * 32767, -32768, 32767).astype('<i2')


def Write(path, num_utterances, seconds=1.5, domain='test/tones', prefix='utt'):
  """Writes a TFRecord shard in the format of fm_lingvo/data/dataset.py; utterances are PREFIX-0, PREFIX-1, ..."""
  os.makedirs(os.path.dirname(path), exist_ok=True)

  def _Bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

  with tf.io.TFRecordWriter(path) as writer:
    for i in range(num_utterances):
      pcm = Waveform(seconds + 0.1 * (i % 5), seed=zlib.crc32(f'{path[-40:]} {i}'.encode()))
      writer.write(
        tf.train.Example(
          features=tf.train.Features(
            feature={
              'utt_id': _Bytes(f'{prefix}-{i}'.encode()),
              'audio': _Bytes(pcm.tobytes()),
              'text': _Bytes(b'some words'),
              'speaker': _Bytes(b's'),
              'domain': _Bytes(domain.encode()),
              'duration': tf.train.Feature(float_list=tf.train.FloatList(value=[len(pcm) / 16000])),
            }
          )
        ).SerializeToString()
      )


def WriteAll(data_dir, num_train=24, num_dev=6):
  """Training and held-out shards, as the demo's, under `data_dir`."""
  for kind in ('human', 'synthetic'):
    Write(os.path.join(data_dir, kind, 'train-00000-of-00001.tfrecord'), num_train)
    Write(os.path.join(data_dir, kind, 'dev-00000-of-00001.tfrecord'), num_dev)


# The smallest model that has every part; for --gin_bindings.
TINY_BINDINGS = (
  'task.encoder.num_layers = 1',
  'task.encoder.model_dim = 16',
  'task.encoder.num_heads = 2',
  'task.encoder.kernel_size = 5',
  'BestRqPretrain.codebook_size = 16',
  'BestRqPretrain.batch_seconds = 6.0',
  'BestRqPretrain.mask_start_prob = 0.05',
  'BestRqPretrain.max_seconds = 8.0',
)


def Bindings(experiment):
  """TINY_BINDINGS of an experiment's class: its own name, the knobs that it has; few channels if its size has any."""
  knobs = {f.name for f in dataclasses.fields(experiment)}
  has_channels = 'size' in knobs and experiment.size != 'tiny'
  return ['task.encoder.subsampling.channels = 4'] * has_channels + [
    b.replace('BestRqPretrain.', f'{experiment.__name__}.')
    for b in TINY_BINDINGS
    if not b.startswith('BestRqPretrain.') or b.partition(' ')[0].rpartition('.')[2] in knobs
  ]
