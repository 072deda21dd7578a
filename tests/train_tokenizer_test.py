"""The tokenizer's trainer: its models, its report and its errors."""

import contextlib
import io
import json
import os
import tempfile

from absl.testing import absltest

from fm_lingvo.data import dataset
from fm_lingvo.data import tokenizer
from fm_lingvo.utils import files
from tools import train_tokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ALPHABET = "abcdefghijklmnopqrstuvwxyz'"
LINES = ['the cat sat on the mat', "it's  a cat", '', 'a mat that the cat sat on'] * 30


def _Run(*argv, **values):
  """Runs the tool. Returns (exit code, standard output, standard error)."""
  out, err = io.StringIO(), io.StringIO()
  for name, value in values.items():
    if value is not None:
      argv += (f'--{name}={",".join(value) if isinstance(value, list) else value}',)
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    try:
      code = train_tokenizer.Main(['train_tokenizer', *argv])
    except SystemExit as e:
      code = e.code
  return code, out.getvalue(), err.getvalue()


def _WriteDataset(path, rows):
  """The files of a data set that say what it holds; rows are (split, text)."""
  os.makedirs(path)
  splits = {split: {'shards': [], 'hours': 0.0} for split in dataset.SPLITS}
  with open(os.path.join(path, 'dataset.json'), 'w') as f:
    json.dump(
      dict(format=dataset.FORMAT, version=dataset.VERSION, sample_rate=16000, splits=splits, domains=[], settings={}), f
    )
  with open(os.path.join(path, 'manifest.jsonl'), 'w') as f:
    for split, text in rows:
      f.write(json.dumps({**dict.fromkeys(dataset.MANIFEST_KEYS, ''), 'split': split, 'text': text}) + '\n')


class TrainTokenizerTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self._folder = folder.name
    self._output = os.path.join(self._folder, 'out', 'x.model')
    self._texts = os.path.join(self._folder, 'texts.txt')
    with open(self._texts, 'w') as f:
      f.write('\n'.join(LINES))

  def test_committed_graphemes_are_what_the_documented_command_writes(self):
    code, out, _ = _Run(alphabet=ALPHABET, output=self._output)
    self.assertEqual(code, 0)
    with open(self._output, 'rb') as f, open(os.path.join(ROOT, 'params/tokenizers/graphemes_en.model'), 'rb') as g:
      self.assertEqual(f.read(), g.read())
    self.assertIn('char, 30 labels with blank and unknown, sha256 ', out)

  def test_a_remote_model_of_remote_texts(self):
    with files.Open('ram://train_tokenizer_test/texts.txt', 'w') as f:  # As TensorFlow reaches gs://.
      f.write('\n'.join(LINES))
    output = 'ram://train_tokenizer_test/out/x.model'
    code, out, err = _Run(input=['ram://train_tokenizer_test/texts.txt'], output=output)
    self.assertEqual((code, err), (0, ''))
    self.assertStartsWith(out, output)
    self.assertFalse(os.path.exists('ram:'))

  def test_the_same_texts_give_the_same_file(self):
    for kind, size in (('char', None), ('unigram', 18), ('bpe', 25)):
      with self.subTest(kind):
        models = []
        for _ in range(2):
          code, out, err = _Run(input=[self._texts], kind=kind, vocab_size=size, output=self._output)
          self.assertEqual((code, err), (0, ''))
          with open(self._output, 'rb') as f:
            models.append(f.read())
        self.assertEqual(models[0], models[1])
        tokens = tokenizer.Tokenizer(self._output)
        self.assertEqual(tokens.vocab_size, size or 14)
        self.assertEqual(tokens.pieces[:2], ['<blank>', '<unk>'])
        self.assertIn(f'sha256 {tokens.sha256}', out)
        self.assertIn('90 texts: 100.000 % of the characters covered', out)
    self.assertEqual(os.listdir(os.path.dirname(self._output)), ['x.model'])

  def test_texts_are_not_normalised_again(self):
    tokens = self._Tokens(['Ａ ½ ﬁ é', 'Ａ ½ ﬁ é'])
    self.assertEqual(tokens.DecodeIds(tokens.EncodeText('ﬁ Ａ½é')), 'ﬁ Ａ½é')

  def test_a_reserved_character_does_not_lose_its_text(self):
    tokens = self._Tokens(['xyz \u2585 w', 'ab ab'])
    self.assertEqual(tokens.DecodeIds(tokens.EncodeText('xyz w')), 'xyz w')

  def test_lines_end_at_line_feeds_only(self):
    with open(self._texts, 'wb') as f:
      f.write(b'\xef\xbb\xbfone\xe2\x80\xa8two\xc2\x85three\r\nfour\x0bfive')
    self.assertEqual(train_tokenizer.ReadTexts([self._texts]), ['one two three', 'four five'])

  def test_data_sets_give_their_training_transcripts(self):
    path = os.path.join(self._folder, 'set')
    _WriteDataset(path, [('train', 'ab ab'), ('dev', 'xyz'), ('train', ''), ('test', 'q'), ('train', 'cab')])
    self.assertEqual(train_tokenizer.ReadTexts([path]), ['ab ab', 'cab'])
    code, out, _ = _Run(input=[path, self._texts], output=self._output)
    self.assertEqual(code, 0)
    self.assertIn('92 texts', out)

  def test_alphabet_with_texts_tells_what_it_does_not_cover(self):
    code, out, _ = _Run(alphabet='thecaso', input=[self._texts], output=self._output)
    self.assertEqual(code, 0)
    self.assertIn("not covered: 'n' (60) 'm' (60) 'i' (30) \"'\" (30)", out)
    self.assertRegex(out, r'90 texts: 8\d\.\d{3} % of the characters covered')

  def test_errors_are_one_line_and_exit_code_2(self):
    empty = os.path.join(self._folder, 'empty.txt')
    binary = os.path.join(self._folder, 'binary')
    unlabeled = os.path.join(self._folder, 'unlabeled')
    _WriteDataset(unlabeled, [('train', ''), ('test', 'a')])
    with open(empty, 'w') as f:
      f.write('\n \n')
    with open(binary, 'wb') as f:
      f.write(b'\xff\xfe\x00')
    ok = dict(input=[self._texts], output=self._output)
    for values, expected in (
      (dict(ok, output=None), '--output is missing'),
      (dict(ok, input=[]), '--input is missing'),
      (dict(ok, input=['nowhere']), '--input=nowhere: no such data set or text file'),
      (dict(ok, input=[self._folder]), 'no dataset.json, so not a complete data set'),
      (dict(ok, input=[empty]), f'--input={empty}: no text in it'),
      (dict(ok, input=[unlabeled]), 'no transcript in its training set'),
      (dict(ok, input=[binary]), 'expected text in UTF-8'),
      (dict(ok, kind='word'), '--kind=word: expected one of char, unigram, bpe'),
      (dict(ok, kind='bpe'), '--vocab_size is missing: expected more than 14'),
      (dict(ok, kind='bpe', vocab_size=10), '--vocab_size=10: expected more than'),
      (dict(ok, kind='unigram', vocab_size=5000), '--vocab_size=5000: SentencePiece cannot train a unigram model'),
      (dict(ok, kind='bpe', vocab_size=5000), 'texts (Vocabulary size too high (5000). Please set it to a value <= '),
      (dict(ok, vocab_size=50), '--vocab_size=50 with --kind=char'),
      (dict(ok, alphabet='aab'), '--alphabet=aab: expected distinct characters'),
      (dict(ok, alphabet='abc', kind='bpe', vocab_size=9), 'expected --kind=char'),
      (dict(ok, output=self._folder), 'a directory, expected the model file'),
      (dict(ok, output=os.path.join(empty, 'x.model')), 'cannot be written'),
    ):
      with self.subTest(expected):
        code, out, err = _Run(**values)
        self.assertEqual((code, out), (2, ''))
        self.assertStartsWith(err, 'train_tokenizer: ')
        self.assertIn(expected, err)
        self.assertEqual(err.count('\n'), 1)
    self.assertIn('unrecognized arguments: file.txt', _Run('file.txt', **ok)[2])

  def _Tokens(self, texts):
    path = os.path.join(self._folder, 'trained.model')
    with open(path, 'wb') as f:
      f.write(train_tokenizer.Train(texts, 'char'))
    return tokenizer.Tokenizer(path)


if __name__ == '__main__':
  absltest.main()
