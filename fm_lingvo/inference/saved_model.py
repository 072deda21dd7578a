"""A run's recogniser as a SavedModel of plain TensorFlow: waveforms in, texts out.

B: utterances, S: samples (16 kHz), K: hypotheses, L: labels of a hypothesis,
V: vocabulary with blank.

Whoever loads the model runs it under options of their own, with the graph's remapper,
whose fusions give wrong values on TensorFlow 2.13 (fm_lingvo/runtime/session.py). They join
neighbouring operations; a Snapshot, which hands its input's buffer on, between any
two of those keeps them apart.
"""

import os

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.inference import recognizer

# What the remapper fuses: contractions, and what it joins to them or to one another.
_FUSABLE = frozenset(
  (
    'Add AddN AddV2 BatchMatMul BatchMatMulV2 BatchMatMulV3 BiasAdd Cast Conv2D Conv3D '
    'DepthwiseConv2dNative Einsum Elu Erf Erfc Exp LeakyRelu MatMul Maximum Mean '
    'Minimum Mul Neg Pad PadV2 Pow RealDiv Relu Relu6 Reshape Rsqrt Select SelectV2 '
    'Sigmoid Softmax Softplus Sqrt Square SquaredDifference Sub Sum Tanh '
    'Transpose'
  ).split()
)  # Each has one output.
_SUFFIX = '/apart'


def TextOfLabels(surfaces, labels, lengths):
  """Texts of labels by core operations alone.

  Args:
    surfaces: What recognizer.Surfaces returned, V of them.
    labels: int32 [B, L].
    lengths: int32 [B].

  Returns:
    string [B], UTF-8, without spaces at its ends.
  """
  inside = tf.sequence_mask(lengths, tf.shape(labels)[1])  # [B, L]
  pieces = tf.where_v2(inside, tf.gather(tf.constant(surfaces), labels), b'')
  return tf.strings.strip(tf.strings.reduce_join(pieces, axis=1))


def Export(run, folder):
  """Writes a Run as a SavedModel.

  Its signature, `serving_default`: waveforms float32 [B, S] in [-1, 1] at 16 kHz and
  num_samples int32 [B] -> texts string [B] and scores float32 [B], log-probabilities.

  Args:
    run: A load_run.Run.
    folder: Where to; it must not exist, or be empty.

  Raises:
    errors.ConfigError: The folder is in use, or the run cannot be restored.
  """
  if tf.io.gfile.exists(folder) and (not tf.io.gfile.isdir(folder) or tf.io.gfile.listdir(folder)):
    raise errors.ConfigError(f'{folder}: exists; expected a new or an empty folder')
  with tf.Graph().as_default() as graph:
    inputs = recognizer.Inputs()
    task, found = recognizer.BuildGraph(run, *inputs)
    surfaces = recognizer.Surfaces(task.Head(run.head).tokenizer)
    outputs = {
      'texts': tf.identity(TextOfLabels(surfaces, found.labels[:, 0], found.lengths[:, 0]), 'texts'),
      'scores': tf.identity(found.scores[:, 0], 'scores'),
    }
    # A run that cannot be restored must be refused before anything is written.
    with tf.Session(graph=graph) as sess:
      recognizer.Restore(sess, task, run.checkpoint)
    meta = tf.tf1.train.export_meta_graph(
      graph=graph, clear_devices=True, collection_list=[tf.tf1.GraphKeys.GLOBAL_VARIABLES]
    )
    names = {v.op.name for v in task.vars.Flatten()}
  KeepApart(meta.graph_def)
  with tf.Graph().as_default() as graph, tf.Session(graph=graph) as sess:
    tf.tf1.train.import_meta_graph(meta)
    saved = {v.op.name: v for v in tf.global_variables() if v.op.name in names}
    # The step is of no use to a model that only decodes; it keeps its initial value.
    sess.run(tf.global_variables_initializer())
    warm_start.Checkpoint(run.checkpoint).Load(saved, sess)

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
  """Removes an empty folder, which the builder wants to make itself."""
  if tf.io.gfile.exists(folder):
    os.rmdir(folder)


def KeepApart(graph_def):
  """Puts a Snapshot behind every operation that the remapper would fuse.

  Args:
    graph_def: GraphDef, changed in place: its nodes, and those of its functions.
  """
  _Insert(graph_def.node, lambda node: [node.name, f'{node.name}:0'], lambda name: name)
  for function in graph_def.library.function:
    # Inside a function an output is NODE:NAME:INDEX, with the operation's own name.
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
  """Adds Snapshots to a list of NodeDef and makes the others read them.

  Args:
    nodes: Repeated NodeDef.
    outputs_of: Function of a NodeDef with one output: the names that it has as an
      input of others.
    snapshot_output: Function of a Snapshot's name: the name of its output.

  Returns:
    dict: name of an output -> name of its Snapshot's.
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
