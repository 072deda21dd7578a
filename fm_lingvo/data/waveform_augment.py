"""Augments training speech in-graph: random speed, reverberation, noise, channel and level.

B: utterances, S: samples in a padded row (16 kHz), Q: samples of a row after the change of
speed, N: blocks of a row, H: samples of a block, K: filter taps, M: frequency bins, R: rows
with effects.
"""

import copy

import numpy as np
from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.data import speed_perturb
from fm_lingvo.utils import audio

_BLOCK_SIZE = 4096  # H; convolutions use FFTs of 2 H samples.
_DESIGN_SIZE = 1024  # Taps of an equaliser; its delay of half as many samples is compensated.
_MAX_ROOM_SIZE = _BLOCK_SIZE - _DESIGN_SIZE  # Taps of a room impulse response, 192 ms.
_RIPPLE_BANDS = 8
_BABBLE_VOICES = 3
_MAX_VALUE = 1.0 - 2.0**-15
# Indices of the random streams of an utterance.
_CHOICES, _NOISE, _ROOM = 0, 1, 2


def Params():
  """Returns the Params of Augment."""
  p = hyperparams.Params()
  p.Define(
    'speed_range',
    [0.9, 1.1],
    'Smallest and largest factor of the speed, and so of the pitch, in [0.5, 2]; None: no change.',
  )
  p.Define(
    'effects_prob',
    0.5,
    'Probability, in [0, 1], that any of reverb, noise, eq and telephone may be '
    'applied to an utterance; they cost far more time than the change of speed.',
  )
  p.Define('reverb_prob', 0.3, 'Probability of reverberation, in [0, 1].')
  p.Define(
    'reverb_t60_range',
    [0.1, 0.4],
    'Reverberation time in seconds, in [0.02, 2]: a decay of 60 dB; the impulse response ends after 192 ms.',
  )
  p.Define('reverb_drr_db_range', [0.0, 15.0], 'Direct-to-reverberant ratio in dB, in [-100, 100].')
  p.Define('noise_prob', 0.7, 'Probability of noise, in [0, 1].')
  p.Define(
    'noise_snr_db_range', [5.0, 30.0], 'Signal-to-noise ratio in dB, in [-100, 100], of mean powers before the channel.'
  )
  p.Define(
    'noise_slope_db_range',
    [-6.0, 0.0],
    "Slope of the noise's spectrum in dB per octave, in [-100, 100]: 0 is white, -3 pink, -6 brown.",
  )
  p.Define(
    'babble_prob',
    0.2,
    'Probability, in [0, 1], that the noise is babble: three copies of the utterance, reversed in time.',
  )
  p.Define('eq_prob', 0.5, 'Probability of an equaliser, in [0, 1].')
  p.Define('eq_slope_db_range', [-3.0, 3.0], 'Slope of the equaliser in dB per octave, in [-100, 100]; 0 dB at 1 kHz.')
  p.Define(
    'eq_ripple_db', 4.0, 'Largest deviation of the equaliser from the slope in dB, in [0, 100], drawn in 8 bands.'
  )
  p.Define('telephone_prob', 0.3, 'Probability of a telephone channel, in [0, 1].')
  p.Define('telephone_low_hz_range', [200.0, 350.0], 'Lower edge of the telephone band in Hz, in [20, 1000].')
  p.Define('telephone_high_hz_range', [3300.0, 3900.0], 'Upper edge of the telephone band in Hz, in [2000, 7900].')
  p.Define('gain_db_range', [-12.0, 0.0], 'Gain in dB, in [-100, 100], applied last; None: no change.')
  return p


def Validate(path, p):
  """Raises ConfigError, one line with field and value, if `p` is invalid.

  Args:
    path: Path of the Params, such as 'input.streams.source.augment'.
    p: Params().
  """
  for name, value in p.IterParams():
    if name.endswith('_prob'):
      ok, expected = _IsNumber(value) and 0 <= value <= 1, 'a probability in [0, 1]'
    elif name.endswith('_range'):
      low, high = _LIMITS.get(name, (-100.0, 100.0))
      optional = name in ('speed_range', 'gain_db_range')
      ok = (
        optional
        and value is None
        or (
          isinstance(value, (list, tuple))
          and len(value) == 2
          and all(map(_IsNumber, value))
          and low <= value[0] <= value[1] <= high
        )
      )
      expected = f'{"None or " if optional else ""}[least, greatest] in [{low:g}, {high:g}]'
    else:
      ok, expected = _IsNumber(value) and 0 <= value <= 100, 'dB in [0, 100]'
    if not ok:
      raise errors.ConfigError(f'{path}.{name} = {value!r}: expected {expected}')


