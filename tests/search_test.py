"""Properties of greedy decoding and beam search."""

import itertools

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import fusion
from fm_lingvo.decoding import greedy
from fm_lingvo.decoding import search
from tests import search_case


class _Bigrams:
  """A language model: each label given the one before, the start being 0."""

  def __init__(self, seed, vocab_size=4):
    logits = 2 * np.random.RandomState(seed).randn(vocab_size, vocab_size)
    logits[:, 0] = -np.inf
    self._table = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

  def LogProb(self, labels):
    """Log-probability of a transcript."""
    return sum(self._table[a, b] for a, b in zip((0, *labels), labels))

  def ZeroState(self, batch):
    return py_utils.NestedMap(steps=tf.zeros([batch], tf.int32))

  def Step(self, ids, state):
    return (tf.gather(search_case.Float(self._table), ids), py_utils.NestedMap(steps=state.steps + 1))


def _GreedyReference(model, enc, max_symbols, max_labels):
  """Greedy decoding of enc [N, J] by two nested loops, in float64."""
  labels, frames, score = [], [], 0.0
  for t, enc_t in enumerate(enc):
    for symbols in itertools.count():
      log_probs = model.NodeLogProbs(enc_t, labels)
      best = int(np.argmax(log_probs))
      if symbols == max_symbols or len(labels) == max_labels:
        best = 0
      score += log_probs[best]
      if best == 0:
        break
      labels.append(best)
      frames.append(t)
  return labels, frames, score


