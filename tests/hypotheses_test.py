"""Hypotheses of an evaluation: collected without padding, scored, written whole."""

import json
import tempfile
import types

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import search
from fm_lingvo.evaluation import hotword_counts
from fm_lingvo.evaluation import hypotheses

GRAPHEMES = 'params/tokenizers/graphemes_en.model'


def _Task(model):
  """What Recognition needs of a task with the branch `a` on the stream `s`."""
  keys = [
    'a/encoded',
    'a/hyp_labels',
    'a/hyp_lengths',
    'a/hyp_scores',
    's/utt_ids',
    's/texts',
    's/domains',
    's/weights',
    's/num_samples',
  ]
  branch = types.SimpleNamespace(stream='s', head='h')
  other = types.SimpleNamespace(stream='t', head='h')
  return types.SimpleNamespace(
    per_example_tensors={key: key for key in keys},
    branches=[('a', branch), ('b', other)],
    Tokenizers=lambda: {'a': model, 'b': model},
  )


def _Batch(model, texts, hypotheses, weights):
  """texts: B strings; hypotheses: B lists of K (text, score)."""
  labels = [[model.EncodeText(t) for t, _ in row] for row in hypotheses]
  longest = max(len(x) for row in labels for x in row)
  return {
    'hyp_labels': np.array([[x + [0] * (longest - len(x)) for x in row] for row in labels]),
    'hyp_lengths': np.array([[len(x) for x in row] for row in labels]),
    'hyp_scores': np.array([[s for _, s in row] for row in hypotheses]),
    'utt_ids': np.array([f'u{i}'.encode() for i in range(len(texts))]),
    'texts': np.array([t.encode() for t in texts]),
    'domains': np.array([b'd'] * len(texts)),
    'weights': np.array(weights, np.float32),
    'num_samples': np.array([16000] * len(texts)),
  }


class RecognitionTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.model = tokenizer.Tokenizer(GRAPHEMES)

  def _Recognition(self):
    (found,) = hypotheses.ForTask(_Task(self.model))
    return found

  def test_only_branches_that_decode_are_collected(self):
    self.assertEqual(self._Recognition().fetches['hyp_labels'], 'a/hyp_labels')

  def test_errors_are_summed_over_batches_and_padding_is_left_out(self):
    found = self._Recognition()
    found.Add(_Batch(self.model, ['one two', 'pad'], [[('one too', -1.0)], [('what', -2.0)]], [1, 0]))
    found.Add(_Batch(self.model, ['a b'], [[('a b', -1.5)]], [1]))
    values, rows = found.Finish()
    self.assertEqual(values['a/wer'], 0.25)
    self.assertEqual(values['a/substitutions'], 1)
    self.assertEqual([row['utt_id'] for row in rows], ['u0', 'u0'])
    self.assertEqual(rows[0]['hypothesis'], 'one too')
    self.assertEqual([row['errors'] for row in rows], [1, 0])
    with self.subTest('what was finished is forgotten'):
      self.assertEqual(found.Finish(), ({}, []))

  def test_n_best_leaves_out_hypotheses_that_do_not_exist(self):
    found = self._Recognition()
    found.Add(_Batch(self.model, ['a'], [[('a', -1.0), ('b', -2.0), ('', search.NEVER)]], [1]))
    _, rows = found.Finish()
    self.assertEqual([x['hypothesis'] for x in rows[0]['n_best']], ['a', 'b'])

  def test_rows_are_written_with_their_step_in_place_of_older_ones(self):
    tmp = tempfile.TemporaryDirectory()
    self.addCleanup(tmp.cleanup)
    for folder in (tmp.name, 'ram://hypotheses_test'):  # The second as TensorFlow reaches gs://.
      with self.subTest(folder):
        for step in (1, 2):
          path = hypotheses.Write(folder, 'Dev', step, [{'utt_id': 'u', 'reference': 'é', 'hypothesis': 'e'}])
        with tf.io.gfile.GFile(path) as f:
          rows = [json.loads(line) for line in f]
        self.assertEqual(rows, [{'step': 2, 'utt_id': 'u', 'reference': 'é', 'hypothesis': 'e'}])
        self.assertEqual(tf.io.gfile.listdir(f'{folder}/hypotheses'), ['Dev.jsonl'])


class HotwordCountsTest(absltest.TestCase):
  def test_whole_words_are_counted_by_branch(self):
    rows = [
      {'branch': 'a', 'reference': 'ann lee ann', 'hypothesis': 'ann  lee anna'},
      {'branch': 'a', 'reference': 'x', 'hypothesis': 'ann ann'},
      {'branch': 'b', 'reference': 'ann lee', 'hypothesis': ''},
    ]
    self.assertEqual(
      hotword_counts.Count(rows, ['ann', 'ann  lee']),
      {
        'a/hotwords_said': 3,
        'a/hotwords_found': 2,
        'a/hotwords_false': 2,
        'b/hotwords_said': 2,
        'b/hotwords_found': 0,
        'b/hotwords_false': 0,
      },
    )
    self.assertEqual(hotword_counts.Count(rows, []), {})


if __name__ == '__main__':
  absltest.main()
