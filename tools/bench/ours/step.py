"""A training step of asr.BestRqPretrain, timed: features in, update out.

Sizes: batch, seconds, layers, width, heads, kernel, channels, codes; `dtype`: float32 or bfloat16; `codebooks`
(default: 1); `xla`: whether XLA compiles it; `remat`.
"""

import tempfile

import numpy as np
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.config import gin_config
from fm_lingvo.layers import frontend

from .. import inputs
from . import graph


class _Features(frontend.LogMelFrontend):
  """A front end whose input is features already."""

  def FProp(self, theta, waveforms, num_samples):
    return py_utils.NestedMap(features=waveforms, paddings=tf.zeros(tf.shape(waveforms)[:2]))


def Params(sizes, file):
  """Model Params of the experiment with the sizes, on an input that would read `file`."""
  graph.ParseFlags()
  gin_config.Configure(
    'asr.BestRqPretrain',
    (),
    [
      f'BestRqPretrain.codebook_size = {sizes["codes"]}',
      f'BestRqPretrain.num_codebooks = {sizes.get("codebooks", 1)}',
      f'BestRqPretrain.compute_dtype = {sizes["dtype"]!r}',
      f'task.encoder.num_layers = {sizes["layers"]}',
      f'task.encoder.model_dim = {sizes["width"]}',
      f'task.encoder.num_heads = {sizes["heads"]}',
      f'task.encoder.kernel_size = {sizes["kernel"]}',
      f'task.encoder.remat = {bool(sizes.get("remat"))}',
      "task.encoder.subsampling.kind = 'conv'",
      f'task.encoder.subsampling.channels = {sizes["channels"]}',
    ],
  )
  params = model_registry.GetParams('asr.BestRqPretrain', 'Train')
  params.input.emit_strings = False
  for _, stream in params.input.streams.IterParams():
    stream.file_pattern = file
  params.task.frontend.cls = _Features
  return params


def SetUp(sizes):
  """See worker.py. The facts `first` and `last` are the loss of the first step and of the last one."""
  graph.ComputeInParts(sizes)
  features = inputs.Features(sizes)
  with tempfile.NamedTemporaryFile(suffix='.tfrecord') as empty:
    params = Params(sizes, empty.name)
    return _Build(params, features, sizes)


def _Build(params, features, sizes):
  """What SetUp returns."""
  with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster):
    model = params.Instantiate()
    task = model.GetTask()
    waveforms = graph.Variable(features)
    batch = py_utils.NestedMap(
      waveforms=waveforms.read_value(),
      num_samples=tf.fill([sizes['batch']], features.shape[1] * 160),
      weights=tf.ones([sizes['batch']]),
    )
    step = _Compiled if sizes.get('xla') else Plain
    train_op, loss = step(model, task, py_utils.NestedMap(unlabeled=batch))
    sess = graph.Session()
    sess.run(tf.variables_initializer([v for v in tf.global_variables() if v is not waveforms]))
    weights = int(sum(np.prod(v.shape) for v in tf.trainable_variables()))
  losses = []

  def _Call():
    losses.append(float(sess.run([loss, train_op])[0]))

  return _Call, {'first': lambda: losses[0], 'last': lambda: losses[-1], 'weights': weights}


def Plain(model, task, batch):
  """(train_op, loss) of a batch, a NestedMap of streams, as the trainer builds them."""
  task.input.GetPreprocessedInputBatch = lambda: batch
  model.ConstructFPropBPropGraph()
  return task.train_op, task.eval_metrics['loss'][0]


def _Compiled(model, task, batch):
  """The same, compiled by XLA in one piece."""

  def _Step(*tensors):
    packed = batch.Pack(tensors)
    train_op, loss = Plain(model, task, packed)
    with tf.control_dependencies([train_op]):
      return tf.identity(loss)

  loss = tf.function(_Step, jit_compile=True, autograph=False)(*batch.Flatten())
  return tf.no_op(), loss
