"""Properties of greedy decoding and beam search."""

import itertools

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import search
from tests import graph_case

_FIELDS = ('labels', 'lengths', 'scores', 'frames')


class _Model:
  """A small transducer, in NumPy float64 and in TensorFlow.

  Its predictions are a recurrent function of all labels so far.
  """

  def __init__(self, seed, vocab_size=4, width=6, blank_bias=0.0):
    rng = np.random.RandomState(seed)
    self._embedding = rng.randn(vocab_size, width)
    self._recurrent = rng.randn(width, width) / np.sqrt(width)
    self._w = 1.5 * rng.randn(width, vocab_size)
    self._b = blank_bias * np.eye(vocab_size)[0]

  def Predict(self, labels):
    """Prediction [J] after some labels."""
    pred = np.zeros(len(self._recurrent))
    for label in (0, *labels):
      pred = np.tanh(pred @ self._recurrent + self._embedding[label])
    return pred

  def NodeLogProbs(self, enc_t, labels):
    """Log-probabilities [V] at frame enc_t [J] after some labels."""
    logits = np.tanh(enc_t + self.Predict(labels)) @ self._w + self._b
    return logits - np.logaddexp.reduce(logits)

  def InternalLogProb(self, labels):
    """Log-probability of a transcript, blanks aside, at frames of zeros."""
    total = 0.0
    for u, label in enumerate(labels):
      logits = (np.tanh(self.Predict(labels[:u])) @ self._w + self._b)[1:]
      total += logits[label - 1] - np.logaddexp.reduce(logits)
    return total

  def InternalLogProbs(self, pred):
    logits = tf.matmul(tf.tanh(pred), _Float(self._w)) + _Float(self._b)
    return tf.pad(tf.nn.log_softmax(logits[:, 1:]), [[0, 0], [1, 0]], constant_values=-7.0)  # Of blank: ignored.

  def LogProbs(self, enc_t, pred):
    logits = tf.matmul(tf.tanh(enc_t + pred), _Float(self._w)) + _Float(self._b)
    return tf.nn.log_softmax(logits)

  def Step(self, ids, state):
    pred = tf.tanh(tf.matmul(state.pred, _Float(self._recurrent)) + tf.gather(_Float(self._embedding), ids))
    return pred, py_utils.NestedMap(pred=pred)

  def ZeroState(self, batch):
    return py_utils.NestedMap(pred=tf.zeros([batch, len(self._recurrent)]))


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
    return (tf.gather(_Float(self._table), ids), py_utils.NestedMap(steps=state.steps + 1))


def _Float(x):
  return tf.constant(x, tf.float32)


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


def _AllTranscripts(model, enc, max_symbols, max_labels):
  """{transcript: log of its probability summed over all alignments of enc [N, J]}."""
  found = {(): 0.0}
  for enc_t in enc:
    after = {}
    for start, start_score in found.items():
      for count in range(min(max_symbols, max_labels - len(start)) + 1):
        for added in itertools.product((1, 2, 3), repeat=count):
          score, labels = start_score, start
          for label in added:
            score += model.NodeLogProbs(enc_t, labels)[label]
            labels += (label,)
          score += model.NodeLogProbs(enc_t, labels)[0]
          after[labels] = np.logaddexp(after.get(labels, -np.inf), score)
    found = after
  return found


