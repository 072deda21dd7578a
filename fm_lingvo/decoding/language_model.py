"""A language model over a tokenizer's labels for shallow fusion, an LSTM by default, stored in one small file.

B: utterances, U: labels, V: vocabulary with blank (id 0), P: width of predictions, M: any number of hypotheses.

The file is a NumPy .npz: each weight as float16 under its path in the layer, and `facts`, JSON with the tokenizer's
sha256 and the network's kind and sizes. The model has no end-of-utterance label, since a transducer ends with the last
frame.
"""

import io
import json
import zipfile

import numpy as np
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.decoding import fusion
from fm_lingvo.layers import mixed_precision
from fm_lingvo.layers import transducer
from fm_lingvo.utils import shipped

_FACTS = 'facts'
_NETWORK = ('embedding_dim', 'hidden_dim', 'num_layers', 'kind', 'context_size')  # Params of the network in a file.
_HOW_TO = 'train one with: python -m tools.train_lm --input=TEXTS --output=FILE.npz'


class LanguageModel(base_layer.BaseLayer):
  """Maps the previous labels to log-probabilities of the next label, which is never blank."""

  set_by_owner = {'vocab_size': "since its owner sets it to the tokenizer's"}

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('vocab_size', None, 'Vocabulary size V with blank, >= 2.')
    p.Define(
      'network',
      transducer.PredictionNetwork.Params(),
      'Network from previous labels to predictions; its vocab_size is set to that of this layer.',
    )
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    self.CreateChild('network', p.network.Copy().Set(vocab_size=p.vocab_size))

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    self.CreateVariable(
      'w', py_utils.WeightParams([self.network.output_dim, p.vocab_size], init=p.params_init, dtype=tf.float32)
    )
    self.CreateVariable(
      'b', py_utils.WeightParams([p.vocab_size], init=py_utils.WeightInit.Constant(0.0), dtype=tf.float32)
    )

  def FProp(self, theta, labels):
    """Computes the log-probabilities of each next label for whole transcripts.

    Args:
      theta: This layer's variables.
      labels: int32 [B, U].

    Returns:
      float32 [B, U + 1, V]; row u depends on the first u labels only. The exponentials of a row without blank sum to
      1; the entry of blank is 0.
    """
    return self._LogProbs(theta, self.network.FProp(theta.network, labels))

  def Loss(self, theta, labels, lengths):
    """Returns the mean loss in nats per label, and the number of labels: float32 scalars.

    Args:
      theta: This layer's variables.
      labels: int32 [B, U], 0 on padding.
      lengths: int32 [B], number of labels.
    """
    log_probs = self.FProp(theta, labels)[:, :-1]  # [B, U, V]
    chosen = tf.gather(log_probs, labels, batch_dims=2)  # [B, U]
    used = tf.sequence_mask(lengths, py_utils.GetShape(labels)[1], tf.float32)
    count = tf.reduce_sum(used)
    return -tf.reduce_sum(chosen * used) / tf.maximum(count, 1.0), count

  def ZeroState(self, theta, batch):
    """Returns the state of `batch` hypotheses before the start, a NestedMap of [batch, ...]."""
    return self.network.ZeroState(theta.network, batch)

  def Step(self, theta, ids, state):
    """Processes one more label, int32 [M], 0 at the start; returns (log-probabilities float32 [M, V], new state)."""
    predicted, state = self.network.Step(theta.network, ids, state)
    return self._LogProbs(theta, predicted), state

  def _LogProbs(self, theta, predicted):
    """Computes log-probabilities from predictions. [..., P] -> float32 [..., V]."""
    logits = mixed_precision.Product(predicted, theta.w) + tf.cast(theta.b, tf.float32)
    labels = tf.nn.log_softmax(logits[..., 1:])
    return tf.concat([tf.zeros_like(labels[..., :1]), labels], axis=-1)


class Frozen:
  """A language model loaded from a file, to be used in graphs by search.BeamSearch."""

  def __init__(self, path, tokenizer):
    """Reads a file that Write wrote.

    Args:
      path: Local or remote path; a relative path is searched in the working directory, then in the checkout.
      tokenizer: The tokenizer.Tokenizer of the labels to score.

    Raises:
      errors.ConfigError: The file does not exist, is not a language model, or is for another tokenizer.
    """
    self._vocab_size = tokenizer.vocab_size
    with tf.io.gfile.GFile(shipped.Find(path, 'language model', _HOW_TO), 'rb') as f:
      content = f.read()
    try:
      arrays = dict(np.load(io.BytesIO(content)))
      self._facts = json.loads(str(arrays.pop(_FACTS)))
      sha256, self._network = self._facts['tokenizer'], {name: self._facts[name] for name in _NETWORK}
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as e:
      raise errors.ConfigError(f'{path}: not a language model ({len(content)} bytes); {_HOW_TO}') from e
    self._weights = {name: value.astype(np.float32) for name, value in arrays.items()}
    if sha256 != tokenizer.sha256:
      raise errors.ConfigError(
        f"{path}: a language model of another tokenizer's labels (sha256 {sha256[:12]}...) than "
        f'{tokenizer.path} ({tokenizer.sha256[:12]}...); {_HOW_TO} --tokenizer={tokenizer.path}'
      )

  @property
  def facts(self):
    """dict of the metadata in the file."""
    return self._facts

  def InGraph(self):
    """Returns an object with ZeroState(batch) and Step(ids, state); its weights are constants of the current graph."""
    theta = py_utils.NestedMap()
    for name, value in self._weights.items():
      theta.Set(name, tf.constant(value))
    with tf.Graph().as_default():  # Keeps the layer's variables, which are not used, out of the current graph.
      layer = Params(self._vocab_size, **self._network).Instantiate()
    return _Bound(layer, theta)

  def Scorer(self, weight, bonus):
    """Returns the scorer of fusion.py.

    Args:
      weight: float, of the log-probabilities.
      bonus: float, added for each label.
    """
    return fusion.Weighted(self.InGraph(), weight, bonus)


class _Bound:
  """A LanguageModel together with its weights."""

  def __init__(self, layer, theta):
    self._layer, self._theta = layer, theta

  def ZeroState(self, batch):
    """See LanguageModel.ZeroState."""
    return self._layer.ZeroState(self._theta, batch)

  def Step(self, ids, state):
    """See LanguageModel.Step."""
    return self._layer.Step(self._theta, ids, state)


def Params(vocab_size, embedding_dim, hidden_dim, num_layers=1, **network):
  """Returns LanguageModel Params with these sizes; **network: other params of transducer.PredictionNetwork."""
  p = LanguageModel.Params().Set(name='lm', vocab_size=vocab_size)
  p.network.Set(embedding_dim=embedding_dim, hidden_dim=hidden_dim, num_layers=num_layers, **network)
  return p


def Write(path, layer_params, values, tokenizer, **facts):
  """Writes a language model's file.

  Args:
    path: Local path.
    layer_params: Params() of the model.
    values: NestedMap of the layer's theta as arrays.
    tokenizer: The tokenizer.Tokenizer of its labels.
    **facts: Further metadata, such as the training data.

  Raises:
    errors.RunError: The file cannot be written.
  """
  network = layer_params.network
  facts = {'tokenizer': tokenizer.sha256, **{name: network.Get(name) for name in _NETWORK}, **facts}
  arrays = {name: value.astype(np.float16) for name, value in values.FlattenItems()}
  with errors.Writing(path), open(path, 'wb') as f:
    np.savez(f, **{_FACTS: json.dumps(facts)}, **arrays)
