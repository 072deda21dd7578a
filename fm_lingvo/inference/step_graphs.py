"""A run's recogniser as small graphs of plain TensorFlow, for converters: encoder, prediction and joint, or CTC.

The search runs outside of them (inference/outside.py). B: utterances, T: log-mel frames, F: mel bins, N: encoded
frames, D: their width, M: hypotheses, P: width of a prediction, V: labels with blank, 0.

  encoder      features [B, T, F], lengths int32 [B] -> encoded [B, N, D], encoded_lengths int32 [B]
  prediction   label int32 [M], state_* -> predicted [M, P], next_state_*; label 0 at the start, with a state of zeros
  joint        encoded [M, D], predicted [M, P] -> log_probs [M, V]
  ctc          encoded [B, N, D] -> log_probs [B, N, V]; instead of prediction and joint
"""

import dataclasses
import types
from collections.abc import Iterator
from typing import Any

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.heads import ctc_head
from fm_lingvo.heads import labeled_head
from fm_lingvo.heads import transducer_head
from fm_lingvo.inference import decoding_graph
from fm_lingvo.inference import plain_einsum
from fm_lingvo.inference import run as run_lib
from fm_lingvo.layers import shared_trace
from fm_lingvo.run_files import run_dir


@dataclasses.dataclass(frozen=True)
class StepGraph:
  """A graph whose variables are constants."""

  name: str
  graph_def: tf.tf1.GraphDef
  inputs: dict[str, tf.Tensor]  # By the names above; batch and time are unknown dimensions.
  outputs: dict[str, tf.Tensor]


def Build(run: run_lib.Run) -> Iterator[StepGraph]:
  """Yields the graphs of a run's encoder and head.

  Adapters that change weights are merged first.

  Raises:
    errors.ConfigError: The head is neither a transducer nor CTC, or the run cannot be restored.
  """
  params, values = _Plain(run)
  head = params.heads.Get(run.head).cls
  if issubclass(head, transducer_head.TransducerHead):
    parts = {'encoder': _Encoder, 'prediction': _Prediction, 'joint': _Joint}
  elif issubclass(head, ctc_head.CtcHead):
    parts = {'encoder': _Encoder, 'ctc': _Ctc}
  else:
    raise errors.ConfigError(f'{run.path}: head {run.head} is a {head.__name__}; expected a transducer or CTC head')
  for name, build in parts.items():
    # Converters refuse calls of functions, which TensorFlow 2.21's optimiser leaves in the graph.
    off = shared_trace.Off()
    evaluation = decoding_graph.Cluster(run)  # Without dropout.
    with tf.Graph().as_default() as graph, tf.Session(graph=graph) as sess, plain_einsum.InUse(), off, evaluation:
      py_utils.GetOrCreateGlobalStepVar()
      task = params.Instantiate()
      inputs, outputs = build(task, task.Head(run.head), task.theta[run.head])
      outputs = {key: tf.identity(x, f'out_{key}') for key, x in outputs.items()}
      _Load(sess, task, values)
      frozen = tf.tf1.graph_util.convert_variables_to_constants(
        sess, graph.as_graph_def(), [x.op.name for x in outputs.values()]
      )
    _DropChecks(frozen)
    yield StepGraph(name, frozen, inputs, outputs)


def FeatureSettings(run: run_lib.Run) -> dict[str, Any]:
  """Returns what outside.Features needs to compute the features of a run's front end."""
  p = run.params.frontend
  mel = p.mel.Copy().Set(name='mel').Instantiate()
  settings = {
    'sample_rate': int(p.mel.sample_rate),
    'mel_bins': p.mel.num_bins,
    'frame_samples': mel.window_frame_size,  # One more than a window, for the pre-emphasis.
    'step_samples': mel.window_frame_step,
    'fft_size': mel._fft_size,
    'lower_hertz': p.mel.lower_edge_hertz,
    'upper_hertz': p.mel.upper_edge_hertz,
    'preemphasis': p.mel.preemph,
    'floor': p.mel.output_floor,
    'normalization': p.normalization,
    'variance_floor': p.variance_floor,
  }
  if p.normalization == 'global':
    weights = run.Weights()
    settings.update({key: weights.Read(f'task/frontend/{key}/var').tolist() for key in ('mean', 'stddev')})
  return settings


