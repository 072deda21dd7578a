"""CTC: one projection of encoded frames to labels.

B: utterances, N: encoded frames, D: model width, V: vocabulary with blank.
"""

from lingvo import compat as tf
from lingvo.core import layers

from fm_lingvo import errors
from fm_lingvo.decoding import greedy
from fm_lingvo.decoding import streaming
from fm_lingvo.heads import labeled_head
from fm_lingvo.layers import mixed_precision
from fm_lingvo.losses import ctc_loss


class _Projection(layers.FCLayer):
  """Lingvo's layer and variables, with the product in its fprop_dtype, bias and logits in float32."""

  def FProp(self, theta, inputs, paddings=None):
    """Args: inputs [B, N, D]. Returns: logits float32 [B, N, V]."""
    del paddings
    logits = mixed_precision.Product(inputs, theta.w)
    return logits + tf.cast(theta.b, tf.float32) if self.params.has_bias else logits


class CtcHead(labeled_head.LabeledHead):
  """Connectionist temporal classification: one projection, for probes and hybrids.

  Graves et al., ICML 2006. Decoding takes the best label of each frame.
  """

  most_labels_per_frame = 1

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('bias', True, 'Whether the projection to the vocabulary has a bias.')
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    self.CreateChild(
      'proj',
      _Projection.Params().Set(
        input_dim=p.input_dim, output_dim=self.tokenizer.vocab_size, activation='NONE', has_bias=p.bias
      ),
    )

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    """Mean nats a label; see the base class."""
    logits = self.proj.FProp(theta.proj, encoded)  # [B, N, V]
    nll = ctc_loss.CtcLoss(logits, batch.labels, labeled_head.Lengths(paddings), batch.label_lengths)
    loss, unalignable = labeled_head.PerLabel(nll, batch.label_lengths, batch.weights)
    return {'loss': loss, 'unalignable': unalignable, 'unknown_labels': self.UnknownLabels(batch)}, {}

  def Decode(self, theta, encoded, paddings):
    """Best path; see the base class."""
    return greedy.CtcGreedy(self.proj.FProp(theta.proj, encoded), labeled_head.Lengths(paddings))

  def StreamState(self, theta, batch, beam_size=None):
    """See the base class."""
    if beam_size not in (None, 1):
      raise errors.ConfigError(
        f'beam_size = {beam_size}: the head {self.params.name} takes the best label of each frame; expected 1'
      )
    return streaming.CtcState(batch)

  def StreamDecode(self, theta, encoded, lengths, state):
    """Best path; see the base class."""
    return streaming.CtcGreedy(self.proj.FProp(theta.proj, encoded), lengths, state)
