"""SpecAugment: hides random bands of mel bins and spans of frames of training speech.

B: utterances, T: log-mel frames (10 ms), F: mel bins.
"""

from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.layers import span_masking


class SpecAugment(base_layer.BaseLayer):
  """Masks set to about 0, the mean of normalised features (Park et al., arXiv 1904.08779).

  About, by noise: before training, frames of exact zeros come out of the subsampling
  as zero vectors, and the layer norm behind it multiplies a zero vector's gradient by
  1 / sqrt(epsilon), a thousand.

  Width and place of each mask are drawn on their own for every utterance, as functions
  of the step, so that a resumed run repeats them. Lingvo's SpectrumAugmenter seeds its
  draws with the clock, and time and frequency masks with the same numbers.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('freq_mask_count', 2, 'Bands of mel bins hidden in an utterance, >= 0.')
    p.Define('freq_mask_max_bins', 15, 'Widest band in mel bins, >= 0; the width is uniform from 0.')
    p.Define('time_mask_count', 2, 'Spans of frames hidden in an utterance, >= 0.')
    p.Define('time_mask_max_frames', 25, 'Longest span in frames, >= 0; the length is uniform from 0.')
    p.Define('time_mask_max_ratio', 0.2, "Longest span as a share, in [0, 1], of the utterance's frames.")
    p.Define(
      'noise_stddev',
      0.1,
      'Standard deviation, >= 0, of the zero-mean Gaussian noise that hides, as '
      "SpanMasker's, in units of the normalised features; 0: the paper's masks.",
    )
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    for name in ('freq_mask_count', 'freq_mask_max_bins', 'time_mask_count', 'time_mask_max_frames'):
      if p.Get(name) < 0:
        raise errors.ConfigError(f'{p.name}.{name} = {p.Get(name)}: expected >= 0')
    if p.noise_stddev < 0:
      raise errors.ConfigError(f'{p.name}.noise_stddev = {p.noise_stddev}: expected >= 0')
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
    draws = tf.random.stateless_uniform([batch, 2, count], py_utils.GenerateStepSeedPair(p))
    frames = tf.reduce_sum(1.0 - paddings, axis=1, keepdims=True)  # [B, 1]
    longest = tf.minimum(float(p.time_mask_max_frames), p.time_mask_max_ratio * frames)
    bands = _Hidden(
      draws[..., : p.freq_mask_count], tf.cast(bins, tf.float32), float(min(p.freq_mask_max_bins, bins)), bins
    )  # [B, F]
    spans = _Hidden(draws[..., p.freq_mask_count :], frames, longest, time)  # [B, T]
    hidden = bands[:, tf.newaxis] | spans[:, :, tf.newaxis]  # [B, T, F]
    hidden &= paddings[:, :, tf.newaxis] < 0.5
    return span_masking.Hide(features, hidden, p.noise_stddev, py_utils.GenerateStepSeedPair(p))


def _Hidden(draws, length, widest, size):
  """Which positions masks hide.

  Args:
    draws: float32 [B, 2, masks] in [0, 1): for the width, for the start.
    length: float32 [B, 1] or scalar, positions in which masks lie.
    widest: float32 [B, 1] or scalar, greatest width, <= length.
    size: Positions in all.

  Returns:
    bool [B, size].
  """
  width = tf.floor(draws[:, 0] * (tf.floor(widest) + 1.0))  # [B, masks]
  start = tf.floor(draws[:, 1] * (length - width + 1.0))
  position = tf.range(tf.cast(size, tf.float32), dtype=tf.float32)  # [size]
  inside = (position >= start[..., tf.newaxis]) & (position < (start + width)[..., tf.newaxis])  # [B, masks, size]
  return tf.reduce_any(inside, axis=1)
