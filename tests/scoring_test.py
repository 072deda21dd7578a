"""Properties of scores and comparisons."""

from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.evaluation import alignment
from fm_lingvo.evaluation import scoring
from fm_lingvo.evaluation import significance
from tests import score_case


class ScoreTest(absltest.TestCase):
  def test_alignments_hold_all_words_in_order(self):
    refs, hyps = score_case.Texts(1)
    for costs in alignment.COSTS:
      for utterance in scoring.Score(refs, hyps, costs=costs).utterances:
        left, right = ([p[i] for p in utterance.pairs if p[i] is not None] for i in (0, 1))
        self.assertEqual(left, refs[utterance.utt_id].split())
        self.assertEqual(right, hyps[utterance.utt_id].split())
        self.assertNotIn((None, None), utterance.pairs)

  def test_speakers_add_up_to_all_and_are_what_is_resampled(self):
    refs, hyps = score_case.Texts(2)
    speakers = {i: i.partition('-')[0] for i in refs}
    result = scoring.Score(refs, hyps, speakers)
    self.assertEqual((result.resampled, result.clusters), ('speakers', 4))
    totals = result.BySpeaker()
    self.assertEqual(list(totals), ['s0', 's1', 's2', 's3'])
    self.assertEqual(sum((t.words for t in totals.values()), alignment.Counts()), result.words.counts)
    self.assertEqual(sum((t.chars for t in totals.values()), alignment.Counts()), result.chars.counts)
    plain = scoring.Score(refs, hyps, speakers, resample='utterances')
    self.assertEqual((plain.resampled, plain.clusters), ('utterances', 60))
    self.assertEqual(plain.words, scoring.Score(refs, hyps).words)

  def test_an_interval_is_wider_if_errors_are_the_speakers(self):
    refs = {f's{i % 20}-{i}': 'a b c d' for i in range(200)}
    hyps = {i: 'a b c d' if int(i[1:].partition('-')[0]) % 4 else 'x y z d' for i in refs}
    speakers = {i: i.partition('-')[0] for i in refs}
    by_speaker, by_utterance = (scoring.Score(refs, hyps, s).words for s in (speakers, None))
    self.assertGreater(by_speaker.high - by_speaker.low, 2 * (by_utterance.high - by_utterance.low))

  def test_utterances_of_unknown_speakers_are_speakers_of_their_own(self):
    result = scoring.Score({'a': 'x', 'b': 'y', 'c': 'z'}, {'a': 'x', 'b': '', 'c': ''}, {'a': 's', 'b': 's'})
    self.assertEqual((result.resampled, result.clusters), ('speakers', 2))
    self.assertEqual(list(result.BySpeaker()), ['', 's'])

  def test_empty_texts(self):
    result = scoring.Score({'a': '', 'b': 'x y'}, {'a': 'one two', 'b': ' '})
    self.assertEqual(result.words.counts, alignment.Counts(0, 2, 2, 2))
    self.assertEqual(scoring.Score({'a': ''}, {'a': ''}).words.counts.rate, 0.0)

  def test_worst_come_first_and_right_ones_are_left_out(self):
    result = scoring.Score({'a': 'x y z', 'b': 'x', 'c': 'x', 'd': 'p q'}, {'a': 'x', 'b': 'x', 'c': '', 'd': ''})
    self.assertEqual([u.utt_id for u in result.Worst(9)], ['d', 'a', 'c'])
    self.assertEqual([u.utt_id for u in result.Worst(1)], ['d'])

  def test_texts_too_long_for_sclite_s_costs_are_refused(self):
    text = 'a ' * 30000
    with self.assertRaisesRegex(errors.ConfigError, '30000 and 30000 words in one utterance'):
      alignment.Align([text], [text], 'sclite')

  def test_ids_of_one_side_are_named(self):
    refs, hyps = {'utt-1': 'a', 'utt-2': 'b'}, {'utt-1': 'a', 'utt_2': 'b'}
    message = 'no hypothesis for 1 of 2 .* utt-2; 1 not in the reference, such as utt_2; did you mean utt-2'
    with self.assertRaisesRegex(errors.ConfigError, message):
      scoring.Score(refs, hyps)
    ids, line = scoring.Match(refs, hyps, 'h.txt', ignore_missing=True)
    self.assertEqual(ids, ['utt-1'])
    self.assertIn('h.txt: no hypothesis for 1 of 2', line)
    for a, b in (({'x': 'a'}, {'y': 'a'}), ({}, {})):
      with self.assertRaises(errors.ConfigError):
        scoring.Match(a, b, ignore_missing=True)


class CompareTest(absltest.TestCase):
  def test_a_system_does_not_differ_from_itself_and_swapping_turns_the_signs(self):
    refs, hyps = score_case.Texts(3)
    others = {i: text[2:] for i, text in hyps.items()}
    a, b = scoring.Score(refs, hyps), scoring.Score(refs, others)
    same = significance.Compare(a, a)
    self.assertEqual((same.difference, same.low, same.high, same.p), (0.0, 0.0, 0.0, None))
    self.assertFalse(same.bootstrap_significant)
    there, back = significance.Compare(a, b), significance.Compare(b, a)
    self.assertAlmostEqual(there.difference, -back.difference)
    self.assertAlmostEqual(there.z, -back.z)
    self.assertAlmostEqual(there.p, back.p)
    self.assertAlmostEqual(there.difference, a.words.counts.rate - b.words.counts.rate)

  def test_segments_hold_all_errors(self):
    refs, hyps = score_case.Texts(4)
    others = dict(zip(refs, reversed(hyps.values())))
    a, b = scoring.Score(refs, hyps), scoring.Score(refs, others)
    segments = [s for x, y in zip(a.utterances, b.utterances) for s in significance.Segments(x.pairs, y.pairs)]
    self.assertEqual([sum(s) for s in zip(*segments)], [r.words.counts.errors for r in (a, b)])

  def test_two_words_that_both_have_right_part_segments_and_one_does_not(self):
    ref = 'p q r s t'.split()
    both = [(w, 'x' if w == 'p' else w) for w in ref]
    self.assertEqual(significance.Segments(both, [(w, 'x' if w == 's' else w) for w in ref]), [(1, 0), (0, 1)])
    self.assertEqual(significance.Segments(both, [(w, 'x' if w == 'r' else w) for w in ref]), [(1, 1)])

  def test_other_utterances_are_refused(self):
    with self.assertRaisesRegex(errors.ConfigError, 'different utterances'):
      significance.Compare(scoring.Score({'a': 'x'}, {'a': 'x'}), scoring.Score({'b': 'x'}, {'b': 'x'}))


if __name__ == '__main__':
  absltest.main()
