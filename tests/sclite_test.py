"""Scores are those of jiwer, of a run's evaluation, and of NIST's sclite and sc_stats.

tests/sclite/counts.json has texts and what sclite and sc_stats counted on them, with their versions and flags.
"""

import json
import os

import jiwer
from absl.testing import absltest

from fm_lingvo.evaluation import error_rates
from fm_lingvo.evaluation import scoring
from fm_lingvo.evaluation import significance
from tests import score_case
from tools.scoring import matching
from tools.scoring import report

_GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'sclite', 'counts.json')


def _Sclite(counts):
  """[correct, substituted, deleted, inserted], as sclite says it."""
  return [counts.units - counts.substitutions - counts.deletions, *(counts.substitutions, counts.deletions)] + [
    counts.insertions
  ]


class SameAsOthersTest(score_case.FilesCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    with open(_GOLDEN, encoding='utf-8') as f:
      cls.golden = json.load(f)

  def _Result(self, system):
    ref, hyp = (self.Read(f'{name}.trn', *self.golden[f'{name}_trn']) for name in ('ref', system))
    return scoring.Score(ref.texts, hyp.texts, ref.speakers, 'sclite')

  def test_counts_of_each_utterance_are_those_of_sclite(self):
    for system in 'ab':
      got = {u.utt_id: _Sclite(u.words) for u in self._Result(system).utterances}
      self.assertEqual(got, self.golden[f'{system}_counts'])

  def test_errors_are_never_fewer_than_by_levenshtein(self):
    ref, hyp = (self.Read(f'{name}.trn', *self.golden[f'{name}_trn']).texts for name in ('ref', 'a'))
    fewest = scoring.Score(ref, hyp)
    self.assertLess(fewest.words.counts.errors, self._Result('a').words.counts.errors)  # bob-00: 5, sclite 6.

  def test_words_of_ctm_are_split_as_by_sclite(self):
    ref = self.Read('r.stm', *self.golden['ref_stm'])
    matched = matching.Match(ref, [self.Read('h.ctm', *self.golden['hyp_ctm'])], matching.Options())
    result = scoring.Score(matched.references, matched.hypotheses[0], matched.speakers, 'sclite')
    got = {name: _Sclite(t.words) for name, t in result.BySpeaker().items()}
    self.assertEqual(got, self.golden['speaker_counts'])
    self.assertIn('3 segments not scored (ignore_time_segment_in_scoring)', matched.notes[0])

  def test_matched_pairs_are_those_of_sc_stats(self):
    comparison = significance.Compare(self._Result('a'), self._Result('b'))
    self.assertEqual(comparison.segments, self.golden['mapsswe']['segments'])
    self.assertAlmostEqual(comparison.z, self.golden['mapsswe']['z'], places=3)

  def test_the_alignment_is_shown_as_by_sclite(self):
    (utterance,) = [u for u in self._Result('a').utterances if u.utt_id == 'bob-00']
    self.assertEqual(report.Aligned(utterance)[1:], self.golden['aligned'][1:])

  def test_rates_are_those_of_jiwer_and_of_a_run_s_evaluation(self):
    refs, hyps = score_case.Texts(0)
    result = scoring.Score(refs, hyps)
    lists = list(refs.values()), list(hyps.values())
    words, chars = jiwer.process_words(*lists), jiwer.process_characters(*lists)
    for counts, expected in ((result.words.counts, words), (result.chars.counts, chars)):
      self.assertEqual(
        (counts.substitutions, counts.deletions, counts.insertions),
        (expected.substitutions, expected.deletions, expected.insertions),
      )
    self.assertAlmostEqual(result.words.counts.rate, words.wer)
    self.assertAlmostEqual(result.chars.counts.rate, chars.cer)
    run = error_rates.Score(*lists)
    self.assertEqual((result.words.low, result.words.high), (run['wer_low'], run['wer_high']))
    self.assertEqual((result.chars.low, result.chars.high), (run['cer_low'], run['cer_high']))


if __name__ == '__main__':
  absltest.main()
