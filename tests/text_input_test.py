"""Properties of the batches of text: contents, order, shapes, shares, errors."""

import collections
import os

import numpy as np
from lingvo import compat as tf
from lingvo.core import cluster_factory

from fm_lingvo import errors
from fm_lingvo.data import text_input
from fm_lingvo.data import tokenizer
from params import base
from tests import graph_case

_BOUNDS, _SIZES = [4, 8, 12], [5, 3, 2]


class TextInputTest(graph_case.absltest.TestCase):
  def setUp(self):
    super().setUp()
    self._folder = self.create_tempdir().full_path
    rng = np.random.RandomState(0)
    lines = {''.join(rng.choice(list('abcdefgh'), rng.randint(1, 13))) for _ in range(60)}
    self._lines = sorted(lines)
    self._Write('train-0.txt', self._lines[:30] + ['far too long a line'])
    self._Write('train-1.txt', ['', *self._lines[30:]])

  def _Write(self, name, lines):
    with open(os.path.join(self._folder, name), 'w', encoding='utf-8') as f:
      f.writelines(line + '\n' for line in lines)

  def _Params(self, **fields):
    return (
      text_input.TextInput.Params()
      .Set(
        file_pattern=f'{self._folder}/train-*.txt',
        tokenizer_file=base.GRAPHEMES_EN,
        bucket_upper_bound=_BOUNDS,
        bucket_batch_size=_SIZES,
        random_seed=3,
      )
      .Set(**fields)
    )

  def _Read(self, p, num_batches=None, start_step=0, is_eval=False):
    """Batches of a fresh graph; without a number of batches to the end."""
    batches = []
    with tf.Graph().as_default(), cluster_factory.SetEval(is_eval):
      generator = p.Instantiate()
      batch = generator.GetPreprocessedInputBatch()
      with tf.Session() as sess:
        generator.start_step = start_step
        generator.Initialize(sess)
        while num_batches is None or len(batches) < num_batches:
          try:
            batches.append(sess.run(batch))
          except tf.errors.OutOfRangeError:
            return batches
    return batches

  def _Texts(self, batch):
    tokens = tokenizer.Tokenizer(base.GRAPHEMES_EN)
    return [tokens.DecodeIds(labels[:length]) for labels, length in zip(batch.labels, batch.lengths) if length]

  def test_evaluation_has_every_line_once_and_rows_that_fill_up_weigh_nothing(self):
    batches = self._Read(self._Params(), is_eval=True)
    self.assertCountEqual(sum(map(self._Texts, batches), []), self._lines)
    for batch in batches:
      np.testing.assert_array_equal(batch.weights, batch.lengths > 0)
      np.testing.assert_array_equal(batch.num_chars, batch.lengths)  # A label a character.
      np.testing.assert_array_equal(batch.labels > 0, np.arange(batch.labels.shape[1]) < batch.lengths[:, None])
      np.testing.assert_array_equal(batch.dropped, 1)  # The one that is too long.

  def test_every_batch_has_the_shape_of_a_bucket(self):
    for is_eval in (False, True):
      shapes = {batch.labels.shape for batch in self._Read(self._Params(), 40, is_eval=is_eval)}
      self.assertEqual(shapes, set(zip(_SIZES, _BOUNDS)))
    with tf.Graph().as_default():
      batch = self._Params(bucket_upper_bound=[12], bucket_batch_size=[4]).Instantiate().GetPreprocessedInputBatch()
      self.assertEqual([batch.labels.shape, batch.lengths.shape], [[4, 12], [4]])

  def test_training_has_every_line_equally_often_in_an_order_of_its_seed(self):
    texts = {}
    for seed in (3, 4):
      batches = self._Read(self._Params(random_seed=seed), 400)
      texts[seed] = sum(map(self._Texts, batches), [])
      counts = collections.Counter(texts[seed])
      self.assertCountEqual(counts, self._lines)
      self.assertLessEqual(max(counts.values()) - min(counts.values()), 2)  # Lines wait for a batch to be full.
    self.assertNotEqual(texts[3][:20], texts[4][:20])

  def test_a_run_that_goes_on_sees_the_batches_that_it_would_have_seen(self):
    whole = self._Read(self._Params(), 40)
    rest = self._Read(self._Params(), 17, start_step=23)
    for expected, found in zip(whole[23:], rest):
      for name in expected:
        np.testing.assert_array_equal(expected[name], found[name])

  def test_workers_share_the_lines(self):
    found = []
    for index in (0, 1):
      for batch in self._Read(self._Params(num_workers=2, worker_index=index), is_eval=True):
        found += self._Texts(batch)
    self.assertCountEqual(found, self._lines)

  def test_a_line_ends_only_at_line_feeds(self):
    with open(os.path.join(self._folder, 'train-2.txt'), 'wb') as f:
      f.write(b'\xef\xbb\xbfbad\xe2\x80\xa8cab\r\nfed\x0bgab')
    found = sum(
      map(self._Texts, self._Read(self._Params(file_pattern=f'{self._folder}/train-2.txt'), is_eval=True)), []
    )
    self.assertCountEqual([text.replace('\u2047', '?') for text in found], ['bad?cab', 'fed?gab'])

  def test_what_cannot_be_used_is_refused_in_a_line(self):
    self._Write('long.txt', ['far too long a line'])
    with open(os.path.join(self._folder, 'latin.txt'), 'wb') as f:
      f.write('naïve'.encode('latin-1'))
    for fields, message in (
      (dict(bucket_upper_bound=[8, 4, 12]), r'input.bucket_upper_bound = \[8, 4, 12\]: expected ascending'),
      (dict(bucket_batch_size=[2.5, 2, 2]), r'bucket_batch_size = \[2.5, 2, 2\]: expected 3 integers >= 1'),
      (dict(bucket_batch_size=[3]), r'input.bucket_batch_size = \[3\]: expected 3 integers >= 1'),
      (dict(prefetch_batches=-1), 'input.prefetch_batches = -1: expected >= 0'),
      (dict(tokenizer_file='no.model'), 'no.model: no such tokenizer'),
      (dict(file_pattern=f'{self._folder}/long.txt'), 'no line is left of 1; 1 are longer than 12 labels'),
      (dict(file_pattern=f'{self._folder}/latin.txt'), r'latin.txt:1: expected text in UTF-8 \(.*\)'),
    ):
      with self.subTest(message), tf.Graph().as_default():
        with self.assertRaisesRegex(errors.ConfigError, message) as e:
          self._Params(**fields).Instantiate()
        self.assertNotIn('\n', str(e.exception))
    with tf.Graph().as_default():
      cluster = cluster_factory.Current().params.Copy().Set(tf_data_service_address='grpc://localhost:1')
      message = '--tf_data_service_address=.*: expected none'
      with cluster.Instantiate(), self.assertRaisesRegex(errors.ConfigError, message):
        self._Params().Instantiate()

  def test_files_that_are_not_there_are_named(self):
    self.assertEqual(text_input.TextInput.MissingData(self._Params()), [])
    pattern = f'{self._folder}/dev*.txt'
    self.assertEqual(text_input.TextInput.MissingData(self._Params(file_pattern=pattern)), [('file_pattern', pattern)])


if __name__ == '__main__':
  graph_case.absltest.main()
