"""Averages a run's newest checkpoints into one.

  python -m tools.average_checkpoints RUN --last=3 --output=averaged.ckpt
  python -m tools.transcribe RUN AUDIO --checkpoint=averaged.ckpt

RUN is a run's folder, which keeps task.train.save_max_to_keep checkpoints. If the run kept moving averages
(task.train.ema_decay), these are averaged. The output holds weights and the step, but no optimizer slots; `init_from`,
tools.transcribe and tools.export accept it. Exit code 1: the output cannot be written; 2: wrong usage, run or
checkpoint; each with a one-line message.
"""

import os
import sys

import numpy as np

from fm_lingvo import errors
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes

_MOST = 5


def Average(run, last, output):
  """Writes the mean of a run's newest checkpoints.

  Args:
    run: Folder of the run.
    last: Number of checkpoints to average; None: at most 5.
    output: Prefix of the checkpoint to write.

  Returns:
    List of lines to print.

  Raises:
    errors.ConfigError: There are fewer checkpoints, or they do not hold the same weights.
    errors.RunError: The output cannot be written.
  """
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from fm_lingvo.checkpoints import reader
    from fm_lingvo.checkpoints import run_checkpoints

    from .common import checkpoint_files
  folder = os.path.join(run, 'train')  # Also of a run that keeps best checkpoints, which Resolve would choose.
  if not run_checkpoints.Newest(folder):
    folder = os.path.dirname(reader.Resolve(run))
  prefixes = sorted(run_checkpoints.Prefixes(folder), key=run_checkpoints.Step)
  last = min(_MOST, len(prefixes)) if last is None else last
  if not 1 <= last <= len(prefixes):
    raise errors.ConfigError(f'--last={last}: expected 1 to {len(prefixes)}, the checkpoints of {run}')
  newest = [reader.Checkpoint(p) for p in prefixes[-last:]]
  base = newest[-1]
  for other in newest[:-1]:
    if other.weights != base.weights:
      raise errors.ConfigError(f'{other.prefix}: other weights, or of other shapes, than in {base.prefix}')
  values = {name: _Mean(name, newest) for name in base.weights}
  checkpoint_files.AddStep(base, values)
  checkpoint_files.Write(values, output)
  names = ', '.join(os.path.basename(c.prefix) for c in newest)
  return [f'wrote {output}: the mean of {names}, {len(base.weights)} variables']


def _Mean(name, read):
  """Returns the mean of a variable over the Checkpoints `read`; equal values, such as records, are kept bit by bit."""
  values = [c.Read(name) for c in read]
  if all(np.array_equal(v, values[0]) for v in values):
    return values[0]
  return np.mean(values, axis=0, dtype=np.float64).astype(values[0].dtype)


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('average_checkpoints', __doc__)
  parser.add_argument('run', type=file_system.ExpandUser, metavar='RUN', help='folder of the run')
  parser.add_argument(
    '--last', type=int, help=f'number of newest checkpoints to average (default: {_MOST}, or all if there are fewer)'
  )
  parser.add_argument(
    '--output', type=file_system.ExpandUser, required=True, metavar='PREFIX', help='checkpoint to write'
  )
  args = parser.parse_args((argv or sys.argv)[1:])
  return exit_codes.Report('average_checkpoints', lambda: print('\n'.join(Average(args.run, args.last, args.output))))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
