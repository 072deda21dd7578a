"""Errors of command lines are a line with the nearest name, in every tool that uses argparse."""

import contextlib
import glob
import io
import os

from absl.testing import absltest
from absl.testing import parameterized

from tools.common import command_line

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_OWN = {
  'tools/setup_env.py',  # Runs where nothing is installed yet,
  'tools/bench/peers/train_speechbrain.py',  # and where fm_lingvo is not.
  'tools/prepare_data.py',  # Its flags are absl's; those of importers are parsed with their own errors.
}


def _Parser():
  parser = command_line.Parser('tool', 'What it does.\n\n  python -m tools.tool --format=json')
  parser.add_argument('--format', choices=('text', 'json'))
  parser.add_argument('--worst', type=int)
  parser.add_argument('run')
  return parser


class ParserTest(parameterized.TestCase):
  @parameterized.parameters(
    ('run --wrost=3', 'unrecognized arguments: --wrost=3; did you mean --worst?'),
    ('run --xyz=3', 'unrecognized arguments: --xyz=3; --help lists all'),
    ('run --note=3', 'unrecognized arguments: --note=3; --help lists all'),
    ('run b', 'unrecognized arguments: b; --help lists all'),
    ('', 'the following arguments are required: run; --help lists all'),
    (
      'run --format=jsn',
      "argument --format: invalid choice: 'jsn' (choose from 'text', 'json'); did you mean json?",
    ),
    ('run --worst=x', "argument --worst: invalid int value: 'x'"),
  )
  def test_an_error_is_one_line(self, arguments, message):
    with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit) as raised:
      _Parser().parse_args(arguments.split())
    self.assertEqual((raised.exception.code, err.getvalue()), (2, f'tool: {message}\n'))

  def test_commands_of_a_tool_are_parsed_as_itself(self):
    parser = command_line.Parser('tool')
    parser.add_subparsers(dest='command').add_parser('list')
    with contextlib.redirect_stderr(io.StringIO()) as err, self.assertRaises(SystemExit):
      parser.parse_args(['lst'])
    self.assertRegex(err.getvalue(), "^tool: argument command: invalid choice: 'lst' .*; did you mean list[?]\n$")

  def test_help_shows_the_docstring_as_it_is(self):
    self.assertIn('\n  python -m tools.tool --format=json\n', _Parser().format_help())

  def test_every_tool_uses_it(self):
    for path in glob.glob(os.path.join(_ROOT, 'tools', '**', '*.py'), recursive=True):
      name = os.path.relpath(path, _ROOT)
      with open(path, encoding='utf-8') as f:
        if name not in _OWN and '= argparse.ArgumentParser(' in f.read():
          self.fail(f'{name}: expected command_line.Parser')


if __name__ == '__main__':
  absltest.main()
