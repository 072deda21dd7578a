"""The transducer: prediction network, joint and their search.

B: utterances, N: encoded frames, D: model width, J: joint width, U: labels, V: vocabulary with blank, K: hypotheses,
M: hypotheses of all utterances.
"""

import functools
import math

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.decoding import fusion
from fm_lingvo.decoding import greedy
from fm_lingvo.decoding import hotwords
from fm_lingvo.decoding import language_model
from fm_lingvo.decoding import ngram
from fm_lingvo.decoding import search
from fm_lingvo.decoding import search_options
from fm_lingvo.decoding import streaming
from fm_lingvo.heads import labeled_head
from fm_lingvo.layers import transducer
from fm_lingvo.runtime import batch_split
from fm_lingvo.utils import ranges


class TransducerHead(labeled_head.LabeledHead):
  """Transducer (Graves, arXiv 1211.3711) with RNN-T or HAT factorisation.

  The decoder of an experiment: prediction network and joint. A CTC loss that steadies the encoder's first steps is a
  branch of its own, of ctc_head.CtcHead; with the same SpecAugment both share one encoder pass.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('prediction', transducer.PredictionNetwork.Params(), 'Labels so far -> prediction.')
    p.Define('joint', transducer.Joint.Params(), 'Frame and prediction -> labels.')
    p.Define('beam_size', 1, 'Hypotheses kept while decoding, >= 1; 1 is greedy.')
    p.Define('max_symbols_per_frame', 2, 'Labels that decoding may emit at one encoded frame, >= 1.')
    p.Define('max_labels_per_frame', 1.0, 'Labels of an utterance at most, in labels an encoded frame, > 0.')
    p.Define(
      'lm_file',
      '',
      'Language model of shallow fusion in decoding: an LSTM (fm_lingvo/decoding/language_model.py), or n-grams of '
      "words or pieces (.arpa, .arpa.gz; fm_lingvo/decoding/ngram.py); '': none.",
    )
    p.Define('lm_weight', 0.4, "Weight, >= 0, of its log-probabilities; the transducer's have 1.")
    p.Define(
      'lm_label_bonus',
      0.9,
      'What each label, or each word of n-grams of words, adds to a score in fusion, in nats, '
      ">= 0: the model's weight alone would favour short transcripts.",
    )
    p.Define(
      'hotwords',
      [],
      'Phrases that decoding prefers, and pairs (phrase, boost in nats); see fm_lingvo/decoding/hotwords.py.',
    )
    p.Define(
      'hotword_boost', search_options.HOTWORD_BOOST, 'What an occurrence of a phrase without a boost adds, in nats.'
    )
    p.Define(
      'ilm_weight',
      0.0,
      "Weight, >= 0, of the log-probabilities of the transducer's internal language model (Joint.InternalLogProbs), "
      'which decoding subtracts, so that a language model of the domain can take its place; 0: not computed.',
    )
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    idle = {} if p.lm_file else dict.fromkeys(('lm_weight', 'lm_label_bonus'), 'without lm_file')
    return idle if p.hotwords else {**idle, 'hotword_boost': 'without hotwords'}

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    ranges.AtLeast(p, beam_size=1, max_symbols_per_frame=1)
    if p.max_labels_per_frame <= 0:
      raise errors.ConfigError(f'{p.name}.max_labels_per_frame = {p.max_labels_per_frame}: expected > 0')
    for name in ('lm_weight', 'lm_label_bonus', 'ilm_weight'):
      if not 0 <= p.Get(name) < math.inf:
        raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected a finite number >= 0')
    self._lm = None
    if p.lm_file:
      kind = ngram.Model if p.lm_file.endswith(ngram.EXTENSIONS) else language_model.Frozen
      self._lm = kind(p.lm_file, self.tokenizer)
    self._hotwords = hotwords.Hotwords(p.hotwords, p.hotword_boost, self.tokenizer) if p.hotwords else None
    vocab_size = self.tokenizer.vocab_size
    self.CreateChild('prediction', p.prediction.Copy().Set(vocab_size=vocab_size))
    self.CreateChild(
      'joint',
      p.joint.Copy().Set(input_dim=p.input_dim, predicted_dim=self.prediction.output_dim, vocab_size=vocab_size),
    )

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    """Mean nats a label; see the base class."""
    predicted = self.prediction.FProp(theta.prediction, batch.labels)
    (nll,) = batch_split.Apply(
      lambda *arguments: [self.joint.Loss(*arguments)],
      theta.joint,
      encoded,
      predicted,
      batch.labels,
      labeled_head.Lengths(paddings),
      batch.label_lengths,
    )
    loss, unalignable = labeled_head.PerLabel(nll, batch.label_lengths, batch.weights)
    return {'loss': loss, 'unalignable': unalignable, 'unknown_labels': self.UnknownLabels(batch)}, {}

  @property
  def searches(self):
    """See the base class."""
    p = self.params
    return p.beam_size > 1 or bool(self._lm or self._hotwords or p.ilm_weight)

  def Decode(self, theta, encoded, paddings):
    """Greedy or beam search; see the base class. With `lm_file`, `hotwords` or `ilm_weight` always the beam."""
    p = self.params
    batch, frames = py_utils.GetShape(encoded, 2)
    enc = self.joint.ProjectEncoded(theta.joint, encoded)  # [B, N, J]
    log_probs, step, state = self._Model(theta, batch)
    lengths = labeled_head.Lengths(paddings)
    max_labels = self._MaxLabels(frames)
    arguments = (log_probs, step, state, enc, lengths, p.max_symbols_per_frame, max_labels)
    limits = tf.minimum(self._MaxLabels(lengths), max_labels)  # The former in float32, which may round up.
    added = self._Added(theta)
    if not added and p.beam_size == 1:
      return greedy.Greedy(*arguments, limits=limits)
    return search.BeamSearch(*arguments, beam_size=p.beam_size, limits=limits, **added)

  def StreamState(self, theta, batch, beam_size=None):
    """See the base class."""
    _, step, state = self._Model(theta, batch)
    fused = fusion.Fused(step, **self._Added(theta))
    return streaming.BeamState(fused, state, batch, beam_size or self.params.beam_size)

  def StreamDecode(self, theta, encoded, lengths, state):
    """Beam search; a beam of 1 is greedy. See the base class."""
    batch, _ = py_utils.GetShape(encoded, 2)
    enc = self.joint.ProjectEncoded(theta.joint, encoded)  # [B, C, J]
    log_probs, step, _ = self._Model(theta, batch)
    fused = fusion.Fused(step, **self._Added(theta))
    return streaming.BeamSearch(log_probs, fused, enc, lengths, self.params.max_symbols_per_frame, state)

  def _Model(self, theta, batch):
    """Returns log_probs, step and the state before the first label of `batch` utterances; see search.py."""

    def LogProbs(enc_t, predicted):  # [M, J], [M, J] -> [M, V]
      return self.joint.LogProbs(theta.joint, enc_t, predicted)

    def Step(ids, state):  # [M] -> [M, J]
      predicted, state = self.prediction.Step(theta.prediction, ids, state)
      return self.joint.ProjectPredicted(theta.joint, predicted), state

    return LogProbs, Step, self.prediction.ZeroState(theta.prediction, batch)

  def _Added(self, theta):
    """Returns the arguments of fusion.Fused: language model, hotwords, internal language model; {}: none."""
    p = self.params
    scorers = [self._lm.Scorer(p.lm_weight, p.lm_label_bonus)] if self._lm is not None else []
    scorers += [self._hotwords.Scorer()] if self._hotwords is not None else []
    added = {'scorer': fusion.Sum(scorers)} if scorers else {}
    if p.ilm_weight:
      internal_lm = functools.partial(self.joint.InternalLogProbs, theta.joint)
      added.update(internal_lm=internal_lm, ilm_weight=p.ilm_weight)
    return added

  def _MaxLabels(self, frames):
    """Returns the maximum number of labels of an utterance with so many encoded frames, an int or an int32 tensor."""
    rate = min(self.params.max_labels_per_frame, self.params.max_symbols_per_frame)  # No frame has more.
    if isinstance(frames, int):
      return math.ceil(rate * frames)
    return tf.cast(tf.math.ceil(rate * tf.cast(frames, tf.float32)), tf.int32)