def _Plain(run):
  """(task Params in float32 without adapters in weights, dict: name of a variable -> value)."""
  params, weights = run.params.Copy().Set(fprop_dtype=None), run.Weights()
  task = run_dir.DeclaredTask(types.SimpleNamespace(task=params, cluster=run.cluster))
  needed = {v.op.name: v for v in task.vars.Flatten()}
  reader.Match(weights, needed).Check(task)
  values = weights.Values(needed)
  encoder = params.encoder
  if encoder.cls.ActiveAdapter(encoder) and encoder.cls.ChangesWeights(encoder):
    values = task.encoder.Merged(values)
    encoder.cls.UseAdapter(encoder, None)
  return params, values


def _DropChecks(graph_def):
  """Replaces checks of static shapes, which Lingvo's convolutions add and TensorFlow Lite does not have."""
  for node in graph_def.node:
    if node.op == 'EnsureShape':
      node.op = 'Identity'
      del node.attr['shape']


def _Load(sess, task, values):
  """Sets the variables of a task."""
  sess.run(tf.global_variables_initializer())
  variables = {v: values[v.op.name] for v in task.vars.Flatten()}
  sess.run([v.initializer for v in variables], {v.initializer.inputs[1]: x for v, x in variables.items()})


def _Encoder(task, unused_head, unused_theta):
  features = tf.placeholder(tf.float32, [None, None, task.params.frontend.mel.num_bins], 'features')
  lengths = tf.placeholder(tf.int32, [None], 'lengths')
  time, factor = tf.shape(features)[1], task.encoder.downsample_factor
  # ONNX divides integers towards zero: no number here is negative.
  padded = tf.pad(features, [[0, 0], [0, (time + factor - 1) // factor * factor - time], [0, 0]])
  paddings = 1.0 - tf.sequence_mask(lengths, tf.shape(padded)[1], dtype=tf.float32)
  padded = tf.where_v2(tf.expand_dims(paddings, 2) > 0, 0.0, padded)  # Padding may hold anything.
  encoded, paddings = task.encoder.FProp(task.theta.encoder, padded, paddings)
  outputs = {'encoded': encoded, 'encoded_lengths': labeled_head.Lengths(paddings)}
  return {'features': features, 'lengths': lengths}, outputs


def _Prediction(unused_task, head, theta):
  label = tf.placeholder(tf.int32, [None], 'label')
  zero = head.prediction.ZeroState(theta.prediction, 1)
  state = zero.Pack(
    [tf.placeholder(x.dtype, [None, *x.shape[1:]], 'state_' + key.replace('.', '_')) for key, x in zero.FlattenItems()]
  )
  predicted, after = head.prediction.Step(theta.prediction, label, state)
  inputs = {'label': label, **{x.op.name: x for x in state.Flatten()}}
  outputs = {f'next_{x.op.name}': y for x, y in zip(state.Flatten(), after.Flatten())}
  return inputs, {'predicted': predicted, **outputs}


def _Joint(task, head, theta):
  encoded = tf.placeholder(tf.float32, [None, task.encoder.output_dim], 'encoded')
  predicted = tf.placeholder(tf.float32, [None, head.prediction.output_dim], 'predicted')
  log_probs = head.joint.LogProbs(
    theta.joint,
    head.joint.ProjectEncoded(theta.joint, encoded),
    head.joint.ProjectPredicted(theta.joint, predicted),
  )
  return {'encoded': encoded, 'predicted': predicted}, {'log_probs': log_probs}


def _Ctc(task, head, theta):
  encoded = tf.placeholder(tf.float32, [None, None, task.encoder.output_dim], 'encoded')
  log_probs = tf.nn.log_softmax(tf.cast(head.proj.FProp(theta.proj, encoded), tf.float32))
  return {'encoded': encoded}, {'log_probs': log_probs}
