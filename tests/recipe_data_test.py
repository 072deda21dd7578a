"""The recipe's data: three data sets that fit together, the same bytes each time, reused where they are whole."""

import contextlib
import io
import json
import os
import tempfile
from unittest import mock

import numpy as np
import soundfile
from absl.testing import absltest

from fm_lingvo.data import dataset
from tools.common import exit_codes
from tools.prepare.import_helpers import debian
from tools.recipe import corpora as corpora_lib
from tools.recipe import data as recipe_data
from tools.speech_synthesis import speech_engines


class RecipeDataTest(absltest.TestCase):
  """Without apt, as on a machine without network: synthetic stand-ins by eSpeak NG, of few lines."""

  def setUp(self):
    super().setUp()
    tmp = tempfile.TemporaryDirectory()
    self.addCleanup(tmp.cleanup)
    self.dir = tmp.name
    speech_engines.FliteDirectory.cache_clear()
    self.addCleanup(speech_engines.FliteDirectory.cache_clear)
    for patch in (
      mock.patch.object(debian, 'FetchPackages', side_effect=debian.AptError('apt has no network')),
      mock.patch.object(recipe_data, '_STAND_IN_LINES', {'target': 10, 'unlabeled': 8}),
      mock.patch.object(recipe_data, '_QUICK_LINES', 30),
    ):
      patch.start()
      self.addCleanup(patch.stop)

  def Prepare(self, name, **kwargs):
    """Returns (data sets, what was printed)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      made = recipe_data.PrepareRecipe(os.path.join(self.dir, name), **kwargs)
    return made, out.getvalue()

  def Bytes(self, name):
    result = {}
    for directory, _, files in os.walk(os.path.join(self.dir, name)):
      for file in files:
        path = os.path.join(directory, file)
        with open(path, 'rb') as f:
          result[os.path.relpath(path, os.path.join(self.dir, name))] = f.read()
    return result

  def test_quick_data_sets_without_network(self):
    made, said = self.Prepare('a', quick=True)
    self.assertEqual(tuple(sorted(made)), tuple(sorted(recipe_data.NAMES)))
    self.assertCountEqual(os.listdir(os.path.join(self.dir, 'a')), recipe_data.NAMES)
    for name in ('target', 'unlabeled'):
      self.assertIn(f'no human prompts, so {name} is synthetic: apt has no network', said)
    self.assertRegex(
      said,
      r'(?m)^source: \d\.\d\d h, train \d+, dev \d+, test \d+ utterances, \d+ voices, '
      r'domains synth/espeak-ng$',
    )
    self.assertEqual(sum(made['source'].Utterances(split) for split in dataset.SPLITS), 30)
    self.assertGreater(made['target'].Utterances('test'), 0)
    texts = {name: [row['text'] for row in dataset.ReadManifest(made[name].path)] for name in recipe_data.NAMES}
    self.assertEmpty(set(texts['target']) & set(texts['source'] + texts['unlabeled']))
    self.assertLen(set(texts['source']), 30)

    # Whole data sets are reused.
    before = self.Bytes('a')
    _, said = self.Prepare('a', quick=True)
    for name in recipe_data.NAMES:
      self.assertRegex(said, f'a/{name}: reused')
    self.assertEqual(self.Bytes('a'), before)

    # One that is not whole is made anew, the same to the byte; so is everything elsewhere.
    os.truncate(os.path.join(self.dir, 'a', 'source', 'train-00000-of-00004.tfrecord'), 100)
    _, said = self.Prepare('a', quick=True)
    self.assertRegex(said, r'100 bytes, expected \d+ bytes; preparing it again')
    self.assertEqual(self.Bytes('a'), before)
    self.Prepare('b', quick=True)
    self.assertEqual(self.Bytes('b'), before)

  def _Manifest(self, name, *rows):
    path = os.path.join(self.dir, 'corpora', name)
    os.makedirs(path)
    soundfile.write(os.path.join(path, 'a.wav'), np.random.RandomState(0).uniform(-0.2, 0.2, 16000), 16000)
    with open(os.path.join(path, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
      f.writelines(json.dumps({'audio_filepath': 'a.wav', **row}) + '\n' for row in rows)

  def test_corpora_have_roles_by_name_and_by_whether_they_have_transcripts(self):
    self._Manifest('one', *({'text': f'in {split}', 'split': split, 'utt_id': split} for split in dataset.SPLITS))
    self._Manifest('two', {'text': 'two', 'split': 'train'})
    self._Manifest('an4', {'text': 'ENTER FIVE', 'split': 'test'})
    self._Manifest('readers', {'split': 'train'})
    made, _ = self.Prepare('d', quick=True, corpora=os.path.join(self.dir, 'corpora'))
    self.assertCountEqual(made, [*recipe_data.NAMES, 'target_an4', 'unlabeled_readers'])
    texts = {(row['split'], row['text']) for row in dataset.ReadManifest(made['source'].path)}
    self.assertEqual(texts, {('train', 'in train'), ('dev', 'in dev'), ('test', 'in test'), ('train', 'two')})
    self.assertEqual(made['target_an4'].Utterances('test'), 1)
    self.assertEqual(made['unlabeled_readers'].Utterances('train'), 1)

  def test_a_corpus_of_another_form_is_refused(self):
    self._Manifest('one', {'text': 'one'})
    folder = os.path.join(self.dir, 'corpora')
    for path, found in (
      ('LibriSpeech/dev-clean/84/1/84-1.trans.txt', 'dev-clean/84/1/84-1.trans.txt'),
      ('x/a.OGG', 'a.OGG'),
    ):
      path = os.path.join(folder, path)
      os.makedirs(os.path.dirname(path))
      open(path, 'w').close()
      name = os.path.relpath(path, folder).partition('/')[0]
      message = rf'{name} has {found}, but is no corpus; expected manifest.jsonl in it, or SPEAKER/CHAPTER/\*.trans.txt'
      with self.assertRaisesRegex(exit_codes.UsageError, message):
        corpora_lib.Find(folder)
      os.rename(os.path.join(folder, name), os.path.join(folder, f'.{name}'))  # Hidden folders do not count.

  def test_what_is_no_speech_is_skipped_and_any_row_can_have_the_text(self):
    self._Manifest('late', {'text': ''}, {'text': None}, {'transcript': 'late'})
    self._Manifest('none', {'text': ''}, {'text': float('nan')})
    folder = os.path.join(self.dir, 'corpora')
    os.makedirs(os.path.join(folder, 'docs'))
    for name in ('README.md', 'docs/LICENSE'):
      open(os.path.join(folder, name), 'w').close()
    with contextlib.redirect_stdout(io.StringIO()) as out:
      labeled, unlabeled = corpora_lib.Find(folder)
    self.assertEqual((set(labeled), set(unlabeled)), ({'late'}, {'none'}))
    self.assertEqual(out.getvalue(), f'recipe data: {folder}/docs is skipped: no recordings in it\n')
    with open(labeled['late'], 'w') as f:
      f.write('text\n')
    with self.assertRaisesRegex(exit_codes.UsageError, 'late/manifest.jsonl: no line is a JSON object'):
      corpora_lib.Find(folder)

  def test_a_folder_without_transcripts_is_no_source(self):
    self._Manifest('readers', {'split': 'train'})
    for corpora, message in (
      ('corpora', 'no corpus with transcripts; expected folders, each with manifest.jsonl'),
      ('none', 'no such directory'),
    ):
      with self.assertRaisesRegex(exit_codes.UsageError, message):
        self.Prepare('e', quick=True, corpora=os.path.join(self.dir, corpora))

  def test_the_recipe_itself_needs_human_prompts(self):
    with self.assertRaisesRegex(exit_codes.UsageError, '^apt has no network; give a '):
      self.Prepare('c')

  def test_command_line_says_what_is_missing_in_one_line(self):
    for error, code, expected in (
      (exit_codes.UsageError('no synthesiser'), 2, 'no synthesiser'),
      (FileNotFoundError(2, 'No such file', 'voices.txt'), 1, 'voices.txt: No such file'),
      (KeyboardInterrupt(), 130, 'interrupted; data sets that are complete are kept'),
    ):
      err = io.StringIO()
      with (
        mock.patch.object(recipe_data, 'PrepareRecipe', side_effect=error) as prepare,
        contextlib.redirect_stderr(err),
      ):
        self.assertEqual(recipe_data.Main(['recipe_data', '--output=d/', '--quick']), code)
      prepare.assert_called_once_with('d', quick=True, corpora='')
      self.assertEqual(err.getvalue(), f'recipe_data: {expected}\n')


if __name__ == '__main__':
  absltest.main()
