"""The formats tflite and onnx: encoder and decoder steps as files that run without this project."""

import json
import os
import shlex
from typing import Any

import numpy as np

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

FORMATS = ('tflite', 'onnx')
_MEASURED = 'measured.json'
_CALIBRATION = 100  # Utterances to calibrate with, at most.


def Run(run: Any, args: Any) -> None:
  """Exports, measures and reports.

  Args:
    run: What load_run.Load returns.
    args: Flags of tools.export.
  """
  from fm_lingvo.inference import outside
  from fm_lingvo.inference import step_graphs

  from . import utterances

  if args.calibrate and args.quantize != 'int8':
    raise errors.ConfigError(f'--calibrate={args.calibrate}: only with --quantize=int8')
  file_system.CheckNewFolder(args.output)
  # Before minutes of work.
  scored = isinstance(args.measure, str)
  tested = utterances.Read(run, '--measure', args.measure, args.data_dir, args.utterances) if scored else []
  settings = step_graphs.FeatureSettings(run)
  examples = _Examples(run, args, settings)
  with errors.Writing(f'--output={args.output}'):
    os.makedirs(args.output, exist_ok=True)
  files, inputs = {}, {}
  for graph in step_graphs.Build(run):
    files[graph.name] = f'{graph.name}.{args.format}'
    inputs[graph.name] = graph.inputs
    converted = _Convert(graph, args, examples)
    with errors.Writing(f'--output={args.output}'), open(os.path.join(args.output, files[graph.name]), 'wb') as f:
      f.write(converted)
  about = _About(run, args, files, inputs, settings, len(examples))
  with errors.Writing(f'--output={args.output}'):
    _WriteJson(os.path.join(args.output, outside.GRAPHS), about)
  size = sum(os.path.getsize(os.path.join(args.output, name)) for name in files.values())
  print(f'{args.output}: {size / 1e6:.2f} MB, {", ".join(files.values())}, {about["precision"]}', flush=True)
  if args.measure is not False:
    _Measure(run, args, tested, scored, size)


def _Examples(run, args, settings):
  """Returns list of dict(features [1, frames, bins], lengths int32 [1]) of the utterances to calibrate with."""
  from fm_lingvo.inference import outside

  from . import utterances

  if not args.calibrate:
    return []
  examples = []
  for utterance in utterances.Read(run, '--calibrate', args.calibrate, args.data_dir, _CALIBRATION):
    features = outside.Features(utterance.waveform, settings)[np.newaxis]
    examples.append({'features': features, 'lengths': np.array(features.shape[1:2], np.int32)})
  return examples


def _Convert(graph, args, examples):
  """Returns the bytes of a step_graphs graph in the format of --format; RunError: the converter refuses it."""
  from . import convert

  precision = args.quantize or 'float32'
  try:
    if args.format == 'tflite':
      return convert.ToTflite(graph, precision)
    return convert.ToOnnx(graph, precision, examples if graph.name == 'encoder' else ())
  except Exception as e:  # Of many kinds: each converter has its own.
    raise errors.RunError(
      f'--format={args.format}: the converter refuses the graph {graph.name} ({type(e).__name__}: '
      f'{errors.Reason(e)}); saved_model and safetensors take every model'
    ) from e


def _About(run, args, files, inputs, settings, calibrated_on):
  """Returns what a program needs to run the graphs, as outside.Model reads it.

  Args:
    run: What load_run.Load returns.
    args: The flags.
    files: dict: name of a graph -> its file.
    inputs: dict: name of a graph -> dict of its inputs.
    settings: Of the features; see step_graphs.FeatureSettings.
    calibrated_on: Number of utterances.
  """
  head = run.params.heads.Get(run.head)
  about: dict[str, Any] = {
    'format': args.format,
    'precision': args.quantize or 'float32',
    'calibrated_on': calibrated_on,
    'model': run.model_name,
    'adapter': run.adapter,
    'graphs': files,
    'features': settings,
    'state': {k: x.shape.as_list()[1:] for k, x in inputs.get('prediction', {}).items() if k != 'label'},
    'surfaces': [surface.hex() for surface in _Tokenizer(head).surfaces],
  }
  if 'joint' in files:
    about['search'] = {
      'max_symbols_per_frame': head.max_symbols_per_frame,
      'max_labels_per_frame': min(head.max_labels_per_frame, head.max_symbols_per_frame),
    }
  return about


def _Measure(run, args, tested, scored, size):
  """Compares the exported model with the run's, and writes the figures beside the graphs."""
  from fm_lingvo.inference import outside

  from . import measure

  exported = outside.Model(args.output)
  part = f'{args.format} {args.quantize or "float32"}' + (', calibrated' if args.calibrate else '')
  utterances = tested or measure.Noise()
  result = measure.Report(args, run, lambda waveform: exported.Recognize(waveform)[0], size, utterances, scored, part)
  result['command'] = shlex.join(['fm-export', *args.given])
  with errors.Writing(f'--output={args.output}'):
    _WriteJson(os.path.join(args.output, _MEASURED), result)


def _Tokenizer(head):
  from fm_lingvo.data import tokenizer

  return tokenizer.Tokenizer(head.tokenizer_file)


def _WriteJson(path, value):
  with open(path, 'w', encoding='utf-8') as f:
    f.write(json.dumps(value, indent=2) + '\n')
