"""Peak memory of one forward and backward pass of an encoder, with and without remat.

  python -m tools.step_memory
  python -m tools.step_memory --size=base --utterances=8 --seconds=16 --output=memory.json

measures, each in a process of its own, a pass over a batch with gradients of all weights (no optimizer), prints a table
and writes docs/results/step_memory.json. `remat` recomputes each block in the backward pass. Exit code 2: a pass
failed, or wrong usage, said in one line.
"""

import argparse
import os
import sys

from fm_lingvo import errors

from . import cost_table
from . import encoder_cost
from .common import exit_codes


def Measure(args, command):
  """Rows with and without remat; prints and writes each as it comes."""
  if min(args.utterances, args.seconds) < 1:
    raise errors.ConfigError('--utterances and --seconds: expected >= 1')
  rows = []
  for remat in (True, False):
    label = 'with remat' if remat else 'without remat'
    what = encoder_cost.Pass(
      size=args.size, audio_seconds=args.seconds, utterances=args.utterances, remat=remat, backward=True, warm=False
    )
    measured = encoder_cost.Measure(what, args.memory_limit_gb, args.time_limit_seconds)
    name = f'`{args.size}`, {args.utterances} x {args.seconds} s, forward and backward'
    rows.append(cost_table.Row(name, label, what, measured, command))
    cost_table.Write(args.output, rows)
    print(f'{label}: {measured}', file=sys.stderr, flush=True)
  return rows


def Main(argv):
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='step_memory', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--size', default='paper', help='file of sizes, params/gin/SIZE.gin (default: paper)')
  parser.add_argument('--utterances', type=int, default=2, help='in the batch (default: 2)')
  parser.add_argument('--seconds', type=int, default=16, help='of each utterance (default: 16)')
  parser.add_argument(
    '--output',
    default=os.path.join(encoder_cost.ROOT, 'docs', 'results', 'step_memory.json'),
    metavar='FILE',
    help='default: docs/results/step_memory.json',
  )
  encoder_cost.AddLimits(parser)
  args = parser.parse_args(argv[1:])
  return exit_codes.Report(
    'step_memory', lambda: print(cost_table.Table({'rows': Measure(args, ['step_memory', *argv[1:]])}))
  )


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
