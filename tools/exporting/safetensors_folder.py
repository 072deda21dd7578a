"""The format safetensors: a folder that fm_lingvo.load, the tools and init_from take in the place of a run's."""

import os
from typing import Any

from fm_lingvo import errors


def Run(run: Any, args: Any) -> None:
  """Exports, measures and reports.

  Args:
    run: What load_run.Load returns.
    args: Flags of tools.export.
  """
  from fm_lingvo.inference import portable

  if args.quantize == 'int8':
    raise errors.ConfigError('--quantize=int8: not with --format=safetensors; expected float16')
  if args.adapter_only and args.merge:
    raise errors.ConfigError('--adapter_only: not with --merge, which leaves no adapters')
  if isinstance(args.measure, str) and args.adapter_only:
    raise errors.ConfigError(f'--measure={args.measure}: not with --adapter_only; measure the run itself')
  if isinstance(args.measure, str):
    from . import utterances

    tested = utterances.Read(run, '--measure', args.measure, args.data_dir, args.utterances)
  options = portable.Options(
    adapter_only=args.adapter_only, merge=args.merge, float16=args.quantize == 'float16', licenses=tuple(args.license)
  )
  config = portable.Write(run, args.output, options)
  size = sum(os.path.getsize(os.path.join(args.output, name)) for name in os.listdir(args.output))
  print(
    f'{args.output}: {size / 1e6:.2f} MB, {run.model_name}, {sum(config["parameters"].values()):,} values in '
    f'{config["stored"]}'
  )
  if 'largest_difference' in config:
    print(f'a weight differs by at most {config["largest_difference"]:.1e} of the largest in its array')
  if config.get('only_adapters'):
    print(f'adapters {run.adapter} of the encoder with sha256 {config["encoder_sha256"][:12]}')
  if isinstance(args.measure, str):
    from fm_lingvo.decoding import search_options
    from fm_lingvo.inference import load_run

    from . import measure

    exported = measure.Recognizing(load_run.Load(args.output, how=search_options.FromArgs(args)))
    measure.Report(args, run, exported, size, tested, True, f'safetensors {args.quantize or "float32"}')
