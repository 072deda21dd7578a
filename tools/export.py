"""Exports a trained run: as a SavedModel, as files of weights that travel, for TensorFlow Lite or for ONNX.

  python -m tools.export runs/AdapterFinetune-... --output=exported --adapter=target
  python -m tools.export runs/AdapterFinetune-... --format=safetensors --output=model
  python -m tools.export runs/AdapterFinetune-... --format=safetensors --adapter_only --output=target
  python -m tools.export runs/AdapterFinetune-... --format=tflite --quantize=int8 --measure=TestTarget --output=small

saved_model: waveforms in, texts out, plain TensorFlow; OUTPUT/HOW_TO_CALL.txt says how to call it. safetensors: a
folder that fm_lingvo.load, the tools and init_from take in the place of RUN; with --adapter_only the adapters and the
decoder alone, with --merge adapters of the kinds lora and bias made part of the weights. tflite, onnx: log-mel features
in, encoded frames out, and the steps of the decoder, for a search outside (fm_lingvo/inference/outside.py).

The export is measured: on noise, or on a data set of the run with --measure=DATASET. The real-time factor is the
processing time divided by the duration of the audio; below 1 is faster than real time.
Exit code 1: the model cannot be written, or does not run; 2: wrong usage, run or checkpoint; 130: Ctrl-C.
"""

import sys

from fm_lingvo import errors
from fm_lingvo.config import user_modules
from fm_lingvo.data import normalizers
from fm_lingvo.decoding import search_options
from fm_lingvo.runtime import quiet

from .common import command_line
from .common import exit_codes
from .common import flag_types
from .common import run_flags
from .exporting import graphs
from .exporting import safetensors_folder
from .exporting import saved_model
from .figures import kept_figures

_FORMATS = {
  'saved_model': saved_model.Run,
  'safetensors': safetensors_folder.Run,
  **dict.fromkeys(graphs.FORMATS, graphs.Run),
}
# Flag -> the formats that it is for.
_ONLY = {
  'adapter_only': ('safetensors',),
  'merge': ('safetensors',),
  'quantize': ('safetensors', *graphs.FORMATS),
  'add': ('safetensors', *graphs.FORMATS),
  'calibrate': ('onnx',),  # TensorFlow Lite's interpreter aborts on calibrated models whose shapes vary.
}


def _Run(args):
  """Loads the run and exports it."""
  for flag, formats in _ONLY.items():
    if getattr(args, flag) and args.format not in formats:
      raise errors.ConfigError(f'--{flag}: not with --format={args.format}; expected {" or ".join(formats)}')
  kept_figures.Start('export', args)
  if args.license and args.format != 'safetensors':
    raise errors.ConfigError('--license: expected --format=safetensors, which has a card')
  if args.language is not None:
    normalizers.CheckLanguage(args.language, '--language')
  if args.utterances is not None and args.utterances < 1:
    raise errors.ConfigError(f'--utterances={args.utterances}: expected >= 1')
  if args.utterances is not None and not isinstance(args.measure, str):
    raise errors.ConfigError(f'--utterances={args.utterances}: expected --measure=DATASET with it')
  if args.data_dir and not isinstance(args.measure, str) and not args.calibrate:
    raise errors.ConfigError(f'--data_dir={args.data_dir}: expected --measure=DATASET or --calibrate=DATASET with it')
  if args.add and not isinstance(args.measure, str):
    raise errors.ConfigError('--add: expected --measure=DATASET with it')
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from fm_lingvo.inference import graph_mode
    from fm_lingvo.inference import load_run
  graph_mode.Start()
  user_modules.Import(args.import_module)
  run = load_run.Load(
    args.run,
    checkpoint=args.checkpoint,
    adapter=args.adapter,
    averages=args.averages,
    how=search_options.FromArgs(args),
    language=args.language,
  )
  _FORMATS[args.format](run, args)


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('export', __doc__)
  parser.add_argument(
    'run',
    type=run_flags.RunFolder,
    metavar='RUN',
    help='folder of a run with a transducer or CTC head, or one that --format=safetensors wrote',
  )
  parser.add_argument('--output', type=flag_types.LocalPath, required=True, help='folder to write; new or empty')
  parser.add_argument('--format', choices=_FORMATS, default='saved_model', help='default: saved_model')
  run_flags.AddAdapter(parser)
  parser.add_argument('--adapter_only', action='store_true', help='write the adapters and the decoder alone')
  parser.add_argument('--merge', action='store_true', help='merge adapters of the kinds lora and bias into the weights')
  parser.add_argument(
    '--quantize', choices=('float16', 'int8'), help='number type of the stored weights; int8 for tflite and onnx only'
  )
  parser.add_argument(
    '--calibrate',
    metavar='DATASET',
    help='data set from whose speech int8 takes the ranges of activations; for onnx only',
  )
  parser.add_argument(
    '--license',
    action='append',
    default=[],
    metavar='"CORPUS: LICENCE"',
    help='with --format=safetensors: of a corpus that the model was trained on, for its card; repeatable',
  )
  run_flags.AddWeights(parser)
  run_flags.AddLanguage(parser)
  run_flags.AddDataDir(parser)
  search_options.AddFlags(parser)
  user_modules.AddFlag(parser)
  parser.add_argument(
    '--measure',
    nargs='?',
    metavar='DATASET',
    const=True,
    default=True,
    help='measure it, on a data set of the run such as TestTarget beside the run itself (default: on noise; '
    'safetensors: not measured)',
  )
  parser.add_argument('--no-measure', action='store_const', const=False, dest='measure', help='do not measure it')
  parser.add_argument('--utterances', type=int, metavar='N', help='utterances to measure with, at most (default: all)')
  kept_figures.AddFlags(parser)
  given = (argv or sys.argv)[1:]
  args = parser.parse_args(given)
  args.given = given
  return exit_codes.Report('export', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
