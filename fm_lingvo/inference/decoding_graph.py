"""The graph of a run's recognition: waveforms -> hypotheses, without the weights, which Restore sets.

B: utterances, S: samples (16 kHz), N: encoded frames, D: model width.
"""

from typing import NamedTuple

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from fm_lingvo.checkpoints import reader
from fm_lingvo.inference import session_graph
from fm_lingvo.inference import stream_graph
from fm_lingvo.runtime import session
from fm_lingvo.runtime import zero_variables


def Inputs() -> tuple[tf.Tensor, tf.Tensor]:
  """Returns placeholders (waveforms float32 [B, S] in [-1, 1], num_samples int32 [B])."""
  return (tf.placeholder(tf.float32, [None, None], 'waveforms'), tf.placeholder(tf.int32, [None], 'num_samples'))


class Graph(NamedTuple):
  """A run's decoding, without its weights."""

  graph: tf.Graph
  inputs: tuple[tf.Tensor, tf.Tensor]  # See Inputs.
  task: base_layer.BaseLayer  # A HydraTask.
  encoded: py_utils.NestedMap  # frames [B, N, D] and paddings [B, N].
  searched: py_utils.NestedMap  # Placeholders for what is encoded.
  outputs: py_utils.NestedMap  # Hypotheses, see BaseHead.Decode.


def New(run) -> Graph:
  """Builds the Graph of a run.Run."""
  with tf.Graph().as_default() as graph:
    inputs = Inputs()
    with zero_variables.Scope():
      task, encoded, decode = _BuildHalf(run, *inputs)
    # Placeholders: with a tensor of the graph itself, TensorFlow would optimise what computes it, too.
    searched = encoded.Transform(lambda x: tf.placeholder(x.dtype, [None, *x.shape.as_list()[1:]]))
    with Cluster(run):
      return Graph(graph, inputs, task, encoded, searched, decode(searched))


def Start(run) -> session_graph.SessionGraph:
  """Builds the graph of a run.Run and restores its weights.

  Raises:
    errors.ConfigError: See Restore.
  """
  graph, inputs, task, encoded, searched, outputs = New(run)
  with graph.as_default():
    sess = tf.Session(graph=graph, config=session.Config())
    Restore(sess, task, run.Weights())
  return session_graph.SessionGraph(
    session=sess,
    inputs=inputs,
    encoded=dict(encoded),
    searched=dict(searched),
    outputs=dict(outputs),
    tokenizer=task.Head(run.head).tokenizer,
    frame_samples=task.encoded_frame_samples,
    why_no_stream=stream_graph.WhyNot(task, run.head),
    task=task,
  )


def Build(run, waveforms, num_samples):
  """Builds a run's task for evaluation, and its decoding, in the current graph.

  Args:
    run: A run.Run.
    waveforms: float32 [B, S] in [-1, 1]; samples after num_samples are ignored.
    num_samples: int32 [B].

  Returns:
    (task, hypotheses): a HydraTask, and the output of its head's Decode.
  """
  task, encoded, decode = _BuildHalf(run, waveforms, num_samples)
  with Cluster(run):
    return task, decode(encoded)


def _BuildHalf(run, waveforms, num_samples):
  """Builds the first half of Build.

  Returns:
    (task, NestedMap of encoded [B, N, D] and paddings [B, N], function: such a NestedMap -> hypotheses).
  """
  py_utils.GetOrCreateGlobalStepVar()
  with Cluster(run):
    task = run.params.Instantiate()
    ((name, branch),) = task.branches
    batch = py_utils.NestedMap({branch.stream: py_utils.NestedMap(waveforms=waveforms, num_samples=num_samples)})
    encoded = task.EncodeSpeech(task.theta, batch)[name]
  return task, encoded, lambda x: task.DecodeEncoded(task.theta, py_utils.NestedMap({name: x}))[name]


def Cluster(run):
  """Context in which a run's layers compute as in evaluation."""
  # Plain TensorFlow does not know the ops of Lingvo's assertions.
  return cluster_factory.Cluster(run.cluster.Copy().Set(do_eval=True, enable_asserts=False))


def Restore(sess, task, checkpoint: reader.Checkpoint) -> None:
  """Restores the variables of a session's graph.

  Args:
    sess: Session of the graph that `task` was built in.
    task: A HydraTask.
    checkpoint: The weights, such as run.Run.Weights().

  Raises:
    errors.ConfigError: The checkpoint lacks a variable, has one of another shape, or was made with another front end
      or tokenizer.
  """
  variables = {v.op.name: v for v in task.vars.Flatten()}
  # Initialising all would be one more optimisation of the whole graph.
  sess.run([v.initializer for v in tf.global_variables() if v.op.name not in variables])
  reader.Match(checkpoint, variables).Restore(task, sess)
