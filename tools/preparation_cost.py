"""Measures the speed and memory of data preparation over many hours of audio.

  python -m tools.preparation_cost --hours=100 --workers=2 --folder=/scratch/preparation

It writes recordings of about 12 s, FLAC at 16 kHz like LibriSpeech's, from the speech of a data set, and a manifest
that repeats them until it has the hours. Then it runs tools.prepare_data on the manifest and samples the memory of all
processes and the sizes of the shards. It prints a table with a row for each tenth of the hours and writes
docs/results/preparation.json. The data, 115 MB per hour, is removed at the end. Exit code 1: the preparation failed or
lost utterances; 2: wrong usage; 130: Ctrl-C.
"""

import os
import shlex
import shutil
import sys
import tempfile

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from .bench import preparation
from .bench import results
from .bench import tables
from .common import command_line
from .common import exit_codes
from .common import flag_types

_MODES = ('multi_threading', 'multi_processing')


def _CheckArgs(args):
  """Raises errors.ConfigError if a number is not positive or the disk has too little space for the data."""
  for name in ('hours', 'workers', 'num_shards', 'recordings'):
    if getattr(args, name) <= 0:
      raise errors.ConfigError(f'--{name}={getattr(args, name)}: expected > 0')
  needed, free = args.hours * preparation.BYTES_PER_HOUR / 2**30, shutil.disk_usage(args.folder).free / 2**30
  if needed > min(free, args.disk_limit_gb):
    raise errors.ConfigError(
      f'--hours={args.hours:g}: {needed:.1f} GB needed in {args.folder}, {free:.1f} free, '
      f'--disk_limit_gb={args.disk_limit_gb:g}'
    )


def Main(argv: list[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('preparation_cost', __doc__)
  parser.add_argument('--hours', type=float, default=100.0, help='of audio (default: 100)')
  parser.add_argument('--workers', type=int, default=2, help="workers of Beam's DirectRunner (default: 2)")
  parser.add_argument('--mode', choices=_MODES, default=_MODES[0], help=f'how workers run (default: {_MODES[0]})')
  parser.add_argument('--num_shards', type=int, default=64, help='shards of the train set (default: 64)')
  parser.add_argument(
    '--source',
    type=file_system.ExpandUser,
    default='data/recipe/target',
    help='data set that the speech is taken from (default: data/recipe/target)',
  )
  parser.add_argument(
    '--recordings', type=int, default=100, help='at most this many distinct recordings (default: 100)'
  )
  parser.add_argument(
    '--folder',
    type=flag_types.LocalPath,
    default=tempfile.gettempdir(),
    help='folder for the temporary data (default: %(default)s)',
  )
  parser.add_argument('--disk_limit_gb', type=float, default=25.0, help='refuse to use more disk space (default: 25)')
  parser.add_argument(
    '--output',
    type=flag_types.LocalPath,
    default=results.Path('preparation'),
    help='default: docs/results/preparation.json',
  )
  args = parser.parse_args(argv[1:])

  def _Run():
    os.makedirs(args.folder, exist_ok=True)
    _CheckArgs(args)
    # Read the commit before the measurement: the code may change during a long one.
    origin = results.Origin(shlex.join(['python', '-m', 'tools.preparation_cost', *argv[1:]]))
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
      figures = preparation.Measure(args, folder)
    rows = [
      {'name': name, 'label': label, 'value': float(f'{value:.4g}'), 'unit': unit, **origin}
      for name, label, value, unit in figures
    ]
    print(tables.Table(results.Write(args.output, 'figures', rows)))

  return exit_codes.Report('preparation_cost', _Run)


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