_LIMITS = {
  'speed_range': (0.5, 2.0),
  'reverb_t60_range': (0.02, 2.0),
  'telephone_low_hz_range': (20.0, 1000.0),
  'telephone_high_hz_range': (2000.0, 7900.0),
}


def _IsNumber(value):
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def Seeds(seed, utt_ids):
  """Returns a seed for each utterance.

  Args:
    seed: int64 scalar, different for each batch of a stream.
    utt_ids: string [B].

  Returns:
    int64 [B, 2].
  """
  hashes = tf.strings.to_hash_bucket_fast(utt_ids, 2**31 - 1)
  return tf.stack([tf.cast(seed, tf.int64) + tf.zeros_like(hashes), hashes], axis=1)


def Augment(p, waveforms, num_samples, seeds):
  """Augments utterances independently of each other.

  The result is a function of an utterance's samples and seed only: it does not depend on
  padding, on the rest of the batch or on restarts. With all effects off it equals the input.
  An effect that is on but not drawn changes it by FFT rounding errors, 80 dB below the signal.

  Args:
    p: Params(), validated.
    waveforms: float32 [B, S] in [-1, 1).
    num_samples: int32 [B], <= S.
    seeds: int64 [B, 2], see Seeds.

  Returns:
    (waveforms float32 [B, Q] in [-1, 1), 0 beyond the length, num_samples int32 [B]). Q is
    speed_perturb.MaxSamples(S, p.speed_range), static if S is; without a change of speed Q = S.
  """
  draws = _Draws(seeds)
  waveforms = speed_perturb.ZeroPadding(waveforms, num_samples)
  if p.speed_range:
    waveforms, num_samples = speed_perturb.Change(waveforms, num_samples, draws.Uniform(*p.speed_range), p.speed_range)
  # Drawn before the effects, which use the following draws.
  gain = draws.Uniform(*p.gain_db_range) if p.gain_db_range else None
  if p.effects_prob and (p.reverb_prob or p.noise_prob or p.eq_prob or p.telephone_prob):
    waveforms = _WithEffects(p, waveforms, num_samples, draws)
  if gain is not None:
    waveforms *= _Amplitude(gain)
  waveforms = tf.clip_by_value(waveforms, -1.0, _MAX_VALUE)
  return speed_perturb.ZeroPadding(waveforms, num_samples), num_samples


class _Draws:
  """Random numbers for utterances, each from its own seed."""

  def __init__(self, seeds):
    self._seeds = seeds
    self._uniform = self._Map(  # [B, 32]
      _CHOICES, lambda seed: tf.random.stateless_uniform([32], seed, alg='philox')
    )
    self._used = 0

  def Rows(self, rows):
    """Returns the unused draws of some utterances, given their indices int64 [R]."""
    part = copy.copy(self)
    part._seeds = tf.gather(self._seeds, rows)
    part._uniform = tf.gather(self._uniform, rows)
    return part

  def Uniform(self, low, high, num=1):
    """Returns uniform numbers in [low, high), float32 [B, num]."""
    self._used += num
    drawn = self._uniform[:, self._used - num : self._used]
    return low + (high - low) * drawn

  def Chance(self, probability):
    """Returns 1 with a probability, else 0, as float32 [B, 1]."""
    return tf.cast(self.Uniform(0.0, 1.0) < probability, tf.float32)

  def Normal(self, stream, size):
    """Returns Gaussian noise float32 [B, size]; a smaller size gives a prefix of a larger one."""
    return self._Map(stream, lambda seed: tf.random.stateless_normal([size], seed, alg='philox'))

  def _Map(self, stream, draw):
    # Philox is counter-based, so the first numbers do not depend on the size.
    seeds = self._seeds * 3 + stream  # [B, 2]
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)


def _Amplitude(decibels):
  """Converts dB to an amplitude factor."""
  return tf.pow(10.0, decibels / 20.0)


def _Power(waveforms, num_samples):
  """Returns the mean square over each utterance. [B, S], [B] -> [B, 1]."""
  count = tf.cast(tf.maximum(num_samples, 1), tf.float32)
  return (tf.reduce_sum(tf.square(waveforms), axis=1) / count)[:, tf.newaxis]


def _WithEffects(p, waveforms, num_samples, draws):
  """Applies _Filtered to the utterances drawn for it, and leaves the others unchanged."""
  rows = tf.where(draws.Chance(p.effects_prob)[:, 0] > 0)[:, 0]  # [R]

  def _Some():
    filtered = _Filtered(p, tf.gather(waveforms, rows), tf.gather(num_samples, rows), draws.Rows(rows))
    return tf.tensor_scatter_nd_update(waveforms, rows[:, tf.newaxis], filtered)

  return tf.cond(tf.size(rows) > 0, _Some, lambda: waveforms)


