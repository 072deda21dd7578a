"""tools.pseudo_label, and the importer `dataset` that it uses. No graph: a model that says what it is told to."""

import contextlib
import io
import json
import os
from unittest import mock

import numpy as np
from absl.testing import absltest

from fm_lingvo.data import dataset
from fm_lingvo.inference import api
from fm_lingvo.inference import transcript
from tests import importer_case
from tools import pseudo_label
from tools.prepare import importers
from tools.prepare import load
from tools.prepare import pipeline
from tools.prepare import shards

_SAID = {  # Seconds of the recording -> transcript, confidence.
  1.0: ('one word', 0.95),
  1.5: ('a guess', 0.5),
  2.0: ('', 0.99),
  2.5: ('edge', 0.8),
}


class _Model:
  """Tells what it is told to by the length of a recording."""

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    pass

  def transcribe(self, sounds):
    for samples, rate in sounds:
      seconds = len(samples) / rate
      text, confidence = _SAID[round(seconds, 1)]
      words = tuple(transcript.Word(word, 0.0, 0.1, confidence) for word in text.split())
      yield transcript.Transcript('', seconds, text, 0.0, words, 1)


class _Case(importer_case.ImporterCase):
  def setUp(self):
    super().setUp()
    for i, seconds in enumerate((1.0, 1.5, 2.0, 2.5)):
      self.Audio(f'in/train/{i}.wav', seconds)
    self.Audio('in/dev/9.wav', 3.0)
    self.Text('in/train/0.txt', 'what was said')
    self.data = os.path.join(self.dir, 'data')
    manifest = self.Text(
      'in/all.jsonl',
      ''.join(
        json.dumps(
          {'audio_filepath': f'{split}/{i}.wav', 'text': text, 'split': split, 'speaker': 's', 'utt_id': str(i)}
        )
        + '\n'
        for split, i, text in (('train', 0, 'said'), *(('train', i, '') for i in (1, 2, 3)), ('dev', 9, 'held out'))
      ),
    )
    self._Prepare('manifest', importers.Options(input=manifest), self.data, normalizer='english')

  def _Prepare(self, importer, options, output, **more):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
      return pipeline.PrepareData(importer, output, options=options, **more)[0]

  def _Records(self, folder):
    found = dataset.ReadDataset(folder)
    return {
      record['utt_id']: (split, record)
      for split in dataset.SPLITS
      for shard in found.shards[split]
      for record in dataset.ReadShard(os.path.join(folder, shard.name))
    }


class ImporterTest(_Case):
  def test_a_data_set_of_a_data_set_is_the_same(self):
    self._Prepare('dataset', importers.Options(input=self.data), self.dir + '/copy')
    self.assertEqual(self._Records(self.dir + '/copy'), self._Records(self.data))
    self.assertLen(self._Records(self.data), 5)
    for folder in (self.data, self.dir + '/copy'):
      self.assertEqual(dataset.ReadDataset(folder).settings['normalizer'], 'english')

  def test_a_list_of_transcripts_gives_utterances_and_texts(self):
    path = self.Text(
      'said.jsonl', '{"utt_id": "1", "text": "new"}\n{"utt_id": "9", "text": ""}\n{"utt_id": "x", "text": ""}\n'
    )
    listing = self.List('dataset', 'data', transcripts=path)
    self.assertEqual(self.Found(listing), {'1': ('new', 's', 'train', None), '9': ('', 's', 'dev', None)})
    self.assertEqual(self.Reasons(listing), {'x': 'no_audio'})
    self.assertEqual(listing.notes, {'not_in_transcripts': 3})
    loaded = {u.utt_id: record for u, record, _ in load.Load(listing.utterances, shards.Limits())}
    self.assertEqual(loaded['1']['audio'], self._Records(self.data)['1'][1]['audio'])

  def test_what_is_no_list_or_no_data_set_is_named(self):
    for content, expected in (
      ('["x"]', r'said.jsonl:1: expected a JSON object with utt_id and text'),
      ('{"utt_id": "1"}', r'said.jsonl:1: expected a JSON object with utt_id and text \(KeyError'),
    ):
      with self.subTest(content), self.assertRaisesRegex(importers.exit_codes.UsageError, expected):
        self.List('dataset', 'data', transcripts=self.Text('said.jsonl', content))
    with self.assertRaisesRegex(
      importers.exit_codes.UsageError, '^--transcripts=.*/sad.jsonl: no such file; did you mean'
    ):
      self.List('dataset', 'data', transcripts=self.dir + '/sad.jsonl')
    with self.assertRaisesRegex(dataset.DatasetError, 'in: no dataset.json, so not a complete data set'):
      self.List('dataset', 'in')

  def test_a_damaged_shard_is_named(self):
    (shard,) = [s for s in dataset.ReadDataset(self.data).shards['dev'] if s.utterances]
    path = os.path.join(self.data, shard.name)
    with open(path, 'r+b') as f:
      f.seek(100)
      f.write(b'\0' * 20)
    with self.assertRaisesRegex(dataset.DatasetError, f'^{path}: damaged '):
      list(dataset.ReadShard(path))


