"""Effects that need no recordings: reverberation, noise, babble, an equaliser and a telephone channel.

B: utterances, Q: samples of a padded row (16 kHz), N: blocks of a row, H: samples of a block, K: filter taps,
M: frequency bins.
"""

import numpy as np
from lingvo import compat as tf

from fm_lingvo.data import augment_draws
from fm_lingvo.data import block_filter
from fm_lingvo.data import levels
from fm_lingvo.data import speed_perturb
from fm_lingvo.utils import audio

_BLOCK_SIZE = 4096  # H; convolutions use FFTs of 2 H samples.
_DESIGN_SIZE = 1024  # Taps of an equaliser.
_DELAY = _DESIGN_SIZE // 2  # Of an equaliser in samples; it is compensated.
_MAX_ROOM_SIZE = _BLOCK_SIZE - _DESIGN_SIZE  # Taps of a room impulse response, 192 ms.
_RIPPLE_BANDS = 8
_BABBLE_VOICES = 3


def Apply(p, waveforms, num_samples, draws):
  """Applies reverberation, noise, equaliser and telephone in one pass over blocks of spectra.

  Speech is filtered by room, equaliser and telephone; noise by its spectral slope,
  equaliser and telephone.

  Args:
    p: waveform_augment.Params().
    waveforms: float32 [B, Q], 0 beyond num_samples.
    num_samples: int32 [B].
    draws: augment_draws.Draws of the utterances.

  Returns:
    float32 [B, Q].
  """
  channel = _Channel(p, draws)  # [B, M] in dB
  speech = _Spectrum(_Kernel(channel))  # [B, 1, H + 1]
  if p.reverb_prob:
    speech *= _Spectrum(_Room(p, draws))
  mixed = _Blocks(waveforms) * speech  # [B, N, H + 1]
  if p.noise_prob:
    noise, color = _Noise(p, waveforms, num_samples, draws)
    mixed += _Blocks(noise) * _Spectrum(_Kernel(channel + color))
  return block_filter.Overlap(mixed, waveforms, _BLOCK_SIZE, _DELAY)


def _Spectrum(kernel):
  return block_filter.Spectrum(kernel, _BLOCK_SIZE)


def _Blocks(waveforms):
  return block_filter.Blocks(waveforms, _BLOCK_SIZE, _DELAY)


def _Octaves(low, high):
  """Returns the M frequencies in octaves above 1 kHz, clipped to [low, high], float64 [M]."""
  hertz = np.fft.rfftfreq(_DESIGN_SIZE, 1 / audio.SAMPLE_RATE)
  return np.clip(np.log2(np.maximum(hertz, 1) / 1000), low, high)


def _Kernel(decibels):
  """Returns the filter of a response in dB, delayed by half of its length. [B, M] -> [B, K]."""
  response = tf.complex(levels.Amplitude(decibels), tf.zeros_like(decibels))
  taps = tf.roll(tf.signal.irfft(response, [_DESIGN_SIZE]), _DELAY, axis=1)
  return taps * tf.signal.hann_window(_DESIGN_SIZE)


def _Channel(p, draws):
  """Returns the response of equaliser and telephone in dB, float32 [B, M]."""
  octaves = _Octaves(-4, 3)
  # Weights of the ripple's bands, an octave apart.
  bands = np.arange(_RIPPLE_BANDS)[:, np.newaxis]
  weights = np.maximum(0, 1 - np.abs(octaves + 4 - bands))  # [8, M]
  slope = draws.Uniform(*p.eq_slope_db_range)  # [B, 1]
  ripple = draws.Uniform(-p.eq_ripple_db, p.eq_ripple_db, _RIPPLE_BANDS)  # [B, 8]
  decibels = slope * tf.constant(octaves, tf.float32) + tf.matmul(ripple, tf.constant(weights, tf.float32))
  decibels *= draws.Chance(p.eq_prob)
  if p.telephone_prob:
    hertz = np.fft.rfftfreq(_DESIGN_SIZE, 1 / audio.SAMPLE_RATE)
    hertz = tf.constant(np.maximum(hertz, 1), tf.float32)
    # 24 dB per octave below the band, 60 dB within 300 Hz above it.
    below = 24 / np.log(2) * tf.math.log(draws.Uniform(*p.telephone_low_hz_range) / hertz)
    above = 0.2 * (hertz - draws.Uniform(*p.telephone_high_hz_range))
    loss = tf.clip_by_value(tf.maximum(below, above), 0.0, 60.0)
    decibels -= loss * draws.Chance(p.telephone_prob)
  return decibels


