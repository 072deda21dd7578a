"""Our input pipeline alone, timed: shards of PCM16 -> batches -> log-mel, as for asr.BestRqPretrain.

Sizes: `folder`, where the shards are written; `utterances` in them; `batches` of a call.
"""

import os

import numpy as np
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import cluster_factory

from fm_lingvo.config import gin_config
from fm_lingvo.data import dataset
from fm_lingvo.utils import audio as audio_format

from . import graph

_SHARDS = 4
_SECONDS = 1.0, 16.0  # Of the shortest utterance and the longest one.


def SetUp(sizes):
  """See worker.py. A turn's figure `audio_seconds` is what a call read, padding not counted."""
  _WriteShards(sizes['folder'], sizes['utterances'])
  graph.ParseFlags()
  gin_config.Configure('asr.BestRqPretrain', (), [f'BestRqPretrain.data_dir = {sizes["folder"]!r}'])
  params = model_registry.GetParams('asr.BestRqPretrain', 'Train')
  with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster):
    task = params.Instantiate().GetTask()
    batch = task.input.GetPreprocessedInputBatch().unlabeled
    features = task.frontend.FProp(task.theta.frontend, batch.waveforms, batch.num_samples)
    sess = graph.Session()
    sess.run(tf.global_variables_initializer())
    task.input.Initialize(sess)
    samples, ready = tf.reduce_sum(batch.num_samples), [x.op for x in features.Flatten()]

  def _Call():
    return {
      'audio_seconds': sum(int(sess.run([samples, ready])[0]) for _ in range(sizes['batches']))
      / audio_format.SAMPLE_RATE
    }

  return _Call, {}


def _WriteShards(folder, utterances):
  """Writes a data set's shards of noise, every utterance of another length."""
  rng = np.random.default_rng(5)
  folder = os.path.join(folder, 'noise')
  os.makedirs(folder, exist_ok=True)
  for shard in range(_SHARDS):
    with tf.io.TFRecordWriter(os.path.join(folder, dataset.ShardName('train', shard, _SHARDS))) as writer:
      for i in range(shard, utterances, _SHARDS):
        seconds = np.interp(i, [0, utterances], _SECONDS)
        audio = rng.integers(-3000, 3000, int(seconds * audio_format.SAMPLE_RATE)).astype('<i2')
        writer.write(
          dataset.EncodeExample(
            {
              'utt_id': f'noise-{i}',
              'audio': audio.tobytes(),
              'text': '',
              'speaker': 'none',
              'domain': 'noise',
              'duration': len(audio) / audio_format.SAMPLE_RATE,
            }
          )
        )
