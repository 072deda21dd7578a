"""Measures how an encoder's time and memory grow with the length of the audio, for each kind of attention.

  python -m tools.length_scaling
  python -m tools.length_scaling --size=small --seconds=10,60 --attention=full --output=scaling.json

It measures a pass over one utterance for each length and kind of attention, each in a separate process, prints a table
and writes docs/results/length_scaling.json. A pass that exceeds a limit is stopped and marked in the table. `full`
attention compares every frame with every other; `chunk-wise` attends within chunks of 8 s, `streaming` to the 5.1 s
before each frame (the knob streaming). Exit code 2: a pass failed, with a one-line message.
"""

import argparse
import sys

from .bench import encoder_pass
from .common import command_line
from .common import exit_codes
from .common import flag_types


def _Attentions(text):
  values = text.split(',')
  if not set(values) <= set(encoder_pass.ATTENTIONS):
    raise argparse.ArgumentTypeError(f'{text!r}: expected some of {", ".join(encoder_pass.ATTENTIONS)}')
  return values


def Main(argv: list[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('length_scaling', __doc__)
  encoder_pass.AddFlags(parser, 'small', 'length_scaling')
  parser.add_argument(
    '--seconds',
    type=flag_types.Numbers(int),
    default=[10, 30, 60, 120, 300, 600],
    metavar='S,S,...',
    help='lengths of the audio (default: 10,30,60,120,300,600)',
  )
  parser.add_argument(
    '--attention',
    type=_Attentions,
    default=list(encoder_pass.ATTENTIONS),
    metavar='A,A,...',
    help=f'some of {", ".join(encoder_pass.ATTENTIONS)} (default: all)',
  )
  parser.add_argument('--backward', action='store_true', help='measure forward and backward, not only forward')
  args = parser.parse_args(argv[1:])
  passes = [
    (f'{seconds} s', attention, encoder_pass.Pass(args.size, seconds, attention=attention, backward=args.backward))
    for seconds in args.seconds
    for attention in args.attention
  ]
  return exit_codes.Report(
    'length_scaling', lambda: encoder_pass.MeasureAll(passes, args, ['length_scaling', *argv[1:]])
  )


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
