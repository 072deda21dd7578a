"""Prediction network and joint network of a transducer.

B: utterances, N: encoded frames, U: labels, V: vocabulary with blank, J: joint width, C: labels
of context, M: any number of hypotheses. Widths: D of encoded frames, E of embedded labels, P of
predictions.

Blank is id 0 of every vocabulary. It never occurs as a label, so that the prediction
network uses the same id for the start of an utterance.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import draws
from fm_lingvo.layers import mixed_precision
from fm_lingvo.layers import predictors
from fm_lingvo.losses import transducer_loss
from fm_lingvo.utils import labels as labels_lib
from fm_lingvo.utils import ranges
from fm_lingvo.utils import suggest

_KINDS = ('lstm', 'stateless')


class PredictionNetwork(base_layer.BaseLayer):
  """Maps the previous labels to predictions for the joint network, in its fprop_dtype."""

  set_by_owner = {'vocab_size': "since its owner sets it to the tokenizer's"}

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define(
      'kind', 'lstm', f'One of {", ".join(_KINDS)}: depends on all previous labels, or on the last context_size only.'
    )
    p.Define('vocab_size', None, 'Vocabulary size V with blank, >= 2; the head sets it to that of its tokenizer.')
    p.Define('embedding_dim', 64, 'Width E of embedded labels, >= 1.')
    p.Define('hidden_dim', 128, 'Width P of predictions, >= 1.')
    p.Define('num_layers', 1, 'Number of layers of `lstm`, >= 1.')
    p.Define('context_size', 2, 'Number of labels C that `stateless` depends on, >= 1.')
    p.Define('dropout_prob', 0.0, 'Dropout probability, in [0, 1), of embedded labels and of predictions in training.')
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    return (
      {'context_size': "without kind = 'stateless'"} if p.kind == 'lstm' else {'num_layers': "without kind = 'lstm'"}
    )

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    suggest.CheckChoice(f'{p.name}.kind', p.kind, _KINDS)
    ranges.AtLeast(p, vocab_size=2, embedding_dim=1, hidden_dim=1, context_size=1, num_layers=1)
    if not 0 <= p.dropout_prob < 1:
      raise errors.ConfigError(f'{p.name}.dropout_prob = {p.dropout_prob}: expected a share in [0, 1)')
    dropout = draws.Dropout.Params().Set(keep_prob=1.0 - p.dropout_prob)
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
    """Width P of predictions."""
    return self.params.hidden_dim

  def FProp(self, theta, labels):
    """Computes the predictions after 0 to U labels.

    Args:
      theta: This layer's variables.
      labels: int32 [B, U]; padding must have valid ids, too.

    Returns:
      [B, U + 1, P]; prediction u depends on the first u labels only.
    """
    ids = tf.pad(labels, [[0, 0], [1, 0]], constant_values=labels_lib.BLANK_ID)  # [B, U + 1]
    embedded = self.embedding_dropout.FProp(theta.embedding_dropout, tf.gather(theta.embedding, ids))
    predictor, predictor_theta = self._Predictor(theta)
    return self.output_dropout.FProp(theta.output_dropout, predictor.FProp(predictor_theta, embedded))

  def ZeroState(self, theta, batch):
    """Returns the state of `batch` hypotheses before the start, a NestedMap of [batch, ...]."""
    predictor, _ = self._Predictor(theta)
    return predictor.ZeroState(batch)

  def Step(self, theta, ids, state):
    """Processes one more label in decoding, without dropout.

    Args:
      theta: This layer's variables.
      ids: int32 [M], the newest label; blank at the start.
      state: NestedMap, from ZeroState or the previous Step.

    Returns:
      (prediction [M, P], state); the prediction equals that of FProp after the same labels.
    """
    predictor, predictor_theta = self._Predictor(theta)
    return predictor.Step(predictor_theta, tf.gather(theta.embedding, ids), state)

  def _Predictor(self, theta):
    """Returns the layer of the kind in use, and its variables."""
    kind = self.params.kind
    return self.children[kind], theta[kind]


class Joint(base_layer.BaseLayer):
  """The joint network: log-probabilities from logits tanh(enc + pred) w + b.

  Matrix products are computed in the layer's fprop_dtype, everything else in float32.

  `rnnt`: one softmax over blank and labels (arXiv 1211.3711). `hat`: a sigmoid for
  blank, and a softmax over labels for the remaining probability (arXiv 2003.07705).
  """

  set_by_owner = {
    'input_dim': "since the head sets it to the encoder's output_dim",
    'predicted_dim': 'since the head sets it to prediction.hidden_dim',
    'vocab_size': "since the head sets it to the tokenizer's",
  }

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('input_dim', None, 'Width D of encoded frames, >= 1; the head sets it to that of its encoder.')
    p.Define('predicted_dim', None, 'Width P of predictions, >= 1; the head sets it to that of its prediction network.')
    p.Define('vocab_size', None, 'Vocabulary size V with blank, >= 2; the head sets it to that of its tokenizer.')
    p.Define('joint_dim', 128, 'Width J of the sum of the projected frame and prediction, >= 1.')
    p.Define(
      'factorization',
      'rnnt',
      f'Factorization of the probabilities, one of {", ".join(transducer_loss.FACTORIZATIONS)}.',
    )
    p.Define(
      'label_smoothing',
      0.0,
      "Weight, in [0, 1), of the mean over all labels in a label's log-probability; see transducer_loss.JointLoss.",
    )
    p.Define(
      'fastemit_lambda',
      0.0,
      'Relative increase, >= 0, of the gradient of labels, for earlier emission (FastEmit, arXiv 2010.11148).',
    )
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    ranges.AtLeast(p, input_dim=1, predicted_dim=1, vocab_size=2, joint_dim=1, fastemit_lambda=0)
    suggest.CheckChoice(f'{p.name}.factorization', p.factorization, transducer_loss.FACTORIZATIONS)
    if not 0 <= p.label_smoothing < 1:
      raise errors.ConfigError(f'{p.name}.label_smoothing = {p.label_smoothing}: expected a share in [0, 1)')

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
    """Projects encoded frames. [..., D] -> float32 [..., J]."""
    return mixed_precision.Product(encoded, theta.w_encoded) + tf.cast(theta.b_encoded, tf.float32)

  def ProjectPredicted(self, theta, predicted):
    """Projects predictions. [..., P] -> float32 [..., J]."""
    return mixed_precision.Product(predicted, theta.w_predicted)

  def LogProbs(self, theta, enc_t, pred):
    """Computes the log-probabilities of blank (id 0) and labels at M nodes of the lattice.

    Args:
      theta: This layer's variables.
      enc_t: float32 [M, J], projected frames.
      pred: float32 [M, J], projected predictions.

    Returns:
      float32 [M, V]; the exponentials of a row sum to 1.
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

  def InternalLogProbs(self, theta, pred):
    """Computes the log-probabilities of labels, given that one comes next, of a frame whose encoding is 0.

    This is the transducer's internal language model (HAT, arXiv 2003.07705; for RNN-T, arXiv 2011.01991).

    Args:
      theta: This layer's variables.
      pred: float32 [M, J], projected predictions.

    Returns:
      float32 [M, V]; the exponentials of a row without blank sum to 1; the entry of blank is 0.
    """
    logits = mixed_precision.Product(tf.tanh(tf.cast(theta.b_encoded, tf.float32) + pred), theta.w)  # [M, V]
    labels = tf.nn.log_softmax((logits + tf.cast(theta.b, tf.float32))[:, 1:])
    return tf.pad(labels, [[0, 0], [1, 0]])

  def Loss(self, theta, encoded, predicted, labels, lengths, label_lengths):
    """Computes the negative log-likelihood of transcripts, summed over all alignments.

    Args:
      theta: This layer's variables.
      encoded: float [B, N, D].
      predicted: float [B, U + 1, P], from PredictionNetwork.FProp.
      labels: int32 [B, U], each > 0; padding may have any value.
      lengths: int32 [B], number of encoded frames, 0 to N.
      label_lengths: int32 [B], number of labels, 0 to U.

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
      blank_id=labels_lib.BLANK_ID,
      label_smoothing=0.0 if self.do_eval else p.label_smoothing,
      fastemit_lambda=p.fastemit_lambda,
      product_dtype=py_utils.FPropDtype(p),
    )
