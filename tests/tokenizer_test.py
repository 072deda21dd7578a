"""The tokenizer: labels in-graph and on the host, its record, and refused models."""

import hashlib
import io
import os

import numpy as np
import sentencepiece
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import provenance
from fm_lingvo.data import tokenizer
from fm_lingvo.utils import shipped
from tests import graph_case
from tools import train_tokenizer

GRAPHEMES = 'params/tokenizers/graphemes_en.model'
TEXTS = ["don't panic", '', 'x', 'the quick brown fox']
_HOW_TO = '; train one with: fm-train-tokenizer --input=DATA_SET --output=FILE.model'


def _Write(folder, model):
  path = os.path.join(folder, 'm.model')
  with open(path, 'wb') as f:
    f.write(model)
  return path


class TokenizerTest(graph_case.GraphCase):
  def _Trained(self, kind, vocab_size):
    rng = np.random.RandomState(0)
    words = 'the quick brown fox panic dog jumps over lazy x'.split()
    texts = [' '.join(rng.choice(words, 6)) for _ in range(200)]
    model = train_tokenizer.Train(texts, kind, vocab_size)
    return tokenizer.Tokenizer(_Write(self.create_tempdir().full_path, model))

  def test_graph_and_host_agree_and_texts_come_back(self):
    for tokens in (tokenizer.Tokenizer(GRAPHEMES), self._Trained('bpe', 60), self._Trained('unigram', 36)):
      with self.subTest(tokens.vocab_size), self.NewGraph():
        texts = [t for t in TEXTS if "'" not in t]
        labels, lengths = tokens.Encode(tf.constant(texts))
        labels, lengths = self.Eval(labels, lengths)
        self.assertEqual((labels.dtype, lengths.dtype), (np.int32, np.int32))
        for row, n, text in zip(labels, lengths, texts):
          self.assertEqual(list(row[:n]), tokens.EncodeText(text))
          self.assertEqual(tokens.DecodeIds(row[:n]), text)
          np.testing.assert_array_equal(row[n:], 0)
          self.assertTrue((row[:n] > 0).all())
          self.assertLess(row.max(), tokens.vocab_size)
        self.assertEqual(lengths[0], 0)

  def test_graphemes_have_a_label_a_character(self):
    tokens = tokenizer.Tokenizer(GRAPHEMES)
    _, lengths = tokens.Encode(tf.constant(TEXTS))
    self.assertEqual(list(self.Eval(lengths)), [len(t) for t in TEXTS])
    self.assertEqual(tokens.pieces, ['<blank>', '<unk>', '\u2581', *"abcdefghijklmnopqrstuvwxyz'"])

  def test_no_text_gives_the_blank(self):
    tokens = tokenizer.Tokenizer(GRAPHEMES)
    for text in ('<blank>', '<unk>', 'a<blank>b', '\0', 'é <pad>'):
      self.assertNotIn(0, tokens.EncodeText(text))

  def test_unknown_characters_are_counted_and_shown(self):
    tokens = tokenizer.Tokenizer(GRAPHEMES)
    texts = tf.constant(['café', 'plain', 'ж x ж', ''])
    labels, lengths = tokens.Encode(texts)
    unknown = tokens.CountUnknown(labels, lengths)
    labels, lengths, unknown = self.Eval(labels, lengths, unknown)
    self.assertEqual(list(unknown), [1, 0, 2, 0])
    self.assertEqual(tokens.DecodeIds(labels[0, : lengths[0]]), 'caf\u2047')

  def test_labels_past_the_length_do_not_count(self):
    tokens = tokenizer.Tokenizer(GRAPHEMES)
    labels = tf.constant([[3, 4, 1, 9], [5, 1, 1, 1], [1, 1, 3, 1]])
    unknown = self.Eval(tokens.CountUnknown(labels, tf.constant([2, 0, 3])))
    self.assertEqual(list(unknown), [0, 0, 2])

  def test_only_empty_texts_still_have_a_column(self):
    labels, lengths = self.Eval(*tokenizer.Tokenizer(GRAPHEMES).Encode(tf.constant(['', ''])))
    np.testing.assert_array_equal(labels, [[0], [0]])
    np.testing.assert_array_equal(lengths, [0, 0])

  def test_encodes_inside_tf_data(self):
    tokens = tokenizer.Tokenizer(GRAPHEMES)
    ds = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2).map(tokens.Encode)
    # A model, like a lookup table, cannot be in a one-shot iterator.
    iterator = tf.data.make_initializable_iterator(ds.repeat())
    batch = iterator.get_next()
    self.Eval(iterator.initializer)
    for _ in range(2):
      for expected in (TEXTS[:2], TEXTS[2:]):
        labels, lengths = self.Eval(*batch)
        self.assertEqual([tokens.DecodeIds(row[:n]) for row, n in zip(labels, lengths)], expected)
        self.assertEqual(list(lengths), [len(t) for t in expected])

  def test_record_is_the_digest_and_survives_a_float32_variable(self):
    tokens = tokenizer.Tokenizer(GRAPHEMES)
    with open(tokens.path, 'rb') as f:
      self.assertEqual(tokens.sha256, hashlib.sha256(f.read()).hexdigest())
    self.assertLen(tokens.record, 16)

    class Recorder(graph_case.base_layer.BaseLayer):
      def _CreateLayerVariables(self):
        super()._CreateLayerVariables()
        provenance.CreateRecord(self, 'tokenizer_record', tokens.record)

    layer = self.Layer(Recorder.Params())
    value = self.Eval(layer.vars.tokenizer_record)
    self.assertEqual([float(x) for x in value], tokens.record)
    self.assertEqual(''.join(f'{int(x):04x}' for x in value), tokens.sha256)
    self.assertNotEqual(tokens.record, self._Trained('bpe', 60).record)

  def test_relative_paths_are_looked_up_from_here_then_from_the_checkout(self):
    here = os.getcwd()
    folder = self.create_tempdir().full_path
    with open(tokenizer.FindModel(GRAPHEMES), 'rb') as f:
      model = f.read()
    try:
      os.chdir(folder)
      found = tokenizer.Tokenizer(GRAPHEMES)
      self.assertTrue(os.path.isabs(found.path))
      _Write(folder, model)
      self.assertEqual(tokenizer.Tokenizer('m.model').sha256, found.sha256)
      self.assertEqual(tokenizer.FindModel('m.model'), 'm.model')
    finally:
      os.chdir(here)

  def test_missing_and_foreign_files_are_refused_in_one_line(self):
    folder = self.create_tempdir().full_path
    foreign = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(['a b c']), model_writer=foreign, model_type='char', vocab_size=7, minloglevel=3
    )
    junk = _Write(folder, b'not a model')
    for path, expected in (
      ('', 'tokenizer_file is empty: expected a SentencePiece model such as'),
      ('no/such.model', f'no/such.model: no such tokenizer in {os.getcwd()}; train'),
      ('/no/such.model', '/no/such.model: no such tokenizer; train'),
      (folder, f'{folder}: no such tokenizer; train'),
      (junk, f'{junk}: not a SentencePiece model (11 bytes)'),
    ):
      with self.subTest(path):
        self._AssertRefused(path, expected)
    self._AssertRefused(_Write(folder, b''), 'not a SentencePiece model (0 bytes)')
    here = os.getcwd()
    self.addCleanup(os.chdir, here)
    os.chdir(folder)
    self._AssertRefused('no/such.model', f'no/such.model: no such tokenizer in {folder} or {shipped.ROOT}; train')
    os.chdir(here)
    self._AssertRefused(
      _Write(folder, foreign.getvalue()), "label 0 is the piece '<unk>', expected blank, a control piece (pad_id=0)"
    )

  def _AssertRefused(self, path, expected):
    with self.assertRaises(errors.ConfigError) as caught:
      tokenizer.Tokenizer(path)
    self.assertIn(expected, str(caught.exception))
    self.assertEndsWith(str(caught.exception), _HOW_TO)
    self.assertNotIn('\n', str(caught.exception))


if __name__ == '__main__':
  absltest.main()
