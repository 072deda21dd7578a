"""Error rates: alignments, empty transcripts and confidence intervals."""

import numpy as np
from absl.testing import absltest

from fm_lingvo.evaluation import error_rates


def _EditDistance(a, b):
  """Levenshtein distance of two sequences."""
  row = list(range(len(b) + 1))
  for i, x in enumerate(a, 1):
    row, last = [i], row
    for j, y in enumerate(b, 1):
      row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
  return row[-1]


class ScoreTest(absltest.TestCase):
  def test_counts_equal_the_edit_distance(self):
    rng = np.random.RandomState(0)
    words = 'a bb ccc dd e'.split()
    texts = [[' '.join(rng.choice(words, rng.randint(0, 8))) for _ in range(40)] for _ in range(2)]
    score = error_rates.Score(*texts)
    per = score['per_utterance']
    for i, (r, h) in enumerate(zip(*texts)):
      self.assertEqual(per['errors'][i], _EditDistance(r.split(), h.split()))
      self.assertEqual(per['char_errors'][i], _EditDistance(r, h))
      self.assertEqual(per['words'][i] + per['insertions'][i] - per['deletions'][i], len(h.split()))
    self.assertAlmostEqual(score['wer'], per['errors'].sum() / per['words'].sum())
    self.assertAlmostEqual(score['cer'], per['char_errors'].sum() / per['chars'].sum())

  def test_kinds_of_errors(self):
    score = error_rates.Score(['one two three', 'four'], ['one too', 'four five six'])
    self.assertEqual([score[k] for k in ('insertions', 'deletions', 'substitutions', 'words')], [2, 1, 1, 4])
    self.assertEqual(score['wer'], 1.0)
    self.assertEqual(score['utterances'], 2)

  def test_identical_transcripts_have_no_error_and_no_interval(self):
    score = error_rates.Score(['a b', 'c'], [' a  b ', 'c'])
    for name in ('wer', 'cer', 'wer_low', 'wer_high', 'cer_low', 'cer_high'):
      self.assertEqual(score[name], 0.0)

  def test_words_for_an_empty_reference_are_insertions(self):
    score = error_rates.Score(['', 'a b'], ['x y', 'a b'])
    self.assertEqual(score['insertions'], 2)
    self.assertEqual(score['wer'], 1.0)
    self.assertEqual(list(score['per_utterance']['words']), [0, 2])

  def test_nothing_but_empty_references_still_counts_errors(self):
    score = error_rates.Score(['', ' '], ['x', ''])
    self.assertEqual((score['wer'], score['words'], score['insertions']), (1.0, 0, 1))
    self.assertEqual(error_rates.Score([''], [''])['wer'], 0.0)

  def test_empty_hypotheses_are_deletions(self):
    score = error_rates.Score(['a b', 'c'], ['', ''])
    self.assertEqual((score['wer'], score['cer'], score['deletions']), (1.0, 1.0, 3))

  def test_unequal_lists_and_no_utterance_are_refused(self):
    with self.assertRaisesRegex(ValueError, '2 references, 1 hypotheses: expected'):
      error_rates.Score(['a', 'b'], ['a'])
    with self.assertRaisesRegex(ValueError, 'no utterances'):
      error_rates.Score([], [])


class BootstrapTest(absltest.TestCase):
  def test_interval_is_that_of_the_normal_approximation(self):
    rng = np.random.RandomState(1)
    words = np.full(400, 10)
    errors = rng.binomial(10, 0.3, 400)
    low, high = error_rates.Bootstrap(errors, words)
    half = 1.96 * np.std(errors / 10) / np.sqrt(400)
    self.assertAlmostEqual(low, errors.mean() / 10 - half, delta=0.15 * half)
    self.assertAlmostEqual(high, errors.mean() / 10 + half, delta=0.15 * half)

  def test_covers_the_truth_about_as_often_as_it_says(self):
    rng = np.random.RandomState(2)
    hits = 0
    for _ in range(60):
      low, high = error_rates.Bootstrap(rng.binomial(8, 0.25, 100), np.full(100, 8))
      hits += low <= 0.25 <= high
    self.assertBetween(hits, 52, 60)

  def test_is_the_same_at_each_call_and_in_chunks(self):
    errors, words = np.arange(50) % 7, np.arange(50) % 9 + 1
    whole = error_rates.Bootstrap(errors, words)
    self.assertEqual(whole, error_rates.Bootstrap(errors, words))
    size = error_rates._CHUNK_SIZE
    try:
      error_rates._CHUNK_SIZE = 333
      self.assertEqual(whole, error_rates.Bootstrap(errors, words))
    finally:
      error_rates._CHUNK_SIZE = size

  def test_paired_interval_is_narrower_where_systems_err_together(self):
    rng = np.random.RandomState(3)
    words = np.full(200, 10)
    b = rng.binomial(10, rng.uniform(0, 0.8, 200))
    a = np.maximum(b - rng.binomial(1, 0.3, 200), 0)
    paired = error_rates.PairedBootstrap(a, b, words)
    self.assertAlmostEqual(paired['difference'], (a.sum() - b.sum()) / 2000)
    self.assertLess(paired['low'], paired['difference'])
    self.assertLess(paired['high'], 0)
    self.assertEqual(paired['a_better'], 1.0)
    low, high = error_rates.Bootstrap(a, words)
    self.assertLess(paired['high'] - paired['low'], (high - low) / 2)

  def test_paired_bootstrap_is_antisymmetric(self):
    a, b, words = [1, 2, 3, 0], [2, 2, 1, 1], [4, 5, 6, 3]
    one = error_rates.PairedBootstrap(a, b, words)
    other = error_rates.PairedBootstrap(b, a, words)
    self.assertAlmostEqual(one['difference'], -other['difference'])
    self.assertAlmostEqual(one['low'], -other['high'])

  def test_other_utterances_are_refused(self):
    with self.assertRaisesRegex(ValueError, 'errors of 1 and 2 utterances'):
      error_rates.PairedBootstrap([1], [1, 2], [3])


if __name__ == '__main__':
  absltest.main()
