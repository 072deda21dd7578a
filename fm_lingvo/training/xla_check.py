"""Compiles an experiment's steps with XLA on the CPU, to show that they would compile for a TPU.

A step is the training step or an evaluation step with decoding. Its batch has the static shapes of a TPU's batches: a
single bucket, the longest, padded to its upper bound.

B: utterances, S: samples in a padded row.
"""

import collections
import gc
import linecache
import os
import re
import tempfile
import time

import numpy as np
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import cluster_factory
from lingvo.core import optimizer
from lingvo.core import py_utils
from tensorflow.core.framework import attr_value_pb2

from fm_lingvo import errors
from fm_lingvo.config import registry
from fm_lingvo.layers import shared_trace
from fm_lingvo.runtime import session
from fm_lingvo.training import xla_dump
from fm_lingvo.utils import audio

# step: name of the data set; ops: instructions of the compiled program; temp_bytes: its temporary memory, without
# weights and batch; seconds: time of the compilation and one run; batch: dict: stream -> (B, S).
Report = collections.namedtuple('Report', ['step', 'ops', 'temp_bytes', 'seconds', 'batch'])

_FOLDED_BYTES = 200_000  # Constants above this size are left to XLA.
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class XlaError(errors.ConfigError):
  """A step does not compile; the message names the op and the line that created it."""


def Check(model_name, dump_dir):
  """Compiles every step of an experiment; yields a Report for each.

  Data sets whose batches have the same shapes share a step.

  Args:
    model_name: Name of a configured experiment.
    dump_dir: The folder that xla_dump.Start returned.

  Raises:
    XlaError: A step does not compile.
    errors.ConfigError: The experiment does not read speech.
  """
  if 'streams' not in model_registry.GetParams(model_name, 'Train').input:
    raise errors.ConfigError(f'--mode=xla_check: {model_name} reads no speech; expected an experiment that does')
  seen = set()
  with tempfile.NamedTemporaryFile(suffix='.tfrecord') as empty:
    for dataset in sorted(registry.DatasetNames(model_name), key=lambda n: n != 'Train'):
      params = model_registry.GetParams(model_name, dataset)
      params.cluster.do_eval = dataset != 'Train'
      _MakeStatic(params.input, empty.name)
      _LeaveOutAccumulation(params.task.train.learner)
      key = params.cluster.do_eval, params.input.ToText()
      if key not in seen:
        seen.add(key)
        yield _Compile(dataset, params, dump_dir)


def _MakeStatic(input_params, file):
  """Reduces each stream of an input's Params to one bucket, as on a TPU."""
  input_params.Set(pad_to_bucket=True, emit_strings=False)
  for _, stream in input_params.streams.IterParams():
    stream.Set(file_pattern=file, augment=None, bucket_upper_bound_seconds=stream.bucket_upper_bound_seconds[-1:])
    if stream.bucket_batch_size:
      stream.bucket_batch_size = stream.bucket_batch_size[-1:]


def _LeaveOutAccumulation(learner):
  """Removes gradient accumulation from a learner's Params: Lingvo cannot create its variables in a tf.function."""
  if learner.optimizer.cls is optimizer.Accumulator:
    learner.optimizer = learner.optimizer.optimizer_tpl


def _Compile(dataset, params, dump_dir):
  """Builds, compiles and runs a step once; returns its Report."""
  before = xla_dump.Files(dump_dir)
  with tf.Graph().as_default() as graph, cluster_factory.Cluster(params.cluster):
    model = params.Instantiate()
    task = model.GetTask()
    batch = task.input.GetPreprocessedInputBatch()
    holders = batch.Transform(lambda x: tf.placeholder(x.dtype, x.shape))
    step = tf.function(_StepFunction(model, batch), jit_compile=True, autograph=False)
    with shared_trace.Off():  # _LeaveUnfolded does not reach into functions.
      outputs = step(*holders.Flatten())
    config = session.Config()
    # XLA has optimisers of its own, and no TemporaryVariable, which TensorFlow's puts into large steps.
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.Session(graph=graph, config=config) as sess:
      sess.run([tf.global_variables_initializer(), tf.local_variables_initializer(), tf.tables_initializer()])
      feed = dict(zip(holders.Flatten(), _Example(batch).Flatten()))
      started = time.time()
      try:
        sess.run(outputs, feed)
      except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as e:
        raise XlaError(f'{dataset}: {_Explain(e.message)}') from e
      seconds = time.time() - started
  ops, temp_bytes = xla_dump.Read(xla_dump.Files(dump_dir) - before)
  shapes = {name: tuple(stream.waveforms.shape.as_list()) for name, stream in batch.items()}
  return Report(dataset, ops, temp_bytes, seconds, shapes)


