"""Heads that learn transcripts: a transducer, and CTC.

B: utterances, T: log-mel frames, N: encoded frames, F: mel bins, D: model width,
U: labels, V: vocabulary with blank, K: hypotheses, L: labels of a hypothesis.
"""

import math

from fm_lingvo import batch_parts
from fm_lingvo import ctc_loss
from fm_lingvo import decoding
from fm_lingvo import errors
from fm_lingvo import heads
from fm_lingvo import language_model
from fm_lingvo import lattice
from fm_lingvo import record
from fm_lingvo import spec_augment
from fm_lingvo import tokenizer
from fm_lingvo import transducer
from lingvo import compat as tf
from lingvo.core import layers
from lingvo.core import py_utils


class SupervisedHead(heads.BaseHead):
  """Base of heads with labels: the tokenizer, its record, SpecAugment, decoding.

  The tokenizer's digest is kept in a frozen variable, `tokenizer_record`:
  CheckRecord refuses a checkpoint whose labels mean something else.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('tokenizer_file', '', 'SentencePiece model of the labels, see '
             'fm_lingvo/tokenizer.py.')
    p.Define('spec_augment', spec_augment.SpecAugment.Params(),
             'Masks of the features in training; None: no masks.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    self._tokenizer = tokenizer.Tokenizer(p.tokenizer_file)
    if p.spec_augment is not None:
      self.CreateChild('spec_augment', p.spec_augment)

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    record.CreateRecord(self, 'tokenizer_record', self._tokenizer.record)

  def _UnknownLabels(self, batch):
    """(share of labels that the tokenizer could not spell, number of labels)."""
    unknown = self._tokenizer.CountUnknown(batch.labels, batch.label_lengths)
    total = tf.reduce_sum(tf.cast(batch.label_lengths, tf.float32) * batch.weights)
    unknown = tf.reduce_sum(tf.cast(unknown, tf.float32) * batch.weights)
    return unknown / tf.maximum(total, 1.0), total

  @property
  def tokenizer(self):
    """The Tokenizer of this head's labels."""
    return self._tokenizer

  def CheckRecord(self, value, source):
    """Raises ConfigError if a checkpoint was made with another tokenizer.

    Args:
      value: float array [16], the checkpoint's `tokenizer_record`.
      source: Where it was read, for the message.
    """
    self._tokenizer.CheckRecord(value, source)

  def Corrupt(self, theta, features, paddings):
    """SpecAugment in training, the features themselves in evaluation."""
    if self.do_eval or self.params.spec_augment is None:
      return py_utils.NestedMap(features=features)
    return py_utils.NestedMap(features=self.spec_augment.FProp(
        theta.spec_augment, features, paddings))

  def Decode(self, theta, encoded, paddings):
    """Finds transcripts.

    Args:
      theta: This layer's variables.
      encoded: float32 [B, N, D].
      paddings: float32 [B, N], 1 on padding.

    Returns:
      NestedMap, best hypothesis first: labels int32 [B, K, L] without blanks, 0
      past their lengths int32 [B, K], scores float32 [B, K] (log-probabilities)
      and frames int32 [B, K, L], the encoded frame at which each label came.
    """
    raise NotImplementedError('Abstract method')


def _Lengths(paddings):
  """Unpadded encoded frames int32 [B] of paddings [B, N]."""
  return tf.cast(tf.reduce_sum(1.0 - paddings, axis=1), tf.int32)


def _PerLabel(nll, lengths, weights):
  """Mean nats a label, and how many labels there are; 0 and 0 for no row.

  Rows that no path explains (more labels than CTC has frames for, say) have no
  gradient and are left out of the mean; `unalignable` counts them.

  Args:
    nll: float32 [B], nats.
    lengths: int32 [B], labels.
    weights: float32 [B], 0 on rows of padding.

  Returns:
    ((loss, labels), (unalignable, rows)): a mean and a share, with their weights.
  """
  possible = (nll < -0.1 * lattice.NEVER) | tf.math.is_nan(nll)  # NaN must show.
  used = tf.where_v2(possible, weights, tf.zeros_like(weights))
  # A transcript without labels still has a loss, which must count.
  labels = tf.reduce_sum(tf.maximum(tf.cast(lengths, tf.float32), 1.0) * used)
  nll = tf.where_v2(possible, nll, tf.zeros_like(nll))
  loss = tf.reduce_sum(nll * used) / tf.maximum(labels, 1.0)
  rows = tf.reduce_sum(weights)
  unalignable = tf.reduce_sum(weights - used) / tf.maximum(rows, 1.0)
  return (loss, labels), (unalignable, rows)