class PseudoLabelTest(_Case):
  def _Run(self, *args, code=0):
    with (
      mock.patch.object(api, 'load', lambda *unused, **kwargs: _Model()),
      contextlib.redirect_stdout(io.StringIO()) as out,
      contextlib.redirect_stderr(io.StringIO()) as err,
    ):
      self.assertEqual(pseudo_label.Main(['pseudo_label', self.dir, *args]), code, err.getvalue())
    return out.getvalue() + err.getvalue()

  def test_what_the_model_is_sure_of_becomes_a_data_set(self):
    output = self.dir + '/pseudo'
    printed = self._Run(self.data, f'--output={output}')
    self.assertIn('2 of 4 utterances kept, 0.00 h; left out: 1 of confidence < 0.8, 1 without text', printed)
    self.assertEqual(dataset.ReadDataset(output).settings['normalizer'], 'english')
    before, found = self._Records(self.data), self._Records(output)
    self.assertEqual(
      {i: (split, r['text']) for i, (split, r) in found.items()}, {'0': ('train', 'one word'), '3': ('train', 'edge')}
    )
    for utt_id, (_, record) in found.items():
      np.testing.assert_equal(record['audio'], before[utt_id][1]['audio'])
      self.assertEqual(record['speaker'], 's')
    with open(output + '.jsonl', encoding='utf-8') as f:
      rows = {row['utt_id']: row for row in map(json.loads, f)}
    self.assertEqual(rows['3'], {'utt_id': '3', 'text': 'edge', 'confidence': 0.8})

  def test_mistakes_are_named_before_the_model_is_loaded(self):
    for args, expected in (
      ((self.data, f'--output={self.dir}/x', '--min_confidence=2'), '--min_confidence=2: expected a probability'),
      ((self.dir + '/dta', f'--output={self.dir}/x'), f'/dta: no such data set; did you mean {self.data}?'),
      ((self.data, f'--output={self.dir}/in'), f'--output={self.dir}/in: '),
      ((self.data, f'--output={self.data}'), f'--output={self.data}: '),
    ):
      with self.subTest(expected):
        self.assertIn(expected, self._Run(*args, code=2))
        self.assertFalse(os.path.exists(self.dir + '/x.jsonl'))

  def test_nothing_kept_is_an_error(self):
    printed = self._Run(self.data, f'--output={self.dir}/x', '--min_confidence=1', code=1)
    self.assertIn('0 of 4 utterances kept, 0.00 h; left out: 3 of confidence < 1, 1 without text', printed)
    self.assertFalse(os.path.exists(self.dir + '/x'))


if __name__ == '__main__':
  absltest.main()
