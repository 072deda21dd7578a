"""A transducer's prediction network, and the joint where it meets the encoder.

B: utterances, N: encoded frames, U: labels, V: vocabulary with blank, D: width of
encoded frames, E: of embedded labels, P: of predictions, J: of the joint, C: labels
of context, M: any number of hypotheses.

Blank is id 0 of every vocabulary. As a label it never occurs, so that the prediction
network takes the same id for the start of an utterance.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import layers
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import mixed_precision
from fm_lingvo.layers import predictors
from fm_lingvo.losses import transducer_loss

BLANK_ID = 0
_KINDS = ('lstm', 'stateless')


class PredictionNetwork(base_layer.BaseLayer):
  """The labels so far -> what the joint needs to know of them, in its fprop_dtype."""

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('kind', 'lstm', f'One of {", ".join(_KINDS)}: all labels so far, or the last context_size alone.')
    p.Define('vocab_size', None, "Labels V with blank, >= 2; the head sets it to its tokenizer's.")
    p.Define('embedding_dim', 64, 'Width E of embedded labels, >= 1.')
    p.Define('hidden_dim', 128, 'Width P of the prediction, >= 1.')
    p.Define('num_layers', 1, 'Layers of `lstm`, >= 1.')
    p.Define('context_size', 2, 'Labels C that `stateless` sees, >= 1.')
    p.Define('dropout_prob', 0.0, 'Dropout, in [0, 1), of embedded labels and of predictions in training.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.kind not in _KINDS:
      raise errors.ConfigError(f'{p.name}.kind = {p.kind!r}: expected one of {", ".join(_KINDS)}')
    _CheckAtLeast(p, vocab_size=2, embedding_dim=1, hidden_dim=1, context_size=1, num_layers=1)
    if not 0 <= p.dropout_prob < 1:
      raise errors.ConfigError(f'{p.name}.dropout_prob = {p.dropout_prob}: expected a share in [0, 1)')
    dropout = layers.DeterministicDropoutLayer.Params().Set(keep_prob=1.0 - p.dropout_prob)
    self.CreateChild('embedding_dropout', dropout)
    self.CreateChild('output_dropout', dropout)
    if p.kind == 'lstm':
      predictor = predictors.LstmPredictor.Params().Set(num_layers=p.num_layers)
    else:
      predictor = predictors.StatelessPredictor.Params().Set(context_size=p.context_size)
    self.CreateChild(p.kind, predictor.Set(input_dim=p.embedding_dim, output_dim=p.hidden_dim))

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    self.CreateVariable(
      'embedding',
      py_utils.WeightParams([p.vocab_size, p.embedding_dim], init=py_utils.WeightInit.Gaussian(1.0), dtype=tf.float32),
    )

  @property
  def output_dim(self):
    """Width P of a prediction."""
    return self.params.hidden_dim

  def FProp(self, theta, labels):
    """Predictions after 0 to U labels.

    Args:
      theta: This layer's variables.
      labels: int32 [B, U], ids of the vocabulary on padding, too.

    Returns:
      [B, U + 1, P]; number u depends on the first u labels alone.
    """
    ids = tf.pad(labels, [[0, 0], [1, 0]], constant_values=BLANK_ID)  # [B, U + 1]
    embedded = self.embedding_dropout.FProp(theta.embedding_dropout, tf.gather(theta.embedding, ids))
    predictor, predictor_theta = self._Predictor(theta)
    return self.output_dropout.FProp(theta.output_dropout, predictor.FProp(predictor_theta, embedded))

  def ZeroState(self, theta, batch):
    """State of `batch` hypotheses before the start: a NestedMap of [batch, ...]."""
    predictor, _ = self._Predictor(theta)
    return predictor.ZeroState(batch)

  def Step(self, theta, ids, state):
    """Takes one more label, for decoding: without dropout.

    Args:
      theta: This layer's variables.
      ids: int32 [M], the newest label; BLANK_ID at the start.
      state: NestedMap, ZeroState's or the last Step's.

    Returns:
      ([M, P], state): what FProp gives for the labels up to this one.
    """
    predictor, predictor_theta = self._Predictor(theta)
    return predictor.Step(predictor_theta, tf.gather(theta.embedding, ids), state)

  def _Predictor(self, theta):
    """The layer of this kind, and its variables."""
    kind = self.params.kind
    return self.children[kind], theta[kind]


class Joint(base_layer.BaseLayer):
  """Frame and prediction -> log-probabilities: tanh(enc + pred) w + b.

  Products are computed in the layer's fprop_dtype, all between them in float32.

  `rnnt`: one softmax over blank and labels (arXiv 1211.3711). `hat`: a sigmoid for
  blank, and a softmax over labels that shares out the rest (arXiv 2003.07705).
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('input_dim', None, "Width D of encoded frames, >= 1; the head sets it to its encoder's.")
    p.Define('predicted_dim', None, "Width P of predictions, >= 1; the head sets it to its prediction network's.")
    p.Define('vocab_size', None, "Labels V with blank, >= 2; the head sets it to its tokenizer's.")
    p.Define('joint_dim', 128, 'Width J in which frame and prediction add up, >= 1.')
    p.Define('factorization', 'rnnt', f'One of {", ".join(transducer_loss.FACTORIZATIONS)}.')
    p.Define(
      'label_smoothing',
      0.0,
      'Share, in [0, 1), that the mean over all labels '
      "has in a label's log-probability; see transducer_loss.JointLoss.",
    )
    p.Define(
      'fastemit_lambda',
      0.0,
      'Extra share, >= 0, of the gradient of labels over blanks, for early labels (FastEmit, arXiv 2010.11148).',
    )
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    _CheckAtLeast(p, input_dim=1, predicted_dim=1, vocab_size=2, joint_dim=1)
    if p.factorization not in transducer_loss.FACTORIZATIONS:
      raise errors.ConfigError(
        f'{p.name}.factorization = {p.factorization!r}: expected one of {", ".join(transducer_loss.FACTORIZATIONS)}'
      )
    if not 0 <= p.label_smoothing < 1:
      raise errors.ConfigError(f'{p.name}.label_smoothing = {p.label_smoothing}: expected a share in [0, 1)')
    if p.fastemit_lambda < 0:
      raise errors.ConfigError(f'{p.name}.fastemit_lambda = {p.fastemit_lambda}: expected >= 0')

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    zero = py_utils.WeightInit.Constant(0.0)
    for name, shape, init in (
      ('w_encoded', [p.input_dim, p.joint_dim], p.params_init),
      ('b_encoded', [p.joint_dim], zero),
      ('w_predicted', [p.predicted_dim, p.joint_dim], p.params_init),
      ('w', [p.joint_dim, p.vocab_size], p.params_init),
      ('b', [p.vocab_size], zero),
    ):
      self.CreateVariable(name, py_utils.WeightParams(shape, init=init, dtype=tf.float32))

  def ProjectEncoded(self, theta, encoded):
    """[..., D] -> float32 [..., J]."""
    return mixed_precision.Product(encoded, theta.w_encoded) + tf.cast(theta.b_encoded, tf.float32)

  def ProjectPredicted(self, theta, predicted):
    """[..., P] -> float32 [..., J]."""
    return mixed_precision.Product(predicted, theta.w_predicted)

  def LogProbs(self, theta, enc_t, pred):
    """Log-probabilities of blank (id 0) and labels at one node each.

    Args:
      theta: This layer's variables.
      enc_t: float32 [M, J], projected frames.
      pred: float32 [M, J], projected predictions.

    Returns:
      float32 [M, V]; exp of a row sums to 1.
    """
    logits = mixed_precision.Product(tf.tanh(enc_t + pred), theta.w)  # [M, V]
    logits += tf.cast(theta.b, tf.float32)
    if self.params.factorization == 'rnnt':
      return tf.nn.log_softmax(logits)
    blank, labels = logits[:, :1], logits[:, 1:]  # [M, 1], [M, V - 1]
    return tf.concat(
      [
        tf.math.log_sigmoid(blank),
        tf.math.log_sigmoid(-blank) + tf.nn.log_softmax(labels),
      ],
      axis=-1,
    )

  def Loss(self, theta, encoded, predicted, labels, lengths, label_lengths):
    """Negative log-likelihood of transcripts, over all alignments.

    Args:
      theta: This layer's variables.
      encoded: float [B, N, D].
      predicted: float [B, U + 1, P], PredictionNetwork.FProp's.
      labels: int32 [B, U], each > 0; padding may hold anything.
      lengths: int32 [B], encoded frames in use, 0 to N.
      label_lengths: int32 [B], labels in use, 0 to U.

    Returns:
      float32 [B] in nats; see transducer_loss.JointLoss. Labels are smoothed in training only.
    """
    p = self.params
    return transducer_loss.JointLoss(
      self.ProjectEncoded(theta, encoded),
      self.ProjectPredicted(theta, predicted),
      theta.w,
      theta.b,
      labels,
      lengths,
      label_lengths,
      factorization=p.factorization,
      blank_id=BLANK_ID,
      label_smoothing=0.0 if self.do_eval else p.label_smoothing,
      fastemit_lambda=p.fastemit_lambda,
      product_dtype=py_utils.FPropDtype(p),
    )


def _CheckAtLeast(p, **minima):
  """Raises ConfigError if one of the params is unset or below its minimum."""
  for name, minimum in minima.items():
    if p.Get(name) is None or p.Get(name) < minimum:
      raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected >= {minimum}')
