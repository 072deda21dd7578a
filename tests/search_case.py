"""A toy transducer in NumPy and in TensorFlow, all of its transcripts, and a base of tests that decode with it."""

import itertools

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.decoding import greedy
from fm_lingvo.decoding import search
from tests import graph_case

FIELDS = ('labels', 'lengths', 'scores', 'frames', 'label_scores')


class Model:
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
    logits = tf.matmul(tf.tanh(pred), Float(self._w)) + Float(self._b)
    return tf.pad(tf.nn.log_softmax(logits[:, 1:]), [[0, 0], [1, 0]], constant_values=-7.0)  # Of blank: ignored.

  def LogProbs(self, enc_t, pred):
    logits = tf.matmul(tf.tanh(enc_t + pred), Float(self._w)) + Float(self._b)
    return tf.nn.log_softmax(logits)

  def Step(self, ids, state):
    pred = tf.tanh(tf.matmul(state.pred, Float(self._recurrent)) + tf.gather(Float(self._embedding), ids))
    return pred, py_utils.NestedMap(pred=pred)

  def ZeroState(self, batch):
    return py_utils.NestedMap(pred=tf.zeros([batch, len(self._recurrent)]))


def Float(x):
  return tf.constant(x, tf.float32)


def AllTranscripts(model, enc, max_symbols, max_labels):
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
  def Enc(self, *shape, seed=0):
    return np.random.RandomState(seed).randn(*shape).astype(np.float32)

  def Decode(self, model, enc, lengths, max_symbols=2, max_labels=20, beam_size=0, **options):
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
      return greedy.Greedy(*arguments)
    return search.BeamSearch(*arguments, beam_size=beam_size, **options)

  def Run(self, *args, **kwargs):
    out = self.Decode(*args, **kwargs)
    return out.Pack(self.Eval(*out.Flatten()))

  def Hypotheses(self, out, i=0):
    """[(transcript, frames, score)] of utterance i, those that do not exist left out."""
    return [
      (tuple(out.labels[i, k, :length]), tuple(out.frames[i, k, :length]), out.scores[i, k])
      for k, length in enumerate(out.lengths[i])
      if out.scores[i, k] > search.NEVER
    ]

  def AssertSame(self, first, second, rtol=1e-5):
    for field in FIELDS:
      np.testing.assert_allclose(first[field], second[field], rtol=rtol, atol=1e-4, err_msg=field)

  def AssertWellFormed(self, out):
    """Nothing behind a hypothesis's end, frames ascend, no blanks."""
    behind = np.arange(out.labels.shape[2]) >= out.lengths[..., None]
    self.assertFalse(out.labels[behind].any() or out.frames[behind].any())
    self.assertTrue((out.labels[~behind] > 0).all())
    steps = np.diff(out.frames, axis=2)
    self.assertTrue((steps[~behind[:, :, 1:]] >= 0).all())
