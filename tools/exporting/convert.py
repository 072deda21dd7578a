"""Converts graphs of inference/step_graphs.py to TensorFlow Lite and ONNX.

Precision: float32; float16, weights alone for TensorFlow Lite and products too for ONNX; int8, weights alone, with
activations quantized as they come (dynamic), or, for ONNX, by ranges seen on examples (calibrated).
"""

import os
import tempfile
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
import tensorflow
from lingvo import compat as tf
from tensorflow.python.eager import context

from fm_lingvo.inference import step_graphs

PRECISIONS = ('float32', 'float16', 'int8')
Examples = Sequence[Mapping[str, np.ndarray]]
_OPSET = 17


def ToTflite(graph: step_graphs.StepGraph, precision: str) -> bytes:
  """Returns a TensorFlow Lite model of built-in operations alone.

  Args:
    graph: The graph.
    precision: One of PRECISIONS; int8 is dynamic.
  """
  with tempfile.TemporaryDirectory() as folder:
    saved = os.path.join(folder, 'saved')
    _WriteSavedModel(graph, saved)
    # Outside of eager mode it is TensorFlow's older converter, whose models have no signature.
    with context.eager_mode():
      return _Converted(saved, precision)


def _Converted(saved, precision):
  converter = tensorflow.lite.TFLiteConverter.from_saved_model(saved)
  if precision != 'float32':
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
  if precision == 'float16':
    converter.target_spec.supported_types = [tf.float16]
  return converter.convert()


def _WriteSavedModel(graph, folder):
  """Writes a frozen graph as a SavedModel with one signature, which the names of inputs and outputs need."""
  with tf.Graph().as_default() as imported, tf.Session(graph=imported) as sess:
    tf.import_graph_def(graph.graph_def, name='')

    def _Infos(tensors):
      return {
        key: tf.tf1.saved_model.build_tensor_info(imported.get_tensor_by_name(x.name)) for key, x in tensors.items()
      }

    signature = tf.tf1.saved_model.build_signature_def(
      _Infos(graph.inputs), _Infos(graph.outputs), tf.tf1.saved_model.PREDICT_METHOD_NAME
    )
    builder = tf.tf1.saved_model.Builder(folder)
    builder.add_meta_graph_and_variables(
      sess, [tf.tf1.saved_model.SERVING], {tf.tf1.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature}
    )
    builder.save()


def ToOnnx(graph: step_graphs.StepGraph, precision: str, examples: Examples = ()) -> bytes:
  """Returns an ONNX model.

  Args:
    graph: The graph.
    precision: One of PRECISIONS.
    examples: Inputs by name to calibrate int8 with; empty: dynamic.
  """
  import onnx
  import tf2onnx

  model, _ = tf2onnx.convert.from_graph_def(
    graph.graph_def,
    input_names=[x.name for x in graph.inputs.values()],
    output_names=[x.name for x in graph.outputs.values()],
    opset=_OPSET,
  )
  names = {x.name: key for key, x in {**graph.inputs, **graph.outputs}.items()}
  _Rename(model.graph, names)
  onnx.checker.check_model(model)
  if precision == 'float16':
    from onnxruntime.transformers import float16

    model = float16.convert_float_to_float16(model, keep_io_types=True)
  elif precision == 'int8':
    return _QuantizedOnnx(model, examples)
  return model.SerializeToString()


def _Rename(onnx_graph, names):
  """Gives inputs and outputs the names of the signature."""
  for value in [*onnx_graph.input, *onnx_graph.output]:
    value.name = names.get(value.name, value.name)
  for node in onnx_graph.node:
    node.input[:] = [names.get(x, x) for x in node.input]
    node.output[:] = [names.get(x, x) for x in node.output]


def _QuantizedOnnx(model, examples):
  import onnx
  from onnxruntime import quantization

  class _Reader(quantization.CalibrationDataReader):
    def __init__(self):
      self._left = iter(examples)

    def get_next(self):
      return next(self._left, None)

  with tempfile.TemporaryDirectory() as folder:
    source, target = os.path.join(folder, 'float.onnx'), os.path.join(folder, 'int8.onnx')
    onnx.save(model, source)
    if examples:
      quantization.quantize_static(source, target, _Reader(), op_types_to_quantize=['MatMul', 'Gemm', 'Conv'])
    else:
      quantization.quantize_dynamic(source, target, op_types_to_quantize=['MatMul', 'Gemm'])
    with open(target, 'rb') as f:
      return f.read()
