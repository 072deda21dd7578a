"""What is shipped is finished, good enough and small enough; its card says licences and intervals."""

import contextlib
import io
import json
import os
import sys

from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.utils import shipped
from tests import recipe_case
from tools.recipe import ship
from tools.recipe import stage_run

# Writes a folder as fm-export does, with the licences on the card; the last argument is --output.
_EXPORTER = """
import os, sys
folder = sys.argv[-1].partition('=')[2]
os.makedirs(folder)
licenses = [arg.partition('=')[2] for arg in sys.argv if arg.startswith('--license=')]
card = '# Card\\n' + ''.join(f'- {line}\\n' for line in licenses)
card += 'adapters alone\\n' * ('--adapter_only' in sys.argv)
for name, text in (('README.md', card), ('model.safetensors', 'w' * %d)):
  with open(os.path.join(folder, name), 'w') as f:
    f.write(text)
"""


class ShipTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = recipe_case.Folder(self)
    self.run_dir = os.path.join(self.folder, 'supervised')
    self.output = os.path.join(self.folder, 'models', 'english')

  def _Run(self, wer=0.5, done=True):
    """A stage whose best checkpoint is that of step 20."""
    stage_run.Write(self.run_dir, {'done': done, 'stamp': ''})
    best = os.path.join(self.run_dir, 'best')
    os.makedirs(best, exist_ok=True)
    for name, text in (('checkpoint', 'model_checkpoint_path: "ckpt-00000020"\n'), ('ckpt-00000020.index', '')):
      with open(os.path.join(best, name), 'w', encoding='utf-8') as f:
        f.write(text)
    rates = {
      f'labeled/{r}{end}': wer + c for r in ('wer', 'cer') for end, c in (('', 0), ('_low', -0.1), ('_high', 0.1))
    }
    with open(os.path.join(self.run_dir, 'metrics.jsonl'), 'w', encoding='utf-8') as f:
      for dataset, step in (('DevSource', 10), ('DevSource', 20), ('TestSource', 20)):
        f.write(json.dumps({'dataset': dataset, 'step': step, **rates}) + '\n')

  def _Ship(self, size=10, **options):
    exporter = (sys.executable, '-c', _EXPORTER % size)
    return ship.Ship(self.run_dir, self.output, ['A: CC0', 'B: CC BY'], exporter=exporter, **options)

  def test_the_card_says_licences_and_intervals_and_an_older_folder_goes(self):
    self._Run()
    self._Old('adapter.safetensors')
    self.assertGreater(self._Ship(), 10)
    self.assertCountEqual(os.listdir(self.output), ['README.md', 'model.safetensors'])
    with open(os.path.join(self.output, 'README.md'), encoding='utf-8') as f:
      card = f.read()
    self.assertStartsWith(card, '# Card\n')
    self.assertIn('- A: CC0\n- B: CC BY\n', card)
    self.assertIn('| TestSource | 50.0 (40.0 to 60.0) | 50.0 (40.0 to 60.0) |', card)
    self.assertIn('`Target` is acted dialogue of video games, which it has not heard.\n', card)
    self.assertNotIn('adapters alone', card)

  def _Old(self, name):
    os.makedirs(self.output, exist_ok=True)
    with open(os.path.join(self.output, name), 'w', encoding='utf-8'):
      pass

  def test_a_folder_with_other_files_stays_and_so_does_an_old_model_where_the_export_fails(self):
    self._Run()
    self._Old('README.md')
    with self.assertRaisesRegex(errors.ConfigError, 'expected at most 12 MB'):
      self._Ship(ship.MAX_BYTES)
    self._Old('thesis.tex')
    with self.assertRaisesRegex(errors.ConfigError, 'has thesis.tex, which no exported model has; expected another'):
      self._Ship()
    self.assertCountEqual(os.listdir(self.output), ['README.md', 'thesis.tex'])
    self.output = os.path.join(self.output, 'README.md')
    with self.assertRaisesRegex(errors.ConfigError, 'README.md: expected a new folder, or one of an exported model'):
      self._Ship()

  def test_what_the_project_ships_can_be_shipped_anew(self):
    for name in ('english', 'english_an4'):
      ship._CheckReplaceable(os.path.join(shipped.ROOT, 'params', 'models', name))

  def test_adapters_are_exported_alone_and_have_heard_the_target(self):
    self._Run()
    self._Ship(adapter_only=True, target='a call centre')
    with open(os.path.join(self.output, 'README.md'), encoding='utf-8') as f:
      card = f.read()
    self.assertIn('adapters alone\n', card)
    self.assertIn('`Target` is a call centre.\n', card)

  def test_what_is_not_worth_shipping_is_refused_and_nothing_is_written(self):
    for settings, size, message in (
      ({'done': False}, 10, 'expected a finished stage of the recipe with a best checkpoint'),
      ({'wer': 0.71}, 10, 'WER of the dev set 71.0 %: expected at most 70 %'),
      ({}, ship.MAX_BYTES, '12.0 MB: expected at most 12 MB'),
    ):
      self._Run(**settings)
      with self.subTest(message), self.assertRaisesRegex(errors.ConfigError, message):
        self._Ship(size)
      self.assertFalse(os.path.exists(self.output))

  def test_an_export_that_fails_is_told_in_one_line(self):
    self._Run()
    with self.assertRaisesRegex(errors.RunError, r'supervised --format=safetensors .*: no such flag$'):
      failing = (sys.executable, '-c', 'import sys; sys.exit("no such flag")')
      ship.Ship(self.run_dir, self.output, ['A: CC0'], exporter=failing)
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
      code = ship.Main(['ship', self.folder, f'--output={self.output}', '--license=A: CC0'])
    self.assertEqual((code, err.getvalue().count('\n')), (2, 1))


if __name__ == '__main__':
  absltest.main()
