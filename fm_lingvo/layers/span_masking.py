"""Span masking for BEST-RQ: replaces random spans of log-mel frames by noise.

B: utterances, T: log-mel frames (10 ms), F: mel bins, S: span length in frames.
"""

from lingvo import compat as tf
from lingvo.core import base_layer

from fm_lingvo import errors
from fm_lingvo.layers import draws
from fm_lingvo.utils import audio
from fm_lingvo.utils import ranges


def Hide(features, hidden, stddev, seed):
  """Replaces features by Gaussian noise.

  Args:
    features: [B, T, F].
    hidden: bool, broadcastable to [B, T, F]; true where features are replaced.
    stddev: Standard deviation of the noise, >= 0, in units of the features.
    seed: int pair, seed of the noise.

  Returns:
    [B, T, F], of the dtype of `features`.
  """
  noise = stddev * draws.Normal(tf.shape(features), seed)
  return tf.where_v2(hidden, tf.cast(noise, features.dtype), features)


class SpanMasker(base_layer.BaseLayer):
  """Replaces random spans of frames by noise, independently for each utterance.

  Every unpadded frame starts a span with probability `mask_start_prob`; a span
  covers `mask_span_ms`, and spans may overlap (BEST-RQ, arXiv 2202.01855, section
  3.2). After the first S frames of an utterance, the expected share of masked frames
  is 1 - (1 - mask_start_prob) ** S. The noise is drawn for each masked frame.

  All draws are stateless functions of a seed, and therefore the same in a rematerialised
  forward pass. The masks are the same under XLA, on a TPU, to the bit, and the noise up
  to the rounding of a logarithm, a sine and a cosine (draws.py).
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('mask_start_prob', 0.01, 'Probability, in [0, 1], that a frame starts a masked span.')
    p.Define('mask_span_ms', 400.0, 'Length of one masked span in milliseconds, >= 10, one frame; spans may overlap.')
    p.Define(
      'noise_stddev',
      0.1,
      'Standard deviation, >= 0, of the zero-mean Gaussian noise that '
      'replaces masked frames, in units of the normalised features.',
    )
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if not 0 <= p.mask_start_prob <= 1:
      raise errors.ConfigError(f'{p.name}.mask_start_prob = {p.mask_start_prob}: expected a probability in [0, 1]')
    if p.mask_span_ms < audio.FRAME_STEP_MS:
      raise errors.ConfigError(
        f'{p.name}.mask_span_ms = {p.mask_span_ms}: expected at least one frame, {audio.FRAME_STEP_MS} ms'
      )
    ranges.AtLeast(p, noise_stddev=0)
    self._eval_draws = 0

  @property
  def span_frames(self):
    """Length S of one span in frames, >= 1."""
    p = self.params
    return max(1, int(round(p.mask_span_ms / audio.FRAME_STEP_MS)))

  def FProp(self, theta, features, paddings):
    """Masks a batch.

    Args:
      theta: Unused; the layer has no variables.
      features: float32 [B, T, F], normalised log-mel.
      paddings: float32 [B, T], 1 on padding.

    Returns:
      (masked features [B, T, F], mask float32 [B, T]); the mask is 1 on masked
      frames and 0 on padding.
    """
    mask = self._SampleMask(paddings)
    return Hide(features, mask[:, :, tf.newaxis] > 0, self.params.noise_stddev, self._Seed(paddings)), mask

  def _SampleMask(self, paddings):
    """Returns the mask [B, T]: 1 on unpadded frames that are covered by a span."""
    numbers = draws.Uniform(tf.shape(paddings), self._Seed(paddings))
    starts = tf.cast(numbers < self.params.mask_start_prob, tf.float32)
    # The starts up to t minus those up to t - S are the starts of spans that cover t.
    upto = tf.cumsum(starts * (1.0 - paddings), axis=1)  # [B, T]
    before = tf.pad(upto, [[0, 0], [self.span_frames, 0]])[:, : -self.span_frames]
    return tf.cast(upto - before > 0.5, tf.float32) * (1.0 - paddings)

  def _Seed(self, paddings):
    """Returns a different seed pair for each draw.

    In training, the seed depends on the step. In evaluation it depends only on the number of unpadded frames
    and on which draw of the graph it is, so that all checkpoints are evaluated with the same masks.
    """
    if not self.do_eval:
      return draws.StepSeed(self.params)
    self._eval_draws += 1
    seed = (self._eval_draws + (self.params.random_seed or 0)) % 2**31
    return tf.stack([seed, tf.cast(tf.reduce_sum(1.0 - paddings), tf.int32)])
