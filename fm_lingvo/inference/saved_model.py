"""A run's recogniser as a SavedModel of plain TensorFlow: waveforms in, texts out.

B: utterances, S: samples (16 kHz), K: hypotheses, L: labels of a hypothesis, V: vocabulary with blank.

A program that loads the model uses its own session options and therefore Grappler's remapper, whose fusions of
neighbouring ops give wrong values on TensorFlow 2.13 (fm_lingvo/runtime/session.py). A Snapshot after each fusable op,
which copies nothing, prevents these fusions.
"""

import os

from lingvo import compat as tf

from fm_lingvo.inference import decoding_graph
from fm_lingvo.utils import files

# Ops that the remapper fuses: contractions, and ops that it joins to them or to one another.
_FUSABLE = frozenset(
  (
    'Add AddN AddV2 BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Cast Conv2D Conv3D '
    'DepthwiseConv2dNative Einsum Elu Erf Erfc Exp LeakyRelu MatMul Maximum Mean '
    'Minimum Mul Neg Pad PadV2 Pow RealDiv Relu Relu6 Reshape Rsqrt Select SelectV2 '
    'Sigmoid Softmax Softplus Sqrt Square SquaredDifference Sub Sum Tanh '
    'Transpose'
  ).split()
)  # All of them have one output.
_SUFFIX = '/apart'


def TextOfLabels(surfaces, labels, lengths):
  """Converts labels to texts with core TensorFlow ops only.

  Args:
    surfaces: List [V] of bytes: tokenizer.Tokenizer.surfaces.
    labels: int32 [B, L].
    lengths: int32 [B], the number of labels of each row.

  Returns:
    string [B], UTF-8, without leading and trailing spaces.
  """
  inside = tf.sequence_mask(lengths, tf.shape(labels)[1])  # [B, L]
  pieces = tf.where_v2(inside, tf.gather(tf.constant(surfaces), labels), b'')
  return tf.strings.strip(tf.strings.reduce_join(pieces, axis=1))


def Export(run, folder):
  """Writes a Run as a SavedModel.

  The signature `serving_default` maps waveforms float32 [B, S] in [-1, 1] at 16 kHz and num_samples int32 [B] to texts
  string [B] and scores float32 [B], which are log-probabilities.

  Args:
    run: A run.Run.
    folder: Folder to write; it must not exist or must be empty.

  Raises:
    errors.ConfigError: The folder is not empty, or the run cannot be restored.
  """
  files.CheckNewFolder(folder)
  with tf.Graph().as_default() as graph:
    inputs = decoding_graph.Inputs()
    task, found = decoding_graph.Build(run, *inputs)
    surfaces = task.Head(run.head).tokenizer.surfaces
    outputs = {
      'texts': tf.identity(TextOfLabels(surfaces, found.labels[:, 0], found.lengths[:, 0]), 'texts'),
      'scores': tf.identity(found.scores[:, 0], 'scores'),
    }
    # Refuse a run that cannot be restored before anything is written.
    with tf.Session(graph=graph) as sess:
      decoding_graph.Restore(sess, task, run.Weights())
    meta = tf.tf1.train.export_meta_graph(
      graph=graph, clear_devices=True, collection_list=[tf.tf1.GraphKeys.GLOBAL_VARIABLES]
    )
    names = {v.op.name for v in task.vars.Flatten()}
  KeepApart(meta.graph_def)
  with tf.Graph().as_default() as graph, tf.Session(graph=graph) as sess:
    tf.tf1.train.import_meta_graph(meta)
    saved = {v.op.name: v for v in tf.global_variables() if v.op.name in names}
    # Decoding does not use the step, which keeps its initial value.
    sess.run(tf.global_variables_initializer())
    run.Weights().Load(saved, sess)

    def _Info(tensor):
      return tf.tf1.saved_model.build_tensor_info(graph.get_tensor_by_name(tensor.name))

    signature = tf.tf1.saved_model.build_signature_def(
      inputs={x.op.name: _Info(x) for x in inputs},
      outputs={name: _Info(x) for name, x in outputs.items()},
      method_name=tf.tf1.saved_model.PREDICT_METHOD_NAME,
    )
    _Remove(folder)
    builder = tf.tf1.saved_model.Builder(folder)
    builder.add_meta_graph_and_variables(
      sess, [tf.tf1.saved_model.SERVING], {tf.tf1.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature}
    )
    builder.save()


def _Remove(folder):
  """Removes an empty folder: the builder insists on creating it."""
  if tf.io.gfile.exists(folder):
    os.rmdir(folder)


def KeepApart(graph_def):
  """Inserts a Snapshot after every op that the remapper would fuse.

  Args:
    graph_def: GraphDef; its nodes and those of its functions are changed in place.
  """
  _Insert(graph_def.node, lambda node: [node.name, f'{node.name}:0'], lambda name: name)
  for function in graph_def.library.function:
    # Inside a function, an output is called NODE:OUTPUT_NAME:INDEX.
    used = {x for node in function.node_def for x in node.input}
    used.update(function.ret.values())
    outputs: dict[str, list[str]] = {}
    for x in used:
      outputs.setdefault(x.partition(':')[0], []).append(x)
    renamed = _Insert(
      function.node_def, lambda node, outputs=outputs: outputs.get(node.name, []), lambda name: f'{name}:output:0'
    )
    for name, x in function.ret.items():
      function.ret[name] = renamed.get(x, x)


def _Insert(nodes, outputs_of, snapshot_output):
  """Adds Snapshots to a list of NodeDef and rewires all other nodes to read from them.

  Args:
    nodes: Repeated NodeDef.
    outputs_of: Function: NodeDef with one output -> the names by which other nodes refer to that output.
    snapshot_output: Function: name of a Snapshot -> name of its output.

  Returns:
    dict: name of an output -> name of its Snapshot's output.
  """
  renamed, added = {}, []
  for node in nodes:
    dtype = node.attr['T'].type if 'T' in node.attr else 0
    if node.op == 'Cast':
      dtype = node.attr['DstT'].type
    if node.op not in _FUSABLE or not tf.as_dtype(dtype or tf.string).is_floating:
      continue
    outputs = outputs_of(node)
    if not outputs:
      continue
    snapshot = tf.tf1.NodeDef(name=node.name + _SUFFIX, op='Snapshot', input=[outputs[0]], device=node.device)
    snapshot.attr['T'].type = dtype
    added.append(snapshot)
    renamed.update(dict.fromkeys(outputs, snapshot_output(snapshot.name)))
  for node in nodes:
    for i, x in enumerate(node.input):
      node.input[i] = renamed.get(x, x)
  nodes.extend(added)
  return renamed
