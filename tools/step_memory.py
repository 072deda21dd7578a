"""Measures the peak memory of an encoder's forward and backward pass, with and without remat.

  python -m tools.step_memory
  python -m tools.step_memory --size=base --utterances=8 --seconds=16 --output=memory.json

It measures a pass over a batch with gradients of all weights but without an optimizer, each in a separate process,
prints a table and writes docs/results/step_memory.json. `remat` recomputes each block in the backward pass. Exit code
2: a pass failed, or wrong usage, with a one-line message.
"""

import sys

from fm_lingvo import errors

from .bench import encoder_pass
from .common import command_line
from .common import exit_codes


def Main(argv: list[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('step_memory', __doc__)
  encoder_pass.AddFlags(parser, 'paper', 'step_memory')
  parser.add_argument('--utterances', type=int, default=2, help='utterances in the batch (default: 2)')
  parser.add_argument('--seconds', type=int, default=16, help='seconds per utterance (default: 16)')
  args = parser.parse_args(argv[1:])

  def _Run():
    if min(args.utterances, args.seconds) < 1:
      raise errors.ConfigError('--utterances and --seconds: expected >= 1')
    name = f'`{args.size}`, {args.utterances} x {args.seconds} s, forward and backward'
    encoder_pass.MeasureAll(
      [
        (
          name,
          label,
          encoder_pass.Pass(args.size, args.seconds, args.utterances, remat=remat, backward=True, warm=False),
        )
        for label, remat in (('with remat', True), ('without remat', False))
      ],
      args,
      ['step_memory', *argv[1:]],
    )

  return exit_codes.Report('step_memory', _Run)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
