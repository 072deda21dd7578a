"""SpecAugment: masks random bands of mel bins and random spans of frames in training.

B: utterances, T: log-mel frames (10 ms), F: mel bins.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import draws
from fm_lingvo.layers import span_masking
from fm_lingvo.utils import ranges


class SpecAugment(base_layer.BaseLayer):
  """Replaces masked features by noise around 0, the mean of normalised features (arXiv 1904.08779).

  Exact zeros would be a problem: before training, the subsampling maps frames of zeros
  to zero vectors, and the layer norm after it multiplies the gradient of a zero vector
  by 1 / sqrt(epsilon), about a thousand.

  Width and position of each mask are drawn for every utterance as a deterministic
  function of the step, so that a resumed run repeats them. Lingvo's SpectrumAugmenter
  seeds its draws with the clock, and uses the same numbers for time and frequency masks.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('freq_mask_count', 2, 'Number of masked bands of mel bins per utterance, >= 0.')
    p.Define('freq_mask_max_bins', 15, 'Maximum width of a band in mel bins, >= 0; the width is uniform from 0.')
    p.Define('time_mask_count', 2, 'Number of masked spans of frames per utterance, >= 0.')
    p.Define(
      'time_mask_max_frames', 25, 'Maximum length of a span in frames (10 ms), >= 0; the length is uniform from 0.'
    )
    p.Define('time_mask_max_ratio', 0.2, "Maximum length of a span as a share of the utterance's frames, in [0, 1].")
    p.Define(
      'start_step',
      0,
      'First training step with masks, >= 0. A transducer from random weights aligns sooner without them.',
    )
    p.Define(
      'noise_stddev',
      0.1,
      'Standard deviation, >= 0, of the zero-mean Gaussian noise in masked positions, '
      'in units of the normalised features, as in SpanMasker; 0: zeros, as in the paper.',
    )
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    idle = {} if p.freq_mask_count else {'freq_mask_max_bins': 'with freq_mask_count = 0'}
    if not p.time_mask_count:
      idle.update(dict.fromkeys(('time_mask_max_frames', 'time_mask_max_ratio'), 'with time_mask_count = 0'))
    if not p.freq_mask_count and not p.time_mask_count:
      idle.update(dict.fromkeys(('start_step', 'noise_stddev'), 'without masks'))
    return idle

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    ranges.AtLeast(p, freq_mask_count=0, freq_mask_max_bins=0, time_mask_count=0, time_mask_max_frames=0)
    ranges.AtLeast(p, start_step=0, noise_stddev=0)
    if not 0 <= p.time_mask_max_ratio <= 1:
      raise errors.ConfigError(f'{p.name}.time_mask_max_ratio = {p.time_mask_max_ratio}: expected a share in [0, 1]')

  def FProp(self, theta, features, paddings):
    """Masks a batch.

    Args:
      theta: Unused; the layer has no variables.
      features: float32 [B, T, F], 0 on padding.
      paddings: float32 [B, T], 1 on padding.

    Returns:
      float32 [B, T, F].
    """
    p = self.params
    batch, time, bins = py_utils.GetShape(features, 3)
    count = p.freq_mask_count + p.time_mask_count
    # Width and start of each mask: [B, 2, count].
    numbers = draws.Uniform([batch, 2, count], draws.StepSeed(p))
    frames = tf.reduce_sum(1.0 - paddings, axis=1, keepdims=True)  # [B, 1]
    longest = tf.minimum(float(p.time_mask_max_frames), p.time_mask_max_ratio * frames)
    bands = _MaskedPositions(
      numbers[..., : p.freq_mask_count], tf.cast(bins, tf.float32), float(min(p.freq_mask_max_bins, bins)), bins
    )  # [B, F]
    spans = _MaskedPositions(numbers[..., p.freq_mask_count :], frames, longest, time)  # [B, T]
    hidden = bands[:, tf.newaxis] | spans[:, :, tf.newaxis]  # [B, T, F]
    hidden &= paddings[:, :, tf.newaxis] < 0.5
    if p.start_step:
      hidden &= py_utils.GetGlobalStep() >= p.start_step
    return span_masking.Hide(features, hidden, p.noise_stddev, draws.StepSeed(p))


def _MaskedPositions(numbers, length, widest, size):
  """Returns which positions are masked.

  Args:
    numbers: float32 [B, 2, masks] in [0, 1), for width and start of each mask.
    length: float32 [B, 1] or scalar, number of positions that masks may cover.
    widest: float32 [B, 1] or scalar, maximum width, <= length.
    size: Total number of positions.

  Returns:
    bool [B, size].
  """
  width = tf.floor(numbers[:, 0] * (tf.floor(widest) + 1.0))  # [B, masks]
  start = tf.floor(numbers[:, 1] * (length - width + 1.0))
  position = tf.range(tf.cast(size, tf.float32), dtype=tf.float32)  # [size]
  inside = (position >= start[..., tf.newaxis]) & (position < (start + width)[..., tf.newaxis])  # [B, masks, size]
  return tf.reduce_any(inside, axis=1)
