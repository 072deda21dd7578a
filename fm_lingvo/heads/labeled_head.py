"""What heads that learn transcripts share: the tokenizer, SpecAugment, and losses counted by the label.

B: utterances, T: log-mel frames, N: encoded frames, F: mel bins.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.checkpoints import provenance
from fm_lingvo.data import tokenizer
from fm_lingvo.heads import base_head
from fm_lingvo.layers import spec_augment
from fm_lingvo.losses import transducer_lattice


class LabeledHead(base_head.BaseHead):
  """Base of heads with labels: the tokenizer, its record, SpecAugment. Subclasses implement Loss and Decode.

  The tokenizer's digest is kept in a frozen variable, `tokenizer_record`, so that CheckRecord can refuse a checkpoint
  that was trained on other labels.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('tokenizer_file', '', 'SentencePiece model of the labels, see fm_lingvo/data/tokenizer.py.')
    p.Define('spec_augment', spec_augment.SpecAugment.Params(), 'Masks of the features in training; None: no masks.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    self._tokenizer = tokenizer.Tokenizer(p.tokenizer_file)
    if p.spec_augment is not None:
      self.CreateChild('spec_augment', p.spec_augment)

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    provenance.CreateRecord(self, 'tokenizer_record', self._tokenizer.record)

  def UnknownLabels(self, batch: py_utils.NestedMap) -> tuple:
    """The metric (share of labels that the tokenizer cannot spell, number of labels) of a labeled stream's batch."""
    unknown = self._tokenizer.CountUnknown(batch.labels, batch.label_lengths)
    total = tf.reduce_sum(tf.cast(batch.label_lengths, tf.float32) * batch.weights)
    unknown = tf.reduce_sum(tf.cast(unknown, tf.float32) * batch.weights)
    return unknown / tf.maximum(total, 1.0), total

  @property
  def tokenizer(self) -> tokenizer.Tokenizer:
    """The Tokenizer of this head's labels."""
    return self._tokenizer

  @property
  def record(self):
    """The variable with the tokenizer's digest."""
    return self.vars.tokenizer_record

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
    return py_utils.NestedMap(features=self.spec_augment.FProp(theta.spec_augment, features, paddings))

  def CorruptionKey(self):
    """Heads with equal params of SpecAugment share its masks; see the base class."""
    if self.do_eval or self.params.spec_augment is None:
      return base_head.CLEAN
    return 'spec_augment', self.params.spec_augment.ToText()


def Lengths(paddings) -> tf.Tensor:
  """Unpadded encoded frames int32 [B] of paddings [B, N]."""
  return tf.cast(tf.reduce_sum(1.0 - paddings, axis=1), tf.int32)


def PerLabel(nll, lengths, weights) -> tuple[tuple, tuple]:
  """Mean loss in nats a label.

  Utterances without any alignment (CTC: more labels than frames) have no gradient and are left out of the mean;
  `unalignable` is their share.

  Args:
    nll: float32 [B], nats an utterance.
    lengths: int32 [B], labels.
    weights: float32 [B], 0 on rows of padding.

  Returns:
    ((loss, labels), (unalignable, utterances)): the metrics with their weights; loss is 0 without utterances.
  """
  possible = (nll < -0.1 * transducer_lattice.NEVER) | tf.math.is_nan(nll)  # NaN must show.
  used = tf.where_v2(possible, weights, tf.zeros_like(weights))
  # A transcript without labels still has a loss, which must count.
  labels = tf.reduce_sum(tf.maximum(tf.cast(lengths, tf.float32), 1.0) * used)
  nll = tf.where_v2(possible, nll, tf.zeros_like(nll))
  loss = tf.reduce_sum(nll * used) / tf.maximum(labels, 1.0)
  rows = tf.reduce_sum(weights)
  unalignable = tf.reduce_sum(weights - used) / tf.maximum(rows, 1.0)
  return (loss, labels), (unalignable, rows)
