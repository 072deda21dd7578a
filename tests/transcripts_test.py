"""Transcripts of two normalisers are never compared, whatever is recorded where."""

import json
import os
import tempfile
import types

from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.data import hydra_input
from fm_lingvo.data import spoken_language
from fm_lingvo.data import transcripts
from fm_lingvo.training import start_data


class TranscriptsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    temporary = tempfile.TemporaryDirectory()
    self.addCleanup(temporary.cleanup)
    self._folder = temporary.name

  def _Data(self, name, **settings):
    """A data set with an empty shard of each split."""
    folder = os.path.join(self._folder, name)
    os.makedirs(folder)
    for split in dataset.SPLITS:
      open(os.path.join(folder, dataset.ShardName(split, 0, 1)), 'wb').close()
    with open(os.path.join(folder, 'dataset.json'), 'w', encoding='utf-8') as f:
      json.dump({'format': dataset.FORMAT, 'settings': settings}, f)
    return folder

  def _Of(self, *names, labeled=True, split='train'):
    p = hydra_input.HydraInput.Params()
    patterns = [f'{self._folder}/{name}/{split}-*' for name in names]
    hydra_input.AddStream(p, 'labeled', hydra_input.StreamParams().Set(file_pattern=patterns, labeled=labeled))
    return transcripts.OfInput(p)

  def test_each_data_set_names_its_normaliser(self):
    english, old = self._Data('english', normalizer='english'), self._Data('old')
    self._Data('unlabeled', normalizer=None)
    os.remove(os.path.join(self._Data('bare'), 'dataset.json'))
    self.assertEqual(self._Of('english'), {'labeled': {'english': english}})
    self.assertEqual(self._Of('old'), {'labeled': {'prompts': old}})  # Before it was recorded.
    self.assertEqual(self._Of('*'), {'labeled': {'english': english, 'prompts': old}})
    self.assertEqual(self._Of('bare', 'unlabeled', 'gone'), {'labeled': {}})
    self.assertEqual(self._Of('english', labeled=False), {})

  def test_a_stream_has_a_language_if_all_its_transcripts_are_in_it(self):
    for name, settings in (('a', {'language': 'en'}), ('b', {'language': 'en'}), ('c', {'language': 'de'}), ('d', {})):
      self._Data(name, normalizer='basic', **settings)
    self._Data('unlabeled', normalizer=None)

    def _Languages(*names):
      p = hydra_input.HydraInput.Params()
      patterns = [f'{self._folder}/{name}/train-*' for name in names]
      hydra_input.AddStream(p, 'labeled', hydra_input.StreamParams().Set(file_pattern=patterns, labeled=True))
      return spoken_language.OfInput(p)

    self.assertEqual(_Languages('a', 'b', 'unlabeled'), {'labeled': 'en'})
    for names in (['a', 'c'], ['a', 'd'], ['d'], ['unlabeled'], ['gone']):
      self.assertEqual(_Languages(*names), {})
    self._Data('e', language='English')
    with self.assertRaisesRegex(errors.ConfigError, "e/dataset.json: settings.language = 'English': expected the code"):
      _Languages('e')
    self._Data('dev', normalizer=None)
    with self.assertRaisesRegex(errors.ConfigError, "/e/dataset.json: settings.language = 'English'"):
      _Languages('dev', 'e')  # The folder before it has no transcripts.

  def test_a_run_keeps_its_languages(self):
    self.assertIsNone(spoken_language.Recorded(self._folder, 'labeled'))
    both = ['labeled', 'other']

    def _After(languages, trained, earlier):
      spoken_language.Record(self._folder, languages, trained, earlier)
      return [spoken_language.Recorded(self._folder, stream) for stream in both]

    self.assertEqual(_After({}, both, []), [None, None])
    self.assertEqual(os.listdir(self._folder), [])
    self.assertEqual(_After({'labeled': 'en', 'other': 'de'}, both, []), ['en', 'de'])
    self.assertEqual(os.listdir(self._folder), [spoken_language.RECORD])
    self.assertEqual(_After({'labeled': 'en'}, ['labeled'], both), ['en', 'de'])  # A stream that is not trained on now.
    self.assertEqual(_After({'labeled': 'pt', 'other': 'de'}, both, both), [None, 'de'])  # English and Portuguese.
    self.assertEqual(_After({'labeled': 'pt', 'other': 'de'}, both, both), [None, 'de'])  # It was both before.
    self.assertEqual(_After({}, ['other'], both), [None, None])  # No longer known.
    self.assertEqual(_After({'labeled': 'pt'}, both, []), ['pt', None])  # Nothing was trained yet.
    for text in ('[]', '{"labeled": 1}', '{"lab'):
      path = os.path.join(self._folder, spoken_language.RECORD)
      with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
      with self.assertRaisesRegex(errors.ConfigError, f'^{path}: expected what a run wrote, stream -> language'):
        spoken_language.Recorded(self._folder, 'labeled')

  def test_another_program_s_file_says_nothing_and_a_damaged_one_is_named(self):
    for text, expected in (('{"format": "another"}', {}), ('[]', {})):
      with open(os.path.join(self._Data(f'other{len(text)}'), 'dataset.json'), 'w', encoding='utf-8') as f:
        f.write(text)
      self.assertEqual(self._Of(f'other{len(text)}'), {'labeled': expected})
    path = os.path.join(self._Data('cut'), 'dataset.json')
    with open(path, 'w', encoding='utf-8') as f:
      f.write('{"format": ')
    with self.assertRaisesRegex(errors.DatasetError, f'^{path}: not JSON'):
      self._Of('cut')
    self._Data('list', normalizer=['a'])
    with self.assertRaisesRegex(errors.DatasetError, r"settings\.normalizer = \['a'\]: expected the name of a"):
      self._Of('list')

  def test_only_what_is_of_one_normaliser_is_scored(self):
    english, basic = self._Data('english', normalizer='english'), self._Data('basic', normalizer='basic')
    self._Data('old')
    self._Data('prompts', normalizer='prompts')
    for tested, trained in ((['english'], ['english']), (['old'], ['prompts']), (['gone'], ['basic']), (['basic'], [])):
      transcripts.CheckComparable('Test', self._Of(*tested, split='test'), self._Of(*trained))
    transcripts.CheckComparable('Test', self._Of('english'), {'another': {'basic': basic}})
    for tested, trained, where in (
      (['english'], ['basic'], 'stream labeled and its training data'),
      (['basic', 'english'], [], 'stream labeled'),
      (['basic'], ['basic', 'english'], 'training data of stream labeled'),
    ):
      with self.assertRaises(errors.ConfigError) as raised:
        transcripts.CheckComparable('TestRadio', self._Of(*tested), self._Of(*trained))
      self.assertEqual(
        str(raised.exception),
        f'TestRadio: {where}: transcripts of two normalisers, basic ({basic}) and english ({english}), cannot be '
        'compared; prepare one of them again, with --normalizer=basic or --normalizer=english',
      )

  def test_a_run_that_starts_refuses_before_it_trains(self):
    self._Data('english', normalizer='english')
    self._Data('basic', normalizer='basic')

    def Params(name):
      p = hydra_input.HydraInput.Params()
      stream = hydra_input.StreamParams().Set(file_pattern=f'{self._folder}/{name}/dev-*', labeled=True)
      hydra_input.AddStream(p, 'labeled', stream)
      return types.SimpleNamespace(input=p)

    start_data.CheckTranscripts(Params('basic'), {'Dev': Params('basic')}, '')
    with self.assertRaisesRegex(errors.ConfigError, '^Dev: stream labeled and its training data: transcripts of two'):
      start_data.CheckTranscripts(Params('basic'), {'Dev': Params('english')}, '')

  def test_a_run_goes_on_with_transcripts_of_the_normaliser_that_it_began_with(self):
    for name, settings in (('english', {'language': 'en'}), ('more', {}), ('basic', {'language': 'de'})):
      self._Data(name, normalizer='basic' if name == 'basic' else 'english', **settings)
    run = os.path.join(self._folder, 'run')
    os.makedirs(os.path.join(run, 'train'))

    def Params(*names):
      p = hydra_input.HydraInput.Params()
      patterns = [f'{self._folder}/{name}/train-*' for name in names]
      hydra_input.AddStream(p, 'labeled', hydra_input.StreamParams().Set(file_pattern=patterns, labeled=True))
      return types.SimpleNamespace(input=p)

    def Start(*names, evaluated=()):
      start_data.CheckTranscripts(Params(*names), {name: Params(name) for name in evaluated}, run)
      start_data.RecordTranscripts(Params(*names).input, run)
      return list(transcripts.Recorded(run)['labeled']), spoken_language.Recorded(run, 'labeled')

    self.assertEqual(Start('basic'), (['basic'], 'de'))
    self.assertEqual(Start('english', evaluated=['english']), (['english'], 'en'))  # No checkpoint yet.
    with open(os.path.join(run, 'train', 'ckpt-00000001.index'), 'wb'):
      pass
    self.assertEqual(Start('english'), (['english'], 'en'))
    for evaluated in ((), ['basic']):
      with self.assertRaisesRegex(
        errors.ConfigError,
        f'^--logdir={run}: stream labeled was trained on transcripts of the normaliser english .*/english.; those of '
        '.*/basic are of basic: prepare them again, with --normalizer=english, or start another run$',
      ):
        Start('basic', 'english', evaluated=evaluated)
    self.assertEqual(Start('english', 'more'), (['english'], None))
    self.assertEqual(Start('english'), (['english'], None))

  def test_a_run_remembers_what_it_was_trained_on(self):
    self.assertIsNone(transcripts.Recorded(self._folder))
    transcripts.Record(self._folder, {}, is_resumed=False)
    first, second = {'labeled': {'basic': 'a'}}, {'labeled': {'english': 'b'}, 'other': {'none': 'c'}}
    transcripts.Record(self._folder, first, is_resumed=False)
    self.assertEqual(transcripts.Recorded(self._folder), first)
    transcripts.Record(self._folder, second, is_resumed=True)
    self.assertEqual(
      transcripts.Recorded(self._folder), {'labeled': {'basic': 'a', 'english': 'b'}, 'other': {'none': 'c'}}
    )
    self.assertEqual(os.listdir(self._folder), [transcripts.RECORD])
    transcripts.Record(self._folder, second, is_resumed=False)
    self.assertEqual(transcripts.Recorded(self._folder), second)
    with open(os.path.join(self._folder, transcripts.RECORD), 'w', encoding='utf-8') as f:
      f.write('[1]')
    with self.assertRaisesRegex(
      errors.ConfigError, r'normalizers\.json: expected what a run wrote .*; remove the file'
    ):
      transcripts.Recorded(self._folder)


if __name__ == '__main__':
  absltest.main()
