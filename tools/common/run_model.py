"""The model that a tool's flags name."""

import argparse
import os
from typing import Any

from fm_lingvo.config import user_modules
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import api
from fm_lingvo.inference import starting


def Load(args: argparse.Namespace, run: str | os.PathLike[str], **options: Any) -> api.Model:
  """Imports the modules of --import_module, then loads a run.

  Args:
    args: Flags of run_flags.AddAdapter and AddWeights, search_options.AddFlags and user_modules.AddFlag.
    run: See fm_lingvo.load.
    **options: Further arguments of fm_lingvo.load.

  Raises:
    errors.ConfigError: See fm_lingvo.load and user_modules.Import.
  """
  if args.import_module:
    starting.ImportLingvo()  # The user's modules import it, too.
    user_modules.Import(args.import_module)
  return api.load(
    run,
    adapter=args.adapter,
    checkpoint=args.checkpoint,
    averages=args.averages,
    search=search_options.FromArgs(args),
    **options,
  )