def _Room(p, draws):
  """Returns a room impulse response that preserves the power of speech, float32 [B, K]."""
  seconds = np.arange(_MAX_ROOM_SIZE) / audio.SAMPLE_RATE
  decay = tf.exp(-np.log(1000) * tf.constant(seconds, tf.float32) / draws.Uniform(*p.reverb_t60_range))  # [B, K]
  # Reflections start 2.5 ms after the direct sound.
  tail = draws.Normal(augment_draws.ROOM, _MAX_ROOM_SIZE) * decay * tf.constant(seconds >= 0.0025, tf.float32)
  tail /= tf.sqrt(tf.reduce_sum(tf.square(tail), axis=1, keepdims=True))
  tail *= levels.Amplitude(-draws.Uniform(*p.reverb_drr_db_range)) * draws.Chance(p.reverb_prob)
  direct = tf.constant(seconds == 0, tf.float32)
  return (direct + tail) / tf.sqrt(1 + tf.reduce_sum(tf.square(tail), axis=1, keepdims=True))


def _Noise(p, waveforms, num_samples, draws):
  """Draws noise for utterances.

  Args:
    p: waveform_augment.Params().
    waveforms: float32 [B, Q].
    num_samples: int32 [B].
    draws: augment_draws.Draws of the utterances.

  Returns:
    (noise float32 [B, Q] at the drawn signal-to-noise ratio, 0 for utterances without noise,
    response in dB float32 [B, M] that colours it without changing its power).
  """
  size = tf.shape(waveforms)[1]
  noise = draws.Normal(augment_draws.NOISE, size)
  color = draws.Uniform(*p.noise_slope_db_range) * tf.constant(_Octaves(-5, 3), tf.float32)
  power = tf.reduce_mean(tf.square(levels.Amplitude(color)), axis=1, keepdims=True)
  color -= 10 / np.log(10) * tf.math.log(power)
  if p.babble_prob:
    babble = draws.Chance(p.babble_prob)  # [B, 1]
    noise += babble * (_Babble(waveforms, num_samples, draws) - noise)
    color *= 1 - babble
  # The filters would spread noise in padding into the utterance.
  noise = speed_perturb.ZeroPadding(noise, num_samples)
  snr = draws.Uniform(*p.noise_snr_db_range)
  return levels.AtRatio(noise, waveforms, num_samples, snr) * draws.Chance(p.noise_prob), color


def _Babble(waveforms, num_samples, draws):
  """Returns the sum of three copies of an utterance, reversed in time from random samples. [B, Q]."""
  batch, size = tf.unstack(tf.shape(waveforms))
  count = tf.maximum(num_samples, 1)[:, tf.newaxis]  # [B, 1]
  starts = tf.cast(draws.Uniform(0.0, 1.0, _BABBLE_VOICES) * tf.cast(count, tf.float32), tf.int32)
  rows = size * tf.range(batch)[:, tf.newaxis]
  back = count - 1 - tf.minimum(tf.range(size), count - 1)  # [B, Q]
  flat = tf.reshape(waveforms, [-1])
  voices = []
  for k in range(_BABBLE_VOICES):
    index = back + tf.minimum(starts[:, k : k + 1], count - 1)
    index = tf.where(index >= count, index - count, index)
    voices.append(tf.gather(flat, rows + index))
  return tf.add_n(voices)
