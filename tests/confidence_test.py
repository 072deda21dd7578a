"""Confidence of words: what speaks for them, its calibration, and the tables that show whether it is honest."""

import json
import math
import os
import tempfile

import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.decoding import confidence
from fm_lingvo.decoding import words
from fm_lingvo.evaluation import reliability
from fm_lingvo.utils import files
from tools.common import calibration

_SURFACES = [b'', b' ', b'a', b'b']


def _Found(labels, frames, label_scores, score=-1.0):
  return words.Found(score, label_scores, words.Spans(_SURFACES, labels, frames))


def _Rows(rng, number=300, honest=False):
  """Rows of an evaluation whose words are right less often than their `mean` says, unless honest."""
  rows = []
  for i in range(number):
    reference, found = [], []
    for j in range(5):
      p = float(rng.uniform(0.05, 0.999))
      truth = p if honest else 1 / (1 + math.exp(-(0.5 * confidence.LogOdds(p) - 0.7)))
      right = rng.rand() < truth
      reference.append(f'w{j}')
      found.append({'word': f'w{j}' if right else 'x', 'evidence': {'mean': p, 'lowest': float(rng.rand())}})
    rows.append({'utt_id': f'{i}', 'branch': 'labeled', 'reference': ' '.join(reference), 'hypothesis_words': found})
  return rows


class WordsTest(absltest.TestCase):
  def test_the_labels_of_a_word_speak_for_it_without_the_spaces_around(self):
    found = _Found([1, 2, 3, 1, 2], [0, 1, 2, 3, 9], np.log([0.1, 0.5, 0.125, 0.1, 0.9]).tolist())
    self.assertEqual([span.text for span in found.spans], ['ab', 'a'])
    self.assertEqual([span.frames for span in found.spans], [(1, 2), (9, 9)])
    first, second = words.Evidence(found, [found])
    self.assertEqual(sorted(first), ['lowest', 'mean'])  # Without other hypotheses.
    self.assertAlmostEqual(first['mean'], 0.25)
    self.assertAlmostEqual(first['lowest'], 0.125)
    self.assertAlmostEqual(second['mean'], 0.9)

  def test_hypotheses_with_the_same_word_at_the_same_time_speak_for_it(self):
    scores = [0.0] * 3
    best = _Found([2, 1, 3], [0, 4, 5], scores, score=math.log(0.5))
    others = [
      _Found([2, 1, 2], [0, 4, 5], scores, score=math.log(0.3)),  # The second word is another one.
      _Found([3, 1, 2], [0, 4, 5], scores, score=math.log(0.2)),  # The same words at other times.
    ]
    first, second = words.Evidence(best, [best, *others])
    self.assertAlmostEqual(first['posterior'], 0.8)
    self.assertAlmostEqual(second['posterior'], 0.5)

  def test_a_head_without_scores_of_labels_shares_out_its_score(self):
    out = {
      'labels': np.array([[[2, 3, 0]]]),
      'frames': np.zeros([1, 1, 3], int),
      'lengths': np.array([[2]]),
      'scores': np.array([[2 * math.log(0.25)]]),
    }
    (found,) = words.FoundOf(_SURFACES, out, 0, [0])
    self.assertAlmostEqual(words.Evidence(found, [found])[0]['mean'], 0.25)
    out['lengths'][:] = 0
    self.assertEqual(words.FoundOf(_SURFACES, out, 0, [0])[0].spans, [])


class CalibrationTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.run_folder = self.enter_context(tempfile.TemporaryDirectory())

  def test_the_expected_calibration_error_is_that_of_its_definition(self):
    table = reliability.Table([0.05, 0.05, 0.95, 1.0], [0, 1, 1, 1])
    self.assertEqual([(b.low, b.count, b.right) for b in table.bins], [(0.0, 2, 0.5), (0.9, 2, 1.0)])
    self.assertAlmostEqual(table.ece, (2 * 0.45 + 2 * 0.025) / 4)
    self.assertEqual(sum(b['count'] for b in table.Row()['bins']), 4)

  def test_a_fit_finds_what_made_the_data_and_lowers_the_error(self):
    judged = reliability.Judge(_Rows(np.random.RandomState(0), 600))
    best, worse = reliability.Calibrate(judged)
    self.assertEqual((best.measure, worse.measure), ('mean', 'lowest'))
    self.assertAlmostEqual(best.slope, 0.5, delta=0.1)
    self.assertAlmostEqual(best.offset, -0.7, delta=0.15)
    self.assertGreater(judged.Words(confidence.UNFITTED).ece, 0.1)
    self.assertLess(judged.Words(best).ece, 0.03)
    self.assertLess(judged.Utterances(best).ece, 0.1)
    with self.subTest('on other data'):
      self.assertLess(reliability.Judge(_Rows(np.random.RandomState(1), 600)).Words(best).ece, 0.05)

  def test_a_measure_that_is_sure_of_all_and_often_wrong_is_fitted(self):
    values = [1.0] * 60 + [0.0] * 40 + [0.5] * 5  # Of a beam whose hypotheses all agree, or not at all.
    right = ([1, 0, 0] * 40)[:105]
    fitted = reliability.Fit('posterior', values, right)
    table = reliability.Table([fitted.Probability({'posterior': v}) for v in values], right)
    self.assertLess(table.ece, 0.05)
    self.assertLess(table.log_loss, 0.65)

  def test_an_honest_measure_stays_as_it_is(self):
    best = reliability.Calibrate(reliability.Judge(_Rows(np.random.RandomState(0), 600, honest=True)))[0]
    for p in (0.1, 0.5, 0.9):
      self.assertAlmostEqual(best.Probability({'mean': p}), p, delta=0.05)

  def test_words_that_are_all_right_or_all_wrong_give_finite_parameters(self):
    for right in (True, False):
      fitted = reliability.Fit('mean', [0.5, 0.9, 0.99], [right] * 3)
      self.assertTrue(math.isfinite(fitted.slope) and math.isfinite(fitted.offset))
      self.assertEqual(fitted.Probability({'mean': 0.9}) > 0.5, right)
    with self.subTest('more evidence never makes a word less probable'):
      self.assertGreaterEqual(reliability.Fit('mean', [0.1, 0.9], [True, False]).slope, 0.0)

  def test_what_is_written_is_read_if_its_measure_is_there(self):
    fitted = [
      confidence.Calibration('posterior', 0.5, -0.25, fitted=True),
      confidence.Calibration('lowest', 2.0, 1.0, fitted=True),
    ]
    confidence.Write(self.run_folder, fitted, {'dataset': 'Dev'})
    self.assertEqual(confidence.Read(self.run_folder), fitted[0])
    self.assertEqual(confidence.Read(self.run_folder, words.OF_LABELS), fitted[1])
    self.assertEqual(confidence.Read(self.run_folder + '/absent'), confidence.UNFITTED)
    with open(os.path.join(self.run_folder, confidence.FILE), 'w', encoding='utf-8') as f:
      f.write('{"calibrations": [{"measure": "mean", "slope": NaN, "offset": 0}]}')
    with self.assertRaisesRegex(errors.ConfigError, r'confidence.json: expected what tools.evaluate --calibrate wrote'):
      confidence.Read(self.run_folder)

  def test_the_report_says_what_was_fitted_and_writes_the_table(self):
    rows = _Rows(np.random.RandomState(0))
    rows += [dict(row, branch='ctc', hypothesis_words=[]) for row in rows]  # Of another branch.
    before = calibration.Report(self.run_folder, 'Dev', rows, None)
    self.assertStartsWith(before[0], 'Dev: words (measure mean, not calibrated): 1500, ECE 0.')
    self.assertEqual([*calibration.Ece(self.run_folder, 'Dev', rows)], ['not calibrated'])
    lines = calibration.Calibrate(self.run_folder, 'Dev', 7, rows)
    (_, uncalibrated), (name, calibrated) = calibration.Ece(self.run_folder, 'Dev', rows).items()
    self.assertEqual(name, 'calibrated, measure mean')
    self.assertLess(calibrated, uncalibrated)
    self.assertRegex(lines[1], r'^mean: slope 0\.\d+, offset -0\.\d+: log loss 0\.\d+, ECE 0\.0\d+$')
    after = calibration.Report(self.run_folder, 'Dev', rows, self.run_folder + '/out')
    self.assertStartsWith(after[0], 'Dev: words (measure mean, calibrated): 1500, ECE 0.0')
    with open(self.run_folder + '/out/reliability/Dev.json', encoding='utf-8') as f:
      table = json.load(f)
    calibration.Report(self.run_folder, 'Dev', rows, 'ram://confidence_test')  # As TensorFlow reaches gs://.
    with files.Open('ram://confidence_test/reliability/Dev.json') as f:
      self.assertEqual(json.load(f), table)
    with open(os.path.join(self.run_folder, confidence.FILE), encoding='utf-8') as f:
      written = json.load(f)
    self.assertEqual((written['dataset'], written['step']), ('Dev', 7))
    self.assertEqual(written['words'], table['words'])
    with self.assertRaisesRegex(errors.ConfigError, 'Dev: 5 words recognised; confidence needs at least 20'):
      calibration.Calibrate(self.run_folder, 'Dev', 7, rows[:1])


if __name__ == '__main__':
  absltest.main()