def _StepFunction(model, batch):
  """Returns the step of a model as a function of the tensors of its batch."""
  task = model.GetTask()

  def CompiledStep(*tensors):  # xla_dump.Start matches this name.
    packed = batch.Pack(tensors)
    task.input.GetPreprocessedInputBatch = lambda: packed
    outputs = []
    if task.do_eval:
      model.ConstructFPropGraph()
      outputs += task.per_example_tensors.values()
    else:
      model.ConstructFPropBPropGraph()
      outputs.append(task.train_op)
    outputs += [value for value, _ in task.eval_metrics.values()]
    tensors = [x for x in outputs if isinstance(x, tf.Tensor)]
    with tf.control_dependencies([x for x in outputs if not isinstance(x, tf.Tensor)]):
      results = [tf.identity(x) for x in tensors]
    _LeaveUnfolded(tf.get_default_graph())
    return results

  return CompiledStep


def _LeaveUnfolded(graph):
  """Keeps TensorFlow from computing large constants before XLA compiles, and from holding all of them at once.

  At size large they are 13.8 GB, mostly zeros of gradients. Constant folding leaves out nodes with this attribute,
  which means nothing to XLA.
  """
  for op in graph.get_operations():
    if any(_Bytes(x) > _FOLDED_BYTES for x in op.outputs):
      op._set_attr('_scoped_allocator', attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue()))


def _Bytes(tensor):
  """The size of a tensor, 0 if it is not static."""
  return tensor.dtype.size * (tensor.shape.num_elements() or 0)


def _Example(batch):
  """Returns a batch with the shapes of `batch`: noise, with labels in a quarter of each row's label positions."""
  rng = np.random.RandomState(0)
  example = py_utils.NestedMap()
  for name, stream in batch.items():
    values = {k: np.zeros(x.shape, x.dtype.as_numpy_dtype) for k, x in stream.items()}
    values['waveforms'] += 0.1 * rng.randn(*stream.waveforms.shape)
    values['num_samples'] += stream.waveforms.shape[1]
    values['weights'] += 1
    if 'labels' in stream:
      values['labels'] += 2
      values['label_lengths'] += stream.labels.shape[1] // 4
    example[name] = py_utils.NestedMap(values)
  return example


def _Explain(message):
  """Returns one line: the op that XLA cannot compile, the reason, and the line that created the op."""
  found = re.search(r' on XLA_\w+_JIT: (\w+) \((.*?)\)', message, re.S)
  node = re.search(r'\{\{node ([^}]+)\}\}', message)
  text = f'{found.group(1)}: {found.group(2)}' if found else message.splitlines()[0]
  text = re.sub(r' compatible with node \{\{.*|\{\{.*?\}\}', '', text)
  return f'{text}; {_Origin(node.group(1))}' if node else text


def _Origin(node):
  """Returns where the op `node` was created: the innermost line of its traceback outside of TensorFlow."""
  # The session gives no access to a function's graph. This search is slow, but runs only after a failure.
  for graph in [g for g in gc.get_objects() if isinstance(g, tf.Graph)]:
    try:
      frames = graph.get_operation_by_name(node).traceback
    except (KeyError, ValueError):
      continue
    ours = [f for f in frames if f.filename.startswith(_PACKAGE) and f.filename != os.path.abspath(__file__)]
    others = [f for f in frames if '/tensorflow/' not in f.filename]
    frame = (ours or others or list(frames))[-1]
    # Frames have no source text in Python 3.13.
    line = linecache.getline(frame.filename, frame.lineno).strip()
    return f'{node}, created at {frame.filename}:{frame.lineno}: {line}'
  return node


def Format(report):
  """Returns a Report as one line."""
  batch = ', '.join(f'{name} {b} x {s / audio.SAMPLE_RATE:.1f} s' for name, (b, s) in report.batch.items())
  return (
    f'{report.step}: compiled, {report.ops:,} ops, '
    f'{report.temp_bytes / 1e6:.1f} MB of temporary memory, '
    f'{report.seconds:.1f} s (batch: {batch})'
  )