def _Filtered(p, waveforms, num_samples, draws):
  """Applies reverberation, noise, equaliser and telephone in one pass over blocks of spectra.

  Speech is filtered by room, equaliser and telephone; noise by its spectral slope,
  equaliser and telephone.

  Args:
    p: Params().
    waveforms: float32 [B, Q], 0 beyond num_samples.
    num_samples: int32 [B].
    draws: _Draws of the utterances.

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
  return _Overlap(mixed, waveforms)


def _Spectrum(kernel):
  """Returns the spectrum [B, 1, H + 1] of a filter [B, K], K <= H, to be multiplied with _Blocks."""
  return tf.signal.rfft(kernel, [2 * _BLOCK_SIZE])[:, tf.newaxis]


def _Blocks(waveforms):
  """Returns the spectra of the blocks of rows. [B, Q] -> complex64 [B, N, H + 1]."""
  size = tf.shape(waveforms)[1]
  blocks = -(-(size + _DESIGN_SIZE // 2) // _BLOCK_SIZE)
  padded = tf.pad(waveforms, [[0, 0], [0, blocks * _BLOCK_SIZE - size]])
  batch = tf.shape(waveforms)[0]
  blocked = tf.reshape(padded, [batch, blocks, _BLOCK_SIZE])
  return tf.signal.rfft(blocked, [2 * _BLOCK_SIZE])


def _Overlap(spectra, waveforms):
  """Overlap-adds filtered blocks [B, N, H + 1] to rows with the shape of waveforms [B, Q]."""
  blocks = tf.signal.irfft(spectra, [2 * _BLOCK_SIZE])  # [B, N, 2 H]
  tails = tf.pad(blocks[:, :-1, _BLOCK_SIZE:], [[0, 0], [1, 0], [0, 0]])
  rows = blocks[:, :, :_BLOCK_SIZE] + tails
  batch, size = tf.unstack(tf.shape(waveforms))
  rows = tf.reshape(rows, [batch, -1])  # [B, N, H] -> [B, N H]
  delay = _DESIGN_SIZE // 2
  return tf.ensure_shape(rows[:, delay : delay + size], waveforms.shape)


def _Octaves(low, high):
  """Returns the M frequencies in octaves above 1 kHz, clipped to [low, high], float64 [M]."""
  hertz = np.fft.rfftfreq(_DESIGN_SIZE, 1 / audio.SAMPLE_RATE)
  return np.clip(np.log2(np.maximum(hertz, 1) / 1000), low, high)


def _Kernel(decibels):
  """Returns the filter of a response in dB, delayed by half of its length. [B, M] -> [B, K]."""
  response = tf.complex(_Amplitude(decibels), tf.zeros_like(decibels))
  taps = tf.roll(tf.signal.irfft(response, [_DESIGN_SIZE]), _DESIGN_SIZE // 2, axis=1)
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
  tail = draws.Normal(_ROOM, _MAX_ROOM_SIZE) * decay * tf.constant(seconds >= 0.0025, tf.float32)
  tail /= tf.sqrt(tf.reduce_sum(tf.square(tail), axis=1, keepdims=True))
  tail *= _Amplitude(-draws.Uniform(*p.reverb_drr_db_range)) * draws.Chance(p.reverb_prob)
  direct = tf.constant(seconds == 0, tf.float32)
  return (direct + tail) / tf.sqrt(1 + tf.reduce_sum(tf.square(tail), axis=1, keepdims=True))


def _Noise(p, waveforms, num_samples, draws):
  """Draws noise for utterances.

  Args:
    p: Params().
    waveforms: float32 [B, Q].
    num_samples: int32 [B].
    draws: _Draws of the utterances.

  Returns:
    (noise float32 [B, Q] at the drawn signal-to-noise ratio, 0 for utterances without noise,
    response in dB float32 [B, M] that colours it without changing its power).
  """
  size = tf.shape(waveforms)[1]
  noise = draws.Normal(_NOISE, size)
  color = draws.Uniform(*p.noise_slope_db_range) * tf.constant(_Octaves(-5, 3), tf.float32)
  power = tf.reduce_mean(tf.square(_Amplitude(color)), axis=1, keepdims=True)
  color -= 10 / np.log(10) * tf.math.log(power)
  if p.babble_prob:
    babble = draws.Chance(p.babble_prob)  # [B, 1]
    noise += babble * (_Babble(waveforms, num_samples, draws) - noise)
    color *= 1 - babble
  # The filters would spread noise in padding into the utterance.
  noise = speed_perturb.ZeroPadding(noise, num_samples)
  snr = draws.Uniform(*p.noise_snr_db_range)
  gain = tf.sqrt(_Power(waveforms, num_samples) / tf.maximum(_Power(noise, num_samples), 1e-12))
  return noise * gain * _Amplitude(-snr) * draws.Chance(p.noise_prob), color


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
