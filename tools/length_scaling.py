"""How an encoder's time and memory grow with the length of the audio, by kind of attention.

  python -m tools.length_scaling
  python -m tools.length_scaling --size=small --seconds=10,60 --attention=full --output=scaling.json

measures one pass over one utterance for every length and attention, each in a process of its own, prints a table and
writes docs/results/length_scaling.json. A pass beyond a limit is stopped, and the table says so: `full` attention
compares every frame with every other. `chunk-wise` attends within chunks of 8 s, `streaming` to the 5.1 s before
each frame (params/gin/streaming.gin). Exit code 2: a pass failed, said in one line.
"""

import argparse
import os
import sys

from . import cost_table
from . import encoder_cost
from .common import exit_codes


def Measure(args, command):
  """Rows of all passes; prints and writes each as it comes, for a long measurement may be stopped."""
  rows = []
  for seconds in args.seconds:
    for attention in args.attention:
      what = encoder_cost.Pass(size=args.size, audio_seconds=seconds, attention=attention, backward=args.backward)
      measured = encoder_cost.Measure(what, args.memory_limit_gb, args.time_limit_seconds)
      rows.append(cost_table.Row(f'{seconds} s', attention, what, measured, command))
      cost_table.Write(args.output, rows)
      print(f'{attention}, {seconds} s: {measured}', file=sys.stderr, flush=True)
  return rows


def _Seconds(text):
  values = [int(v) for v in text.split(',')]
  if min(values) < 1:
    raise ValueError(text)
  return values


def _Attentions(text):
  values = text.split(',')
  if not set(values) <= set(encoder_cost.ATTENTIONS):
    raise argparse.ArgumentTypeError(f'{text!r}: expected some of {", ".join(encoder_cost.ATTENTIONS)}')
  return values


def Main(argv):
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='length_scaling', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--size', default='small', help='file of sizes, params/gin/SIZE.gin (default: small)')
  parser.add_argument(
    '--seconds',
    type=_Seconds,
    default=[10, 30, 60, 120, 300, 600],
    metavar='S,S,...',
    help='lengths of the audio (default: 10,30,60,120,300,600)',
  )
  parser.add_argument(
    '--attention',
    type=_Attentions,
    default=list(encoder_cost.ATTENTIONS),
    metavar='A,A,...',
    help=f'some of {", ".join(encoder_cost.ATTENTIONS)} (default: all)',
  )
  parser.add_argument('--backward', action='store_true', help='forward and backward, not forward alone')
  parser.add_argument(
    '--output',
    default=os.path.join(encoder_cost.ROOT, 'docs', 'results', 'length_scaling.json'),
    metavar='FILE',
    help='default: docs/results/length_scaling.json',
  )
  encoder_cost.AddLimits(parser)
  args = parser.parse_args(argv[1:])
  return exit_codes.Report(
    'length_scaling', lambda: print(cost_table.Table({'rows': Measure(args, ['length_scaling', *argv[1:]])}))
  )


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
