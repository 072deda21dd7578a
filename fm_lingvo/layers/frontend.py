"""Computes log-mel features from waveforms, normalised per utterance or over all training data.

B: utterances, S: samples (16 kHz), T: log-mel frames, F: mel bins.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils
from lingvo.tasks.asr import frontend as asr_frontend

from fm_lingvo import errors
from fm_lingvo.checkpoints import provenance
from fm_lingvo.layers import mel_product
from fm_lingvo.utils import audio
from fm_lingvo.utils import ranges
from fm_lingvo.utils import suggest

NORMALIZATIONS = ('none', 'per_utterance', 'global')

# The fields of mel that a checkpoint records, see LogMelFrontend.record.
_RECORD = (
  'normalization',
  'num_bins',
  'frame_size_ms',
  'frame_step_ms',
  'lower_edge_hertz',
  'upper_edge_hertz',
  'sample_rate',
)

# Reasons why fields of mel must keep their defaults, apart from the general one that no checkpoint records them.
_FIXED = {
  'noise_scale': 'since labels of BEST-RQ must not depend on noise',
  'per_bin_mean': "normalization = 'global' computes it from the training data",
  'per_bin_stddev': "normalization = 'global' computes it from the training data",
}


class LogMelFrontend(base_layer.BaseLayer):
  """Computes log-mel features in-graph, those of Lingvo's MelAsrFrontend.

  A waveform of S samples gives T = S / 160 frames. A frame is unpadded if its
  whole window is inside the utterance, so that features do not depend on the
  padding of the batch.

  `per_utterance` normalisation gives every mel bin mean 0 and standard deviation
  1 over the unpadded frames of its utterance, which the random projection needs
  (BEST-RQ, arXiv 2202.01855, section 3.1). It needs the whole utterance, so its
  features cannot stream. `global` uses each bin's mean and standard deviation over
  training data, stored in the frozen variables `mean` and `stddev` [F].
  fm_lingvo/training/data_statistics.py computes them before the first step; later
  stages load them with the weights.

  The frozen variable `record` stores the sizes and the normalisation, which later
  stages must share: CheckRecord rejects a checkpoint with different values.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.fprop_dtype = tf.float32
    p.Define(
      'mel',
      asr_frontend.MelAsrFrontend.Params(),
      'The log-mel filter bank, which later stages must share. Fields that a checkpoint '
      'does not record must keep their defaults, such as noise_scale = 0, without which '
      'the labels of an utterance would change with each reading.',
    )
    p.Define('normalization', 'per_utterance', f'Normalisation of the features, one of {", ".join(NORMALIZATIONS)}.')
    p.Define(
      'global_batches',
      50,
      'Training batches, >= 1, from which global normalization computes mean and standard deviation.',
    )
    p.Define('variance_floor', 1e-5, 'Constant, > 0, added to the variance of a bin before normalization.')
    p.mel.Set(
      num_bins=80,
      frame_size_ms=25.0,
      frame_step_ms=audio.FRAME_STEP_MS,
      noise_scale=0.0,
      fft_overdrive=False,
      pad_end=False,
    )
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    idle = {} if p.normalization == 'global' else {'global_batches': "without normalization = 'global'"}
    if p.normalization == 'none':
      idle.update(variance_floor="with normalization = 'none'")
    return idle

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if p.mel.frame_step_ms != audio.FRAME_STEP_MS:
      raise errors.ConfigError(f'{p.name}.mel.frame_step_ms = {p.mel.frame_step_ms}: expected {audio.FRAME_STEP_MS}')
    if p.mel.frame_size_ms < p.mel.frame_step_ms:
      raise errors.ConfigError(
        f'{p.name}.mel.frame_size_ms = {p.mel.frame_size_ms}: expected >= {p.mel.frame_step_ms}, its frame_step_ms'
      )
    if p.mel.num_bins < 1:
      raise errors.ConfigError(f'{p.name}.mel.num_bins = {p.mel.num_bins}: expected >= 1')
    suggest.CheckChoice(f'{p.name}.normalization', p.normalization, NORMALIZATIONS)
    self._CheckFixed()
    if p.mel.sample_rate != audio.SAMPLE_RATE:
      raise errors.ConfigError(
        f'{p.name}.mel.sample_rate = {p.mel.sample_rate}: expected {audio.SAMPLE_RATE}, the rate of all '
        'waveforms; upper_edge_hertz narrows the band'
      )
    if not p.variance_floor > 0:
      raise errors.ConfigError(f'{p.name}.variance_floor = {p.variance_floor}: expected > 0')
    ranges.AtLeast(p, global_batches=1)
    self.CreateChild('mel', p.mel.Copy())

  def _CheckFixed(self):
    """Raises ConfigError if a field of mel that checkpoints do not record differs from its default."""
    p, fixed = self.params, type(self).Params().mel
    own = set(fixed.GetKeys()) - set(base_layer.BaseLayer.Params().GetKeys())
    for name in sorted(own - set(_RECORD)):
      if p.mel.Get(name) != fixed.Get(name):
        why = _FIXED.get(name, 'no checkpoint records it, so a later stage could have another')
        raise errors.ConfigError(f'{p.name}.mel.{name} = {p.mel.Get(name)!r}: expected {fixed.Get(name)!r}; {why}')

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    provenance.CreateRecord(self, 'record', self._RecordValues())
    if self.params.normalization == 'global':
      for name, value in (('mean', 0.0), ('stddev', 1.0)):
        self.CreateVariable(
          name,
          py_utils.WeightParams([self.params.mel.num_bins], init=py_utils.WeightInit.Constant(value), dtype=tf.float32),
          trainable=False,
        )

  @property
  def record(self):
    """The variable that stores the sizes and the normalisation."""
    return self.vars.record

  def _RecordValues(self):
    p = self.params
    return [float(NORMALIZATIONS.index(p.normalization))] + [float(p.mel.Get(name)) for name in _RECORD[1:]]

  def CheckRecord(self, value, source):
    """Raises errors.ConfigError if a checkpoint's record differs from these params.

    Args:
      value: float array, the checkpoint's `record`.
      source: Name of the checkpoint, for the message.
    """
    for name, found, expected in zip(_RECORD, np.asarray(value), self._RecordValues()):
      if abs(found - expected) > 1e-4 * max(1.0, abs(expected)):
        if name == 'normalization':
          found, expected = (NORMALIZATIONS[int(x)] for x in (found, expected))
        raise errors.ConfigError(
          f'{source}: made with frontend {name} = {found}, but this run has '
          f'{expected}; set the same front end, or start from another '
          'checkpoint'
        )

  def FProp(self, theta, waveforms, num_samples):
    """Computes normalised features.

    Args:
      theta: This layer's variables.
      waveforms: float32 [B, S] in [-1, 1), zero on padding; S a multiple of 160.
      num_samples: int32 [B], unpadded samples.

    Returns:
      NestedMap of features float32 [B, T, F], zero on padding, and paddings
      float32 [B, T], with T = S / 160.
    """
    step = self.mel.window_frame_step
    window = self.mel.window_frame_size
    # [B, S] -> [B, S + overlap], which gives S / step frames.
    features = self._LogMel(tf.pad(waveforms, [[0, 0], [0, self.overlap_samples]]))
    num_frames = tf.maximum(0, (num_samples - window) // step + 1)  # [B]
    paddings = 1.0 - tf.sequence_mask(num_frames, py_utils.GetShape(features)[1], dtype=tf.float32)
    if self.params.normalization == 'per_utterance':
      features = self._NormalizePerUtterance(features, paddings)
    elif self.params.normalization == 'global':
      features = (features - theta.mean) / theta.stddev
    features *= 1.0 - paddings[:, :, tf.newaxis]
    return py_utils.NestedMap(features=features, paddings=paddings)

  @property
  def overlap_samples(self):
    """Samples of a frame's window that belong to the next frames: how far a frame looks ahead of its own step."""
    return self.mel.window_frame_size - self.mel.window_frame_step

  def CheckStreams(self):
    """Raises errors.ConfigError if the features depend on the whole utterance."""
    p = self.params
    if p.normalization == 'per_utterance':
      raise errors.ConfigError(f"{p.name}.normalization = 'per_utterance': expected 'global' or 'none' for streaming")

  def StreamStep(self, theta, waveforms):
    """Computes the next frames, as FProp does of the whole utterance.

    Args:
      theta: This layer's variables.
      waveforms: float32 [B, T * 160 + overlap_samples] in [-1, 1): from the start of the first of the T frames on.

    Returns:
      float32 [B, T, F].

    Raises:
      errors.ConfigError: See CheckStreams.
    """
    self.CheckStreams()
    features = self._LogMel(waveforms)
    return (features - theta.mean) / theta.stddev if self.params.normalization == 'global' else features

  def _LogMel(self, waveforms):
    """Computes log-mel frames, not normalised: [B, T * 160 + overlap_samples] -> [B, T, F]."""
    waveforms *= 32768.0
    if mel_product.Suits(self.mel):
      return mel_product.LogMel(self.mel, waveforms)
    mel = self.mel.FProp(self.mel.theta, py_utils.NestedMap(src_inputs=waveforms, paddings=tf.zeros_like(waveforms)))
    return tf.squeeze(mel.src_inputs, -1)  # [B, T, F, 1] -> [B, T, F]

  def _NormalizePerUtterance(self, features, paddings):
    """Normalises each bin to mean 0 and standard deviation 1 over the unpadded frames."""
    valid = 1.0 - paddings[:, :, tf.newaxis]  # [B, T, 1]
    count = tf.maximum(tf.reduce_sum(valid, axis=1, keepdims=True), 1.0)
    mean = tf.reduce_sum(features * valid, axis=1, keepdims=True) / count
    centered = (features - mean) * valid
    variance = tf.reduce_sum(tf.square(centered), axis=1, keepdims=True) / count
    return centered * tf.math.rsqrt(variance + self.params.variance_floor)


def PadWaveforms(waveforms, num_samples, multiple: int) -> tuple[tf.Tensor, tf.Tensor]:
  """Prepares waveforms of any length for the front end.

  Args:
    waveforms: float32 [B, S]; samples beyond num_samples are ignored, even NaN.
    num_samples: int32 [B].
    multiple: The padded length is a positive multiple of this number of samples, that of an encoded frame.

  Returns:
    (waveforms float32 [B, S'], zero on padding, num_samples int32 [B], at most S).
  """
  size = tf.shape(waveforms)[1]
  num_samples = tf.minimum(num_samples, size)
  waveforms = tf.where_v2(tf.sequence_mask(num_samples, size), waveforms, 0.0)  # Not a product: padding may be NaN.
  whole = tf.maximum(-(-size // multiple), 1) * multiple
  return tf.pad(waveforms, [[0, 0], [0, whole - size]]), num_samples
