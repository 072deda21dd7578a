"""A training step of an experiment, timed: waveforms in, update out, on a batch of static shapes.

Sizes: `model`, the experiment's name; `bindings`, of Gin; `seconds`, of every utterance.
The batch is noise; labels fill a quarter of their room.
"""

import tempfile

import numpy as np
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.config import gin_config

from . import graph


def SetUp(sizes):
  """See worker.py. Facts: `loss` of the last step; `audio_seconds` in the batch."""
  graph.ComputeInParts(sizes)
  graph.ParseFlags()
  gin_config.Configure(sizes['model'], (), sizes['bindings'])
  params = model_registry.GetParams(sizes['model'], 'Train')
  params.input.Set(pad_to_bucket=True, emit_strings=False)
  with (
    tempfile.NamedTemporaryFile(suffix='.tfrecord') as empty,
    tf.Graph().as_default(),
    cluster_factory.Cluster(params.cluster),
  ):
    for _, stream in params.input.streams.IterParams():
      stream.Set(
        file_pattern=empty.name,
        augment=None,
        bucket_upper_bound_seconds=[sizes['seconds']],
        bucket_batch_size=stream.bucket_batch_size[-1:],
      )
    model = params.Instantiate()
    task = model.GetTask()
    batch = py_utils.NestedMap(
      {name: _Variables(stream) for name, stream in task.input.GetPreprocessedInputBatch().items()}
    )
    read = batch.Transform(lambda v: v.read_value())
    task.input.GetPreprocessedInputBatch = lambda: read
    model.ConstructFPropBPropGraph()
    inputs = {id(v) for v in batch.Flatten()}
    sess = graph.Session()
    sess.run(
      [
        tf.variables_initializer([v for v in tf.global_variables() if id(v) not in inputs]),
        tf.local_variables_initializer(),
        tf.tables_initializer(),
      ]
    )
  loss = task.eval_metrics['loss'][0]
  losses = []
  audio = sum(int(np.prod(stream.waveforms.shape)) for stream in batch.values()) / 16000

  def _Call():
    losses.append(float(sess.run([loss, task.train_op])[0]))

  return _Call, {'loss': lambda: losses[-1], 'audio_seconds': audio}


def _Variables(stream):
  """NestedMap of variables in the shapes of a stream's batch: noise without padding, and labels."""
  values = {name: np.zeros(x.shape, x.dtype.as_numpy_dtype) for name, x in stream.items()}
  values['waveforms'] += 0.1 * np.random.default_rng(0).standard_normal(values['waveforms'].shape)
  values['num_samples'] += values['waveforms'].shape[1]
  values['weights'] += 1
  if 'labels' in values:
    values['labels'] += 2
    values['label_lengths'] += values['labels'].shape[1] // 4
  return py_utils.NestedMap({name: graph.Variable(value) for name, value in values.items()})
