"""The task that trains a language model over labels; see language_model.py for the model.

B: lines, U: labels of the longest.
"""

import math

from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import provenance
from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import language_model
from fm_lingvo.tasks import base_task

NAME = 'lm'  # Of the layer, and of the tokenizer's copy in a run's folder.


class LanguageModelTask(base_task.BaseTask):
  """Next-label prediction on batches of TextInput: the loss is the mean of nats a label."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define(
      'tokenizer_file',
      '',
      "SentencePiece model of the labels, see fm_lingvo/data/tokenizer.py; the same as the input's.",
    )
    p.Define('lm', language_model.LanguageModel.Params(), "The model; its vocab_size is set to the tokenizer's.")
    return p

  def __init__(self, params):
    tokens = tokenizer.Tokenizer(params.tokenizer_file)
    if params.input is not None:
      _CheckInput(params, tokens, params.input)  # Said before the input reads its files.
    super().__init__(params)
    p = self.params
    self._tokenizer = tokens
    self.CreateChild(NAME, p.lm.Copy().Set(vocab_size=self._tokenizer.vocab_size))

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    provenance.CreateRecord(self, 'tokenizer_record', self._tokenizer.record)

  def CheckInput(self, p, do_eval=False):
    """See the base class."""
    del do_eval
    _CheckInput(self.params, self._tokenizer, p)

  @classmethod
  def UseKeptTokenizers(cls, params, path):
    """See the base class."""
    params.task.tokenizer_file = params.input.tokenizer_file = path(NAME)

  def TokenizersToKeep(self):
    """See the base class."""
    return {NAME: self._tokenizer}

  def Components(self):
    """See the base class."""
    return {NAME: self.lm}

  def CheckRestored(self, values, source):
    """See the base class."""
    record = self.vars.tokenizer_record.op.name
    if record in values:
      self._tokenizer.CheckRecord(values[record], source)

  def ComputePredictions(self, theta, input_batch):
    """Mean nats a label, and how many labels there are: scalars."""
    return self.lm.Loss(theta.lm, input_batch.labels, input_batch.lengths)

  def ComputeLoss(self, theta, predictions, input_batch):
    """Loss and bits per character, and counts of each line.

    Returns:
      (metrics, tensors) as BaseTask.FPropTower. bits_per_character can be compared across tokenizers; unknown_labels is
      the share of labels that the tokenizer could not spell.
    """
    nats, num_labels = predictions
    num_chars = tf.reduce_sum(tf.cast(input_batch.num_chars, tf.float32))
    unknown = tf.reduce_sum(tf.cast(self._tokenizer.CountUnknown(input_batch.labels, input_batch.lengths), tf.float32))
    metrics = {
      'loss': (nats, num_labels),
      'bits_per_character': (nats * num_labels / math.log(2) / tf.maximum(num_chars, 1.0), num_chars),
      'unknown_labels': (unknown / tf.maximum(num_labels, 1.0), num_labels),
    }
    tensors = {f'text/{name}': input_batch[name] for name in ('weights', 'dropped')}  # [B]
    tensors['text/num_labels'] = input_batch.lengths  # [B]
    return metrics, tensors

  def DerivedMetrics(self, values):
    """The perplexity a label."""
    return {'perplexity': math.exp(min(values['loss'], 700.0))} if 'loss' in values else {}


def _CheckInput(params, tokens, p):
  """Raises ConfigError if the Params `p` of an input have another tokenizer than a task's Params and Tokenizer."""
  if tokenizer.Tokenizer(p.tokenizer_file).sha256 != tokens.sha256:
    raise errors.ConfigError(
      f"{params.name}.tokenizer_file = {params.tokenizer_file!r}: expected the same model as the input's, "
      f'{p.tokenizer_file!r}'
    )
