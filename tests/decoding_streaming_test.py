"""Decoding in parts gives what decoding of the whole utterance gives, in whatever parts.

Builds graphs: the search is one.
"""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import fusion
from fm_lingvo.decoding import greedy
from fm_lingvo.decoding import streaming
from tests import search_case

_FRAMES = 12


class _LastLabel:
  """A scorer: the next label by the one before, and by the last one at the end."""

  def __init__(self, seed):
    self._table = np.random.RandomState(seed).randn(4, 4)
    self._table[:, 0] = 0.0

  def ZeroState(self, batch):
    return py_utils.NestedMap(last=tf.zeros([batch], tf.int32))

  def Step(self, ids, state):
    del state
    return tf.gather(search_case.Float(self._table), ids), py_utils.NestedMap(last=ids)

  def Final(self, state):
    return tf.gather(search_case.Float(3.0 * self._table[:, 1]), state.last)


class DecodingInPartsTest(search_case.DecodingCase):
  """The parts of a test have one size, so that one graph serves them: the last frames of a part may be padding."""

  def _Parts(self, zero, step, inputs, sizes):
    """Runs a step over parts of an utterance; returns its hypotheses [(labels, frames, label_scores, score)].

    Args:
      zero: State before the first frame.
      step: Function: inputs [1, C, ...], lengths [1], state -> (found, state).
      inputs: [1, N, ...].
      sizes: Frames of the parts, at most C = 4.
    """
    part = tf.placeholder(tf.float32, [1, 4, *inputs.shape[2:]])
    length = tf.placeholder(tf.int32, [1])
    state = zero.Transform(lambda t: tf.placeholder(t.dtype, t.shape))
    found, after = step(part, length, state)
    self.assertTrue(zero.IsCompatible(after))
    values, names = self.Eval(zero.Flatten()), sorted(found)
    run = self._session.make_callable(
      [[found[name] for name in names], after.Flatten()], [part, length, *state.Flatten()]
    )
    hypotheses, start, total = [((), (), ())], 0, 0.0
    for size in sizes:
      here = np.full([1, 4, *inputs.shape[2:]], np.nan, np.float32)  # What lies behind the length does not count.
      here[:, :size] = inputs[:, start : start + size]
      out, values = run(here, [size], *values)
      out = dict(zip(names, out))
      before, hypotheses = hypotheses, []
      for k, count in enumerate(out['counts'][0]):
        if out['exists'][0, k]:
          labels, frames, scores = before[out['ancestors'][0, k]]
          hypotheses.append(
            (
              labels + tuple(out['labels'][0, k, :count]),
              frames + tuple(out['frames'][0, k, :count] + start),
              scores + tuple(out['label_scores'][0, k, :count]),
            )
          )
      start += size
      total += out['score'][0]
    scores = total + out['scores'][0] + out['final'][0]
    return sorted(((*h, score) for h, score in zip(hypotheses, scores)), key=lambda h: -h[-1])

  def _AssertSameAsWhole(self, found, whole):
    """`whole` are the hypotheses of search.py, best first, and whatever tensors belong to them."""
    count = int((whole.scores[0] > -1e29).sum())
    self.assertLen(found, count)
    for k, (labels, frames, label_scores, score) in enumerate(found):
      length = whole.lengths[0, k]
      self.assertEqual(labels, tuple(whole.labels[0, k, :length]))
      self.assertEqual(frames, tuple(whole.frames[0, k, :length]))
      np.testing.assert_allclose(label_scores, whole.label_scores[0, k, :length], atol=1e-4)
      self.assertAlmostEqual(score, whole.scores[0, k], delta=1e-3)

  def _Sizes(self, seed):
    """Sizes of parts that sum to _FRAMES, some of them 0."""
    rng, sizes = np.random.RandomState(seed), []
    while sum(sizes) < _FRAMES:
      sizes.append(min(rng.randint(0, 5), _FRAMES - sum(sizes)))
    return sizes

  def test_a_transducer_finds_the_same_in_parts(self):
    emitted = 0
    for seed, beam_size, scorer in ((0, 1, None), (1, 3, None), (2, 4, _LastLabel(2))):
      with self.subTest(seed), self.NewGraph():
        model, enc = search_case.Model(seed, blank_bias=1.0), self.Enc(1, _FRAMES, 6, seed=seed)
        options = {} if scorer is None else {'scorer': scorer}
        whole = self.Run(model, enc, [_FRAMES], 2, 2 * _FRAMES, beam_size, **options)
        fused = fusion.Fused(model.Step, **options)
        zero = streaming.BeamState(fused, model.ZeroState(1), 1, beam_size)
        for sizes in ([4, 4, 4], self._Sizes(seed)):
          found = self._Parts(
            zero, lambda *part: streaming.BeamSearch(model.LogProbs, fused, part[0], part[1], 2, part[2]), enc, sizes
          )
          self._AssertSameAsWhole(found, whole)
          emitted += len(found[0][0])
    self.assertGreater(emitted, 20)

  def test_ctc_finds_the_same_in_parts(self):
    logits = 2.0 * self.Enc(1, _FRAMES, 4, seed=5)
    logits[0, 2:6] = logits[0, 2]  # A label that is repeated across parts, and one that a blank parts from itself.
    logits[0, 7, 0] = 9.0
    logits[0, 8] = logits[0, 6]
    whole = greedy.CtcGreedy(tf.constant(logits), tf.constant([_FRAMES]))
    whole = whole.Pack(self.Eval(*whole.Flatten()))
    self.assertGreater(whole.lengths[0, 0], 3)
    for sizes in ([4, 4, 4], [3, 1, 1, 1, 1, 1, 0, 4], self._Sizes(0), self._Sizes(1)):
      self._AssertSameAsWhole(self._Parts(streaming.CtcState(1), streaming.CtcGreedy, logits, sizes), whole)


if __name__ == '__main__':
  absltest.main()