class DecodingCase(graph_case.GraphCase):
  def _Enc(self, *shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)

  def _Decode(self, model, enc, lengths, max_symbols=2, max_labels=20, beam_size=0, **options):
    """Greedy without a beam size; tensors as a NestedMap."""
    arguments = (
      model.LogProbs,
      model.Step,
      model.ZeroState(enc.shape[0]),
      tf.convert_to_tensor(enc),
      tf.constant(lengths),
      max_symbols,
      max_labels,
    )
    if not beam_size:
      return search.Greedy(*arguments)
    return search.BeamSearch(*arguments, beam_size=beam_size, **options)

  def _Run(self, *args, **kwargs):
    out = self._Decode(*args, **kwargs)
    return out.Pack(self.Eval(*out.Flatten()))

  def _Hypotheses(self, out, i=0):
    """[(transcript, frames, score)] of utterance i, those that do not exist left out."""
    return [
      (tuple(out.labels[i, k, :length]), tuple(out.frames[i, k, :length]), out.scores[i, k])
      for k, length in enumerate(out.lengths[i])
      if out.scores[i, k] > search.NEVER
    ]

  def _AssertSame(self, first, second, rtol=1e-5):
    for field in _FIELDS:
      np.testing.assert_allclose(first[field], second[field], rtol=rtol, atol=1e-4, err_msg=field)

  def _AssertWellFormed(self, out):
    """Nothing behind a hypothesis's end, frames ascend, no blanks."""
    behind = np.arange(out.labels.shape[2]) >= out.lengths[..., None]
    self.assertFalse(out.labels[behind].any() or out.frames[behind].any())
    self.assertTrue((out.labels[~behind] > 0).all())
    steps = np.diff(out.frames, axis=2)
    self.assertTrue((steps[~behind[:, :, 1:]] >= 0).all())