class CtcHead(SupervisedHead):
  """Connectionist temporal classification: one projection, for probes and hybrids.

  Graves et al., ICML 2006. Decoding takes the best label of each frame.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('bias', True, 'Whether the projection to the vocabulary has a bias.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    self.CreateChild('proj', layers.FCLayer.Params().Set(
        input_dim=p.input_dim, output_dim=self._tokenizer.vocab_size,
        activation='NONE', has_bias=p.bias))

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    """Mean nats a label; see the base class."""
    logits = self.proj.FProp(theta.proj, encoded)  # [B, N, V]
    nll = ctc_loss.CtcLoss(logits, batch.labels, _Lengths(paddings),
                           batch.label_lengths)
    loss, unalignable = _PerLabel(nll, batch.label_lengths, batch.weights)
    return {'loss': loss, 'unalignable': unalignable,
            'unknown_labels': self._UnknownLabels(batch)}, {}

  def Decode(self, theta, encoded, paddings):
    """Best path; see the base class."""
    return decoding.CtcGreedy(self.proj.FProp(theta.proj, encoded),
                              _Lengths(paddings))


class TransducerHead(SupervisedHead):
  """Transducer (Graves, arXiv 1211.3711) with RNN-T or HAT factorisation.

  The decoder of an experiment: prediction network, joint and, with `ctc_weight`, a
  CTC projection that steadies the encoder's first steps and is not used in decoding.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('prediction', transducer.PredictionNetwork.Params(),
             'Labels so far -> prediction.')
    p.Define('joint', transducer.Joint.Params(), 'Frame and prediction -> labels.')
    p.Define('ctc_weight', 0.0, 'Weight, in [0, 1), of a CTC loss beside the '
             'transducer\'s, which has the rest.')
    p.Define('beam_size', 1, 'Hypotheses kept while decoding, >= 1; 1 is greedy.')
    p.Define('max_symbols_per_frame', 2,
             'Labels that decoding may emit at one encoded frame (40 ms), >= 1.')
    p.Define('max_labels_per_frame', 1.0,
             'Labels of an utterance at most, in labels an encoded frame, > 0.')
    p.Define('lm_file', '', 'Language model of shallow fusion in decoding, see '
             'fm_lingvo/language_model.py; \'\': none.')
    p.Define('lm_weight', 0.4, 'Weight, >= 0, of its log-probabilities beside the '
             'transducer\'s.')
    p.Define('lm_label_bonus', 0.9, 'What each label adds to a score in fusion, in nats, '
             '>= 0: the model\'s weight alone would favour short transcripts.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if not 0 <= p.ctc_weight < 1:
      raise errors.ConfigError(
          f'{p.name}.ctc_weight = {p.ctc_weight}: expected a weight in [0, 1)')
    for name in ('beam_size', 'max_symbols_per_frame'):
      if p.Get(name) < 1:
        raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected >= 1')
    if p.max_labels_per_frame <= 0:
      raise errors.ConfigError(f'{p.name}.max_labels_per_frame = '
                               f'{p.max_labels_per_frame}: expected > 0')
    for name in ('lm_weight', 'lm_label_bonus'):
      if not 0 <= p.Get(name) < math.inf:
        raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected a finite number >= 0')
    self._lm = language_model.Frozen(p.lm_file, self._tokenizer) if p.lm_file else None
    vocab_size = self._tokenizer.vocab_size
    self.CreateChild('prediction', p.prediction.Copy().Set(vocab_size=vocab_size))
    self.CreateChild('joint', p.joint.Copy().Set(
        input_dim=p.input_dim, predicted_dim=self.prediction.output_dim,
        vocab_size=vocab_size))
    if p.ctc_weight:
      self.CreateChild('ctc', layers.FCLayer.Params().Set(
          input_dim=p.input_dim, output_dim=vocab_size, activation='NONE',
          has_bias=True))

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    """Mean nats a label, `transducer_loss` and `ctc_loss` apart; see the base class.

    `unalignable` is the share of utterances with more labels than CTC has frames
    for, 0 without CTC: the transducer takes any number.
    """
    p = self.params
    lengths = _Lengths(paddings)
    predicted = self.prediction.FProp(theta.prediction, batch.labels)
    nll, = batch_parts.Apply(
        lambda *arguments: [self.joint.Loss(*arguments)], theta.joint, encoded, predicted,
        batch.labels, lengths, batch.label_lengths)
    (loss, labels), unalignable = _PerLabel(nll, batch.label_lengths, batch.weights)
    metrics = {'transducer_loss': (loss, labels)}
    if p.ctc_weight:
      nll = ctc_loss.CtcLoss(self.ctc.FProp(theta.ctc, encoded), batch.labels,
                             lengths, batch.label_lengths)
      metrics['ctc_loss'], unalignable = _PerLabel(nll, batch.label_lengths,
                                                   batch.weights)
      loss = (1 - p.ctc_weight) * loss + p.ctc_weight * metrics['ctc_loss'][0]
    metrics['unalignable'] = unalignable
    metrics['unknown_labels'] = self._UnknownLabels(batch)
    metrics['loss'] = loss, labels
    return metrics, {}

  def Decode(self, theta, encoded, paddings):
    """Greedy or beam search; see the base class. With `lm_file` always the beam."""
    p = self.params
    batch, frames = py_utils.GetShape(encoded, 2)
    enc = self.joint.ProjectEncoded(theta.joint, encoded)  # [B, N, J]

    def LogProbs(enc_t, predicted):  # [M, J], [M, J] -> [M, V]
      return self.joint.LogProbs(theta.joint, enc_t, predicted)

    def Step(ids, state):  # [M] -> [M, J]
      predicted, state = self.prediction.Step(theta.prediction, ids, state)
      return self.joint.ProjectPredicted(theta.joint, predicted), state

    state = self.prediction.ZeroState(theta.prediction, batch)
    lengths = _Lengths(paddings)
    max_labels = self._MaxLabels(frames)
    arguments = (LogProbs, Step, state, enc, lengths, p.max_symbols_per_frame, max_labels)
    limits = tf.minimum(self._MaxLabels(lengths), max_labels)  # The former in float32, which may round up.
    if self._lm is None and p.beam_size == 1:
      return decoding.Greedy(*arguments, limits=limits)
    fusion = {} if self._lm is None else dict(
        lm=self._lm.InGraph(), lm_weight=p.lm_weight, label_bonus=p.lm_label_bonus)
    return decoding.BeamSearch(*arguments, beam_size=p.beam_size, limits=limits, **fusion)

  def _MaxLabels(self, frames):
    """Labels that so many encoded frames, ints or int32 tensors, may have."""
    rate = min(self.params.max_labels_per_frame, self.params.max_symbols_per_frame)  # No frame has more.
    if isinstance(frames, int):
      return math.ceil(rate * frames)
    return tf.cast(tf.math.ceil(rate * tf.cast(frames, tf.float32)), tf.int32)