class GreedyTest(search_case.DecodingCase):
  def test_equals_a_numpy_reference(self):
    lengths = [12, 7, 1, 0, 12]
    emitted = 0
    for seed, max_symbols, max_labels in ((0, 1, 20), (1, 2, 20), (2, 3, 40), (3, 5, 4), (4, 2, 20)):
      with self.subTest(seed), self.NewGraph():
        model, enc = search_case.Model(seed, blank_bias=1.0), self.Enc(5, 12, 6, seed=seed)
        out = self.Run(model, enc, lengths, max_symbols, max_labels)
        self.AssertWellFormed(out)
        for i, length in enumerate(lengths):
          labels, frames, score = _GreedyReference(model, enc[i, :length], max_symbols, max_labels)
          emitted += len(labels)
          [hypothesis] = self.Hypotheses(out, i)
          self.assertEqual(hypothesis[:2], (tuple(labels), tuple(frames)))
          self.assertAlmostEqual(hypothesis[2], score, delta=1e-4)
    self.assertGreater(emitted, 50)

  def test_limits_hold_for_a_model_that_always_emits(self):
    model, enc = search_case.Model(0, blank_bias=-50.0), self.Enc(1, 6, 6)
    for beam_size in (0, 1, 3):
      for max_symbols, max_labels, frames in (
        (1, 20, [0, 1, 2, 3, 4, 5]),
        (2, 20, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (3, 4, [0, 0, 0, 1]),
      ):
        with self.subTest(beam_size, max_symbols=max_symbols):
          out = self.Run(model, enc, [6], max_symbols, max_labels, beam_size)
          self.assertEqual(self.Hypotheses(out)[0][1], tuple(frames))


class BeamSearchTest(search_case.DecodingCase):
  def test_a_beam_of_1_is_greedy(self):
    lengths = [30, 17, 1, 0, 30, 25]
    for seed in range(4):
      with self.subTest(seed), self.NewGraph():
        model, enc = search_case.Model(seed, blank_bias=1.0), self.Enc(6, 30, 6, seed=seed)
        greedy = self.Run(model, enc, lengths, max_symbols=1 + seed)
        beam = self.Run(model, enc, lengths, max_symbols=1 + seed, beam_size=1)
        self.assertGreater(greedy.lengths.sum(), 5)
        self.AssertSame(beam, greedy, rtol=0)

  def test_a_large_beam_finds_every_transcript_with_its_whole_probability(self):
    for seed, frames, max_symbols, max_labels in ((0, 3, 1, 9), (1, 2, 2, 9), (2, 3, 2, 3), (3, 1, 3, 9), (4, 4, 1, 3)):
      with self.subTest(seed), self.NewGraph():
        model, enc = search_case.Model(seed), self.Enc(1, frames, 6, seed=seed)
        expected = search_case.AllTranscripts(model, enc[0], max_symbols, max_labels)
        out = self.Run(model, enc, [frames], max_symbols, max_labels, beam_size=600)
        found = self.Hypotheses(out)
        self.assertEqual(found[0][0], max(expected, key=expected.get))
        self.assertLen(found, len(expected))
        for labels, _, score in found:
          self.assertAlmostEqual(score, expected[labels], delta=1e-4)

  def test_merging_can_beat_the_best_alignment(self):
    # Some of these models have a winner that no single alignment would make one.
    differ = 0
    for seed in range(12):
      with self.NewGraph():
        model, enc = search_case.Model(seed), self.Enc(1, 4, 6, seed=seed)
        expected = search_case.AllTranscripts(model, enc[0], 1, 9)
        best = self.Hypotheses(self.Run(model, enc, [4], 1, 9, beam_size=64))[0][0]
        greedy = self.Hypotheses(self.Run(model, enc, [4], 1, 9))[0][0]
        self.assertGreaterEqual(expected[best], expected[greedy])
        differ += best != greedy
    self.assertGreater(differ, 0)

  def test_hypotheses_are_distinct_and_best_first(self):
    model, enc = search_case.Model(1, blank_bias=1.0), self.Enc(4, 20, 6)
    out = self.Run(model, enc, [20, 11, 3, 0], beam_size=5)
    self.AssertWellFormed(out)
    self.assertTrue((np.diff(out.scores, axis=1) <= 0).all())
    for i in range(3):
      transcripts = [labels for labels, _, _ in self.Hypotheses(out, i)]
      self.assertLen(set(transcripts), 5)
    # Without a frame there is but one transcript, of probability 1.
    self.assertEqual(self.Hypotheses(out, 3), [((), (), 0.0)])

  def test_frames_of_the_best_are_those_of_an_alignment(self):
    model, enc = search_case.Model(5, blank_bias=1.0), self.Enc(1, 10, 6)
    for labels, frames, score in self.Hypotheses(self.Run(model, enc, [10], beam_size=4)):
      alignment, emitted = 0.0, 0
      for t in range(10):
        while emitted < len(labels) and frames[emitted] == t:
          alignment += model.NodeLogProbs(enc[0, t], labels[:emitted])[labels[emitted]]
          emitted += 1
        alignment += model.NodeLogProbs(enc[0, t], labels[:emitted])[0]
      self.assertEqual(emitted, len(labels))
      self.assertLessEqual(alignment, score + 1e-4)
      self.assertGreater(alignment, score - 5)

  def test_language_model_moves_scores_and_the_winner(self):
    model, enc, lm = search_case.Model(2, blank_bias=-1), self.Enc(1, 3, 6), _Bigrams(0)
    expected = search_case.AllTranscripts(model, enc[0], 2, 3)
    winners = set()
    for weight, bonus in ((0.0, 0.0), (0.5, 0.0), (2.0, 0.0), (2.0, 5.0)):
      fused = {labels: score + weight * lm.LogProb(labels) + bonus * len(labels) for labels, score in expected.items()}
      found = self.Hypotheses(self.Run(model, enc, [3], 2, 3, beam_size=200, scorer=fusion.Weighted(lm, weight, bonus)))
      self.assertEqual(found[0][0], max(fused, key=fused.get))
      for labels, _, score in found:
        self.assertAlmostEqual(score, fused[labels], delta=1e-4)
      winners.add(found[0][0])
    self.assertGreater(len(winners), 1, winners)

  def test_the_internal_language_model_is_subtracted_exactly(self):
    model, enc, lm = search_case.Model(2, blank_bias=-1), self.Enc(1, 3, 6), _Bigrams(0)
    expected = search_case.AllTranscripts(model, enc[0], 2, 3)
    winners = set()
    for ilm_weight, lm_weight in ((0.0, 0.0), (0.7, 0.0), (2.5, 0.0), (0.7, 2.0)):
      wanted = {
        labels: score - ilm_weight * model.InternalLogProb(labels) + lm_weight * lm.LogProb(labels)
        for labels, score in expected.items()
      }
      options = dict(scorer=fusion.Weighted(lm, lm_weight)) if lm_weight else {}
      found = self.Hypotheses(
        self.Run(
          model, enc, [3], 2, 3, beam_size=200, internal_lm=model.InternalLogProbs, ilm_weight=ilm_weight, **options
        )
      )
      self.assertEqual(found[0][0], max(wanted, key=wanted.get))
      self.assertEqual({labels for labels, *_ in found}, set(wanted))
      for labels, _, score in found:
        self.assertAlmostEqual(score, wanted[labels], delta=1e-4)
      winners.add(found[0][0])
    self.assertGreater(len(winners), 1, winners)


class BothDecodersTest(search_case.DecodingCase):
  def test_results_do_not_depend_on_padding_or_batch(self):
    model, enc = search_case.Model(3, blank_bias=1.0), self.Enc(3, 15, 6)
    padded = np.concatenate([enc, np.full([3, 5, 6], np.nan, np.float32)], 1)
    padded[1, 9:] = np.nan
    for beam_size in (0, 4):
      with self.subTest(beam_size):
        together = self.Run(model, padded, [15, 9, 4], beam_size=beam_size)
        alone = self.Run(model, enc[1:2, :9], [9], beam_size=beam_size)
        self.assertGreater(alone.lengths.max(), 2)
        self.AssertSame({k: v[1:2] for k, v in together.items()}, alone)

  def test_shapes_are_static_where_the_inputs_are(self):
    for beam_size, hypotheses in ((0, 1), (4, 4)):
      out = self.Decode(search_case.Model(0), self.Enc(2, 5, 6), [5, 3], beam_size=beam_size)
      for field in search_case.FIELDS:
        shape = [2, hypotheses] + [20] * (field in ('labels', 'frames', 'label_scores'))
        self.assertEqual(out[field].shape.as_list(), shape)

  def test_batch_frames_and_limit_may_be_unknown_beforehand(self):
    model, enc = search_case.Model(0, blank_bias=1.0), self.Enc(2, 15, 6)
    unknown = tf.placeholder(tf.float32, [None, None, 6])
    limit = tf.placeholder(tf.int32, [])
    for beam_size in (0, 3):
      with self.subTest(beam_size):
        known = self.Run(model, enc, [15, 8], beam_size=beam_size, max_labels=6)
        arguments = (
          model.LogProbs,
          model.Step,
          model.ZeroState(tf.shape(unknown)[0]),
          unknown,
          tf.constant([15, 8]),
          2,
          limit,
        )
        if beam_size:
          out = search.BeamSearch(*arguments, beam_size=beam_size)
        else:
          out = greedy.Greedy(*arguments)
        self.AssertSame(self._session.run(dict(out), {unknown: enc, limit: 6}), known)

  def test_compiles_under_xla(self):
    model, enc, lm = search_case.Model(0, blank_bias=1.0), self.Enc(2, 15, 6), _Bigrams(0)
    for beam_size, options in (
      (0, {}),
      (3, {}),
      (3, dict(scorer=fusion.Weighted(lm, 0.5), internal_lm=model.InternalLogProbs, ilm_weight=0.3)),
    ):
      with self.subTest(beam_size, lm=bool(options)):

        def Decode():
          out = self.Decode(model, enc, [15, 8], beam_size=beam_size, **options)
          return [out[field] for field in search_case.FIELDS]

        compiled = dict(zip(search_case.FIELDS, self.Eval(*tf.function(Decode, jit_compile=True)())))
        plain = dict(zip(search_case.FIELDS, self.Eval(*Decode())))
        self.assertGreater(plain['lengths'].max(), 2)
        self.AssertSame(compiled, plain)


class CtcGreedyTest(search_case.DecodingCase):
  def _Ctc(self, logits, lengths):
    out = greedy.CtcGreedy(tf.convert_to_tensor(logits), tf.constant(lengths))
    return out.Pack(self.Eval(*out.Flatten()))

  def test_equals_a_numpy_reference(self):
    logits, lengths = 2 * self.Enc(4, 25, 4), [25, 10, 1, 0]
    for i, length in enumerate(lengths):
      logits[i, length:] = np.nan
    out = self._Ctc(logits, lengths)
    self.AssertWellFormed(out)
    self.assertEqual(out.labels.shape, (4, 1, 25))
    for i, length in enumerate(lengths):
      x = logits[i, :length].astype(np.float64)
      x -= np.logaddexp.reduce(x, axis=1, keepdims=True)
      best = x.argmax(axis=1)
      runs = [(label, next(run)) for label, run in itertools.groupby(range(length), key=lambda t: best[t])]
      [(labels, frames, score)] = self.Hypotheses(out, i)
      self.assertEqual(list(zip(labels, frames)), [r for r in runs if r[0]])
      self.assertAlmostEqual(score, x.max(axis=1).sum(), delta=1e-4)

  def test_repeats_are_one_label_unless_a_blank_parts_them(self):
    path = [1, 1, 0, 1, 2, 2, 1, 0, 0, 3]
    [(labels, frames, _)] = self.Hypotheses(self._Ctc(9 * np.eye(4, dtype=np.float32)[path][None], [10]))
    self.assertEqual(labels, (1, 1, 2, 1, 3))
    self.assertEqual(frames, (0, 3, 4, 6, 9))

  def test_compiles_under_xla(self):
    logits = tf.constant(2 * self.Enc(2, 25, 4))

    def Decode():
      out = greedy.CtcGreedy(logits, tf.constant([25, 9]))
      return [out[field] for field in search_case.FIELDS]

    for a, b in zip(self.Eval(*tf.function(Decode, jit_compile=True)()), self.Eval(*Decode())):
      np.testing.assert_allclose(a, b, rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
