"""Lists, extracts, injects and removes adapters, with or without their decoder.

  python -m tools.adapters list RUN
  python -m tools.adapters extract RUN --adapter=target --decoder --output=target.ckpt
  python -m tools.adapters inject target.ckpt RUN --output=adapted.ckpt
  python -m tools.adapters remove RUN --adapter=target --output=plain.ckpt

RUN is the folder of a run, whose best checkpoint is read, or the newest if it keeps no best ones; or a checkpoint's
prefix. The outputs are TensorFlow checkpoints, OUTPUT.index and OUTPUT.data-00000-of-00001. No file is changed in
place, and all values are copied bit by bit. The checkpoints of inject and remove hold weights and the step, but no
optimizer slots: use them for evaluation or as `init_from` of a new run. Exit code 1: the output cannot be written; 2:
wrong usage, run or checkpoint; each with a one-line message.
"""

import sys

from fm_lingvo.runtime import quiet
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('adapters', __doc__)
  commands = parser.add_subparsers(dest='command', required=True)

  def _Command(name, description, *positional):
    command = commands.add_parser(name, help=description, description=description)
    for argument in positional:
      command.add_argument(argument.lower(), type=file_system.ExpandUser, metavar=argument)
    if name in ('extract', 'remove'):
      command.add_argument('--adapter', required=True, metavar='NAME', help='name of the adapters')
    if name != 'list':
      command.add_argument(
        '--output', type=file_system.ExpandUser, required=True, metavar='PREFIX', help='checkpoint to write'
      )
    return command

  _Command('list', 'show the adapters and decoders in a checkpoint', 'RUN')
  _Command('extract', 'write adapters to a small checkpoint', 'RUN').add_argument(
    '--decoder', action='store_true', help="include the decoder and the tokenizer's record"
  )
  command = _Command('inject', 'write a checkpoint of RUN with the adapters in FILE', 'FILE', 'RUN')
  command.add_argument('--name', default=None, help='new name of the adapters (default: as in FILE)')
  command.add_argument(
    '--any_encoder', action='store_true', help='add adapters even if they were trained on another encoder'
  )
  command.add_argument(
    '--replace_decoder',
    action='store_true',
    help='replace the decoder even if other adapters in RUN were trained with it',
  )
  _Command('remove', 'write a checkpoint of RUN without some adapters', 'RUN')
  args = parser.parse_args((argv or sys.argv)[1:])
  return exit_codes.Report('adapters', lambda: print('\n'.join(_Run(args))))


def _Run(args):
  """Runs a command; returns lines to print."""
  with quiet.Imports():  # TensorFlow, which --help does not need.
    from .common import adapter_sets
  if args.command == 'list':
    return adapter_sets.List(args.run)
  if args.command == 'extract':
    return adapter_sets.Extract(args.run, args.adapter, args.output, args.decoder)
  if args.command == 'inject':
    return adapter_sets.Inject(args.file, args.run, args.output, args.name, args.any_encoder, args.replace_decoder)
  return adapter_sets.Remove(args.run, args.adapter, args.output)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