class GreedyTest(DecodingCase):
  def test_equals_a_numpy_reference(self):
    lengths = [12, 7, 1, 0, 12]
    emitted = 0
    for seed, max_symbols, max_labels in ((0, 1, 20), (1, 2, 20), (2, 3, 40), (3, 5, 4), (4, 2, 20)):
      with self.subTest(seed), self.NewGraph():
        model, enc = _Model(seed, blank_bias=1.0), self._Enc(5, 12, 6, seed=seed)
        out = self._Run(model, enc, lengths, max_symbols, max_labels)
        self._AssertWellFormed(out)
        for i, length in enumerate(lengths):
          labels, frames, score = _GreedyReference(model, enc[i, :length], max_symbols, max_labels)
          emitted += len(labels)
          [hypothesis] = self._Hypotheses(out, i)
          self.assertEqual(hypothesis[:2], (tuple(labels), tuple(frames)))
          self.assertAlmostEqual(hypothesis[2], score, delta=1e-4)
    self.assertGreater(emitted, 50)

  def test_limits_hold_for_a_model_that_always_emits(self):
    model, enc = _Model(0, blank_bias=-50.0), self._Enc(1, 6, 6)
    for beam_size in (0, 1, 3):
      for max_symbols, max_labels, frames in (
        (1, 20, [0, 1, 2, 3, 4, 5]),
        (2, 20, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (3, 4, [0, 0, 0, 1]),
      ):
        with self.subTest(beam_size, max_symbols=max_symbols):
          out = self._Run(model, enc, [6], max_symbols, max_labels, beam_size)
          self.assertEqual(self._Hypotheses(out)[0][1], tuple(frames))


class BeamSearchTest(DecodingCase):
  def test_a_beam_of_1_is_greedy(self):
    lengths = [30, 17, 1, 0, 30, 25]
    for seed in range(4):
      with self.subTest(seed), self.NewGraph():
        model, enc = _Model(seed, blank_bias=1.0), self._Enc(6, 30, 6, seed=seed)
        greedy = self._Run(model, enc, lengths, max_symbols=1 + seed)
        beam = self._Run(model, enc, lengths, max_symbols=1 + seed, beam_size=1)
        self.assertGreater(greedy.lengths.sum(), 5)
        self._AssertSame(beam, greedy, rtol=0)

  def test_a_large_beam_finds_every_transcript_with_its_whole_probability(self):
    for seed, frames, max_symbols, max_labels in ((0, 3, 1, 9), (1, 2, 2, 9), (2, 3, 2, 3), (3, 1, 3, 9), (4, 4, 1, 3)):
      with self.subTest(seed), self.NewGraph():
        model, enc = _Model(seed), self._Enc(1, frames, 6, seed=seed)
        expected = _AllTranscripts(model, enc[0], max_symbols, max_labels)
        out = self._Run(model, enc, [frames], max_symbols, max_labels, beam_size=600)
        found = self._Hypotheses(out)
        self.assertEqual(found[0][0], max(expected, key=expected.get))
        self.assertLen(found, len(expected))
        for labels, _, score in found:
          self.assertAlmostEqual(score, expected[labels], delta=1e-4)

  def test_merging_can_beat_the_best_alignment(self):
    # Some of these models have a winner that no single alignment would make one.
    differ = 0
    for seed in range(12):
      with self.NewGraph():
        model, enc = _Model(seed), self._Enc(1, 4, 6, seed=seed)
        expected = _AllTranscripts(model, enc[0], 1, 9)
        best = self._Hypotheses(self._Run(model, enc, [4], 1, 9, beam_size=64))[0][0]
        greedy = self._Hypotheses(self._Run(model, enc, [4], 1, 9))[0][0]
        self.assertGreaterEqual(expected[best], expected[greedy])
        differ += best != greedy
    self.assertGreater(differ, 0)

  def test_hypotheses_are_distinct_and_best_first(self):
    model, enc = _Model(1, blank_bias=1.0), self._Enc(4, 20, 6)
    out = self._Run(model, enc, [20, 11, 3, 0], beam_size=5)
    self._AssertWellFormed(out)
    self.assertTrue((np.diff(out.scores, axis=1) <= 0).all())
    for i in range(3):
      transcripts = [labels for labels, _, _ in self._Hypotheses(out, i)]
      self.assertLen(set(transcripts), 5)
    # Without a frame there is but one transcript, of probability 1.
    self.assertEqual(self._Hypotheses(out, 3), [((), (), 0.0)])

  def test_frames_of_the_best_are_those_of_an_alignment(self):
    model, enc = _Model(5, blank_bias=1.0), self._Enc(1, 10, 6)
    for labels, frames, score in self._Hypotheses(self._Run(model, enc, [10], beam_size=4)):
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
    model, enc, lm = _Model(2, blank_bias=-1), self._Enc(1, 3, 6), _Bigrams(0)
    expected = _AllTranscripts(model, enc[0], 2, 3)
    winners = set()
    for weight, bonus in ((0.0, 0.0), (0.5, 0.0), (2.0, 0.0), (2.0, 5.0)):
      fused = {labels: score + weight * lm.LogProb(labels) + bonus * len(labels) for labels, score in expected.items()}
      found = self._Hypotheses(
        self._Run(model, enc, [3], 2, 3, beam_size=200, lm=lm, lm_weight=weight, label_bonus=bonus)
      )
      self.assertEqual(found[0][0], max(fused, key=fused.get))
      for labels, _, score in found:
        self.assertAlmostEqual(score, fused[labels], delta=1e-4)
      winners.add(found[0][0])
    self.assertGreater(len(winners), 1, winners)

  def test_the_internal_language_model_is_subtracted_exactly(self):
    model, enc, lm = _Model(2, blank_bias=-1), self._Enc(1, 3, 6), _Bigrams(0)
    expected = _AllTranscripts(model, enc[0], 2, 3)
    winners = set()
    for ilm_weight, lm_weight in ((0.0, 0.0), (0.7, 0.0), (2.5, 0.0), (0.7, 2.0)):
      wanted = {
        labels: score - ilm_weight * model.InternalLogProb(labels) + lm_weight * lm.LogProb(labels)
        for labels, score in expected.items()
      }
      fusion = dict(lm=lm, lm_weight=lm_weight) if lm_weight else {}
      found = self._Hypotheses(
        self._Run(
          model, enc, [3], 2, 3, beam_size=200, internal_lm=model.InternalLogProbs, ilm_weight=ilm_weight, **fusion
        )
      )
      self.assertEqual(found[0][0], max(wanted, key=wanted.get))
      self.assertEqual({labels for labels, *_ in found}, set(wanted))
      for labels, _, score in found:
        self.assertAlmostEqual(score, wanted[labels], delta=1e-4)
      winners.add(found[0][0])
    self.assertGreater(len(winners), 1, winners)


class BothDecodersTest(DecodingCase):
  def test_results_do_not_depend_on_padding_or_batch(self):
    model, enc = _Model(3, blank_bias=1.0), self._Enc(3, 15, 6)
    padded = np.concatenate([enc, np.full([3, 5, 6], np.nan, np.float32)], 1)
    padded[1, 9:] = np.nan
    for beam_size in (0, 4):
      with self.subTest(beam_size):
        together = self._Run(model, padded, [15, 9, 4], beam_size=beam_size)
        alone = self._Run(model, enc[1:2, :9], [9], beam_size=beam_size)
        self.assertGreater(alone.lengths.max(), 2)
        self._AssertSame({k: v[1:2] for k, v in together.items()}, alone)

  def test_shapes_are_static_where_the_inputs_are(self):
    for beam_size, hypotheses in ((0, 1), (4, 4)):
      out = self._Decode(_Model(0), self._Enc(2, 5, 6), [5, 3], beam_size=beam_size)
      for field in _FIELDS:
        shape = [2, hypotheses] + [20] * (field in ('labels', 'frames'))
        self.assertEqual(out[field].shape.as_list(), shape)

  def test_batch_frames_and_limit_may_be_unknown_beforehand(self):
    model, enc = _Model(0, blank_bias=1.0), self._Enc(2, 15, 6)
    unknown = tf.placeholder(tf.float32, [None, None, 6])
    limit = tf.placeholder(tf.int32, [])
    for beam_size in (0, 3):
      with self.subTest(beam_size):
        known = self._Run(model, enc, [15, 8], beam_size=beam_size, max_labels=6)
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
          out = search.Greedy(*arguments)
        self._AssertSame(self._session.run(dict(out), {unknown: enc, limit: 6}), known)

  def test_compiles_under_xla(self):
    model, enc, lm = _Model(0, blank_bias=1.0), self._Enc(2, 15, 6), _Bigrams(0)
    for beam_size, options in (
      (0, {}),
      (3, {}),
      (3, dict(lm=lm, lm_weight=0.5, internal_lm=model.InternalLogProbs, ilm_weight=0.3)),
    ):
      with self.subTest(beam_size, lm=bool(options)):

        def Decode():
          out = self._Decode(model, enc, [15, 8], beam_size=beam_size, **options)
          return [out[field] for field in _FIELDS]

        compiled = dict(zip(_FIELDS, self.Eval(*tf.function(Decode, jit_compile=True)())))
        plain = dict(zip(_FIELDS, self.Eval(*Decode())))
        self.assertGreater(plain['lengths'].max(), 2)
        self._AssertSame(compiled, plain)


class CtcGreedyTest(DecodingCase):
  def _Ctc(self, logits, lengths):
    out = search.CtcGreedy(tf.convert_to_tensor(logits), tf.constant(lengths))
    return out.Pack(self.Eval(*out.Flatten()))

  def test_equals_a_numpy_reference(self):
    logits, lengths = 2 * self._Enc(4, 25, 4), [25, 10, 1, 0]
    for i, length in enumerate(lengths):
      logits[i, length:] = np.nan
    out = self._Ctc(logits, lengths)
    self._AssertWellFormed(out)
    self.assertEqual(out.labels.shape, (4, 1, 25))
    for i, length in enumerate(lengths):
      x = logits[i, :length].astype(np.float64)
      x -= np.logaddexp.reduce(x, axis=1, keepdims=True)
      best = x.argmax(axis=1)
      runs = [(label, next(run)) for label, run in itertools.groupby(range(length), key=lambda t: best[t])]
      [(labels, frames, score)] = self._Hypotheses(out, i)
      self.assertEqual(list(zip(labels, frames)), [r for r in runs if r[0]])
      self.assertAlmostEqual(score, x.max(axis=1).sum(), delta=1e-4)

  def test_repeats_are_one_label_unless_a_blank_parts_them(self):
    path = [1, 1, 0, 1, 2, 2, 1, 0, 0, 3]
    [(labels, frames, _)] = self._Hypotheses(self._Ctc(9 * np.eye(4, dtype=np.float32)[path][None], [10]))
    self.assertEqual(labels, (1, 1, 2, 1, 3))
    self.assertEqual(frames, (0, 3, 4, 6, 9))

  def test_compiles_under_xla(self):
    logits = tf.constant(2 * self._Enc(2, 25, 4))

    def Decode():
      out = search.CtcGreedy(logits, tf.constant([25, 9]))
      return [out[field] for field in _FIELDS]

    for a, b in zip(self.Eval(*tf.function(Decode, jit_compile=True)()), self.Eval(*Decode())):
      np.testing.assert_allclose(a, b, rtol=1e-5)


if __name__ == '__main__':
  absltest.main()
