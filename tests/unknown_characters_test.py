"""Before anything is trained, a run names the characters of its transcripts that its tokenizer does not know."""

import contextlib
import io
import json
import os
import tempfile
import types

import tensorflow as tf
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.data import hydra_input
from fm_lingvo.data import unknown_characters
from fm_lingvo.evaluation import evaluator
from fm_lingvo.training import start_data
from params import base


class UnknownCharactersTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    temporary = tempfile.TemporaryDirectory()
    self.addCleanup(temporary.cleanup)
    self.folder = temporary.name

  def _Write(self, name, texts, manifest=True, domain='a/b'):
    """A data set whose train split has `texts`, with them in its shard or, with a manifest, only there."""
    folder = os.path.join(self.folder, name)
    os.makedirs(folder)
    shard = dataset.ShardName('train', 0, 1)
    rows = [dict(utt_id=str(i), text=t, speaker='', domain=domain, duration=1.0) for i, t in enumerate(texts)]
    with tf.io.TFRecordWriter(os.path.join(folder, shard)) as writer:
      for row in rows if not manifest else ():
        writer.write(dataset.EncodeExample({**row, 'audio': b''}))
    if manifest:
      with open(os.path.join(folder, 'manifest.jsonl'), 'w', encoding='utf-8') as f:
        for row in rows:
          f.write(json.dumps({**row, 'split': 'train', 'shard': shard}) + '\n')
        f.write(json.dumps({**rows[0], 'text': 'ж' * 999, 'split': 'dev', 'shard': 'dev-00000-of-00001.tfrecord'}))
    return folder

  def _Input(self, *names, **stream):
    p = hydra_input.HydraInput.Params()
    stream = dict(labeled=True, tokenizer_file=base.GRAPHEMES_EN, **stream)
    patterns = [f'{self.folder}/{name}/train-*' for name in names]
    hydra_input.AddStream(p, 'labeled', hydra_input.StreamParams().Set(file_pattern=patterns, **stream))
    return p

  def _Found(self, *names, **stream):
    return list(unknown_characters.OfInput(self._Input(*names, **stream)))

  def test_manifest_and_shards_say_the_same(self):
    for manifest in (True, False):
      folder = self._Write(str(manifest), ['ab cд', 'efgh', '', 'eд ё'] * 20, manifest)
      (found,) = self._Found(str(manifest))
      self.assertEqual((found.path, found.folder), ('input.streams.labeled', folder))
      self.assertAlmostEqual(found.share, 3 / 11)
      self.assertEqual(found.characters, ('д', 'ё'))

  def test_a_long_manifest_is_read_at_places_from_its_start_to_its_end(self):
    self._Write('a', ['latin text'] * 5000 + ['русский'] * 5000)
    (found,) = self._Found('a')
    self.assertBetween(found.share, 0.3, 0.6)

  def test_streams_without_labels_and_other_domains_do_not_count(self):
    self._Write('a', ['русский'])
    self._Write('b', ['english'], domain='b/c')
    self.assertEqual([found.share for found in self._Found('a', 'b')], [1.0, 0.0])
    self.assertEqual([found.share for found in self._Found('a', 'b', domain_regex='b/.*')], [0.0])
    p = self._Input('a')
    p.streams.labeled.Set(labeled=False, tokenizer_file='')
    self.assertEqual(list(unknown_characters.OfInput(p)), [])

  def test_damage_is_left_to_those_who_name_it(self):
    folder = self._Write('a', ['русский'], manifest=False)
    with open(os.path.join(folder, 'manifest.jsonl'), 'wb') as f:
      f.write(b'{"text": "cut off\n[]\n\xff\n')
    self.assertEqual([found.share for found in self._Found('a')], [1.0])
    with open(os.path.join(folder, 'train-00000-of-00001.tfrecord'), 'r+b') as f:
      f.write(b'\xff' * 20)
    self.assertEqual(self._Found('a'), [])

  def test_a_few_are_told_and_another_script_is_refused(self):
    self._Write('known', ['some words'])
    self._Write('few', ['some words'] * 20 + ['naïve'])
    self._Write('more', ['ñandú y año'])
    folder = self._Write('kana', ['こんにちは'])

    def _Check(name):
      with contextlib.redirect_stdout(io.StringIO()) as out:
        start_data.CheckCharacters(types.SimpleNamespace(input=self._Input(name)))
      return out.getvalue()

    self.assertEqual([_Check('known'), _Check('few')], ['', ''])
    self.assertRegex(
      _Check('more'),
      r'^input.streams.labeled: 33.3% of the characters in transcripts of .*/more are not in the tokenizer '
      r'params/tokenizers/graphemes_en.model, such as ñ, ú; train one: fm-train-tokenizer --input=.*/more '
      r'--output=FILE.model; or prepare the data with another --normalizer\n$',
    )
    with self.assertRaisesRegex(errors.ConfigError, f'100.0% of the characters in transcripts of {folder} are not in'):
      _Check('kana')

  def test_an_evaluation_names_many_unknown_labels(self):
    values = {'loss': 1.0, 'a/unknown_labels': 0.005, 'b/unknown_labels': 0.02}
    self.assertEqual(evaluator.Brief(values), {'loss': 1.0, 'b/unknown_labels': 0.02})


if __name__ == '__main__':
  absltest.main()
