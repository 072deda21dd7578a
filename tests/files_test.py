"""Paths that the user gives: `~` is the home folder, wherever a path enters."""

import argparse
import glob
import importlib
import inspect
import os
import sys
import tempfile
from unittest import mock

from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.config import gin_reader
from fm_lingvo.config import user_modules
from fm_lingvo.utils import files
from tools.cluster import plan
from tools.common import flag_types

_TOOLS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'tools')

# Text flags of the tools that are no paths; every other one has type=ExpandUser. So a new flag is decided on.
_NOT_PATHS = frozenset(
  'adapter add allow_origin alphabet beside branch calibrate command commit datasets date device dispatcher '
  'evaluate flags host hosts image kind label language license measure memory metric mode model name names normalizer '
  'note result scheduler search seeds server_flags size take unit what'.split()
)
# (tool, flag) with commas between paths, for SplitPaths; None: all tools. user_modules.Import expands its modules, and
# serve the path in NAME=RUN.
_SEVERAL = {
  ('train_tokenizer', 'input'),
  ('train_lm', 'input'),
  ('lm_text', 'exclude'),
  ('serve', 'run'),
  (None, 'import_module'),
}


class _Parsed(Exception):
  """Ends a tool once its parser is complete."""


def _Parsers(main):
  """Returns the parser of a tool's Main and those of its commands."""
  parsers = []

  def Parse(parser, *unused):
    parsers.append(parser)
    raise _Parsed

  with mock.patch.object(argparse.ArgumentParser, 'parse_known_args', Parse):
    try:
      main(['tool'])
    except _Parsed:
      pass
  for action in parsers[0]._actions:
    if isinstance(action, argparse._SubParsersAction):
      parsers += action.choices.values()
  return parsers


def _Mains():
  """Yields (name, Main) of the tools with an argparse parser."""
  names = [os.path.basename(path)[: -len('.py')] for path in sorted(glob.glob(os.path.join(_TOOLS, '*.py')))]
  for name in [*names, 'recipe.__main__', 'recipe.data', 'bench.serve_load', 'bench.stream_latency']:
    module = importlib.import_module(f'tools.{name}')
    # Not setup_env, which has the standard library alone, nor prepare_data, whose flags are absl's.
    if (
      'Main' in vars(module)
      and {'argparse', 'command_line'} & vars(module).keys()
      and inspect.signature(module.Main).parameters
    ):
      yield name, module.Main


class FilesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.home = folder.name
    patch = mock.patch.dict(os.environ, {'HOME': self.home})
    patch.start()
    self.addCleanup(patch.stop)

  def _Write(self, name, text):
    with open(os.path.join(self.home, name), 'w', encoding='utf-8') as f:
      f.write(text)

  def test_a_leading_tilde_is_the_home_folder_and_nothing_else_changes(self):
    for path, expected in (
      ('~', self.home),
      ('~/data/a', f'{self.home}/data/a'),
      ('~no-such-user/a', '~no-such-user/a'),
      ('data/~/a', 'data/~/a'),
      ('', ''),
      ('-', '-'),
      ('gs://bucket/~/a', 'gs://bucket/~/a'),
    ):
      with self.subTest(path):
        self.assertEqual(files.ExpandUser(path), expected)
    self.assertEqual(files.SplitPaths('~/a,,b,~/c'), [f'{self.home}/a', 'b', f'{self.home}/c'])

  def test_folders_and_files_are_the_same_locally_and_remotely(self):
    for root in (os.path.join(self.home, 'x'), 'ram://files_test/x'):  # The second as TensorFlow reaches gs://.
      with self.subTest(root):
        files.MakeFolder(f'{root}/b/c')
        files.MakeFolder(f'{root}/b/c')
        with files.Replacing(f'{root}/b/a.txt') as f:
          f.write('old')
        with self.assertRaises(KeyError), files.Replacing(f'{root}/b/a.txt') as f:
          f.write('new')
          raise KeyError
        with files.Open(f'{root}/b/a.txt') as f:
          self.assertEqual(f.read(), 'old')
        self.assertEqual(files.List(f'{root}/b'), ['a.txt', 'c'])
        self.assertEqual(files.Glob(f'{root}/b/*.txt'), [f'{root}/b/a.txt'])
        self.assertEqual(files.Absolute(root), root)
        with self.assertRaisesRegex(errors.ConfigError, 'expected a new or an empty folder'):
          files.CheckNewFolder(f'{root}/b')
        files.Remove(f'{root}/b/a.txt')
        self.assertEqual(files.List(f'{root}/b'), ['c'])
        for _ in range(2):
          files.RemoveTree(root)
          self.assertFalse(files.IsFolder(root))

  def test_a_remote_path_is_refused_where_only_a_local_one_can_be_written(self):
    self.assertEqual(flag_types.LocalPath('~/a'), f'{self.home}/a')
    with self.assertRaisesRegex(argparse.ArgumentTypeError, '^gs://b/a: a remote path; expected a local one$'):
      flag_types.LocalPath('gs://b/a')
    found = {
      tool
      for tool, main in _Mains()
      for parser in _Parsers(main)
      for action in parser._actions
      if action.type is flag_types.LocalPath
    }
    self.assertContainsSubset({'transcribe', 'export', 'sweep', 'train_lm', 'recipe.__main__'}, found)

  def test_every_flag_of_a_tool_that_is_a_path_expands_it(self):
    for tool, main in _Mains():
      for parser in _Parsers(main):
        for action in parser._actions:
          is_text = action.nargs != 0 and not action.choices and action.type is None
          if is_text and action.dest not in _NOT_PATHS and not {(tool, action.dest), (None, action.dest)} & _SEVERAL:
            self.fail(f'tools/{tool}.py: {action.dest}: expected type=ExpandUser, or an entry in _NOT_PATHS')

  def test_every_flag_of_a_tool_says_what_it_is(self):
    for tool, main in _Mains():
      for parser in _Parsers(main):
        missing = [action.option_strings for action in parser._actions if action.option_strings and not action.help]
        self.assertEmpty(missing, f'tools/{tool}.py')

  def test_a_path_in_a_gin_value_is_expanded_wherever_it_stands(self):
    text = "X.data_dir = '~/data'\ntask.train.init_from_checkpoint_rules = {'~/run': ([('(.*)', '%s')], [])}\n"
    text += "input.file_pattern = ['~/a/*.txt', 'b~/*.txt']\nM = '~/x'\nX.lm = %M"
    rules = {f'{self.home}/run': ([('(.*)', '%s')], [])}
    self._Write('inner.gin', text)
    self._Write('outer.gin', "include '~/inner.gin'")
    argument = gin_reader.RewriteGinArgs(['trainer', '--gin.X.data_dir=~/data'])[1].partition('=')[2]
    for read, count in (
      (gin_reader.ReadAll([], [text]), 5),
      (gin_reader.ReadAll(['~/outer.gin']), 5),
      (gin_reader.ReadAll(['inner.gin'], search_paths=['~']), 5),
      (gin_reader.ReadAll([], [argument]), 1),
    ):
      expected = [f'{self.home}/data', rules, [f'{self.home}/a/*.txt', 'b~/*.txt'], f'{self.home}/x', None][:count]
      values = [binding.value for binding in read]
      self.assertEqual(values[:4], expected[:4])
      self.assertLen(values, count)

  def test_a_module_to_import_is_found_in_the_home_folder(self):
    self._Write('in_the_home_folder.py', 'X = 1')
    user_modules.Import(['~/in_the_home_folder.py'])
    self.assertEqual(sys.modules['in_the_home_folder'].X, 1)

  def test_the_tools_of_a_cluster_read_logdir_as_the_trainer_does(self):
    values = plan.CheckFlags(['--model=asr.BestRqPretrain', '--logdir=~/run'])
    self.assertEqual(values['logdir'], f'{self.home}/run')


if __name__ == '__main__':
  absltest.main()
