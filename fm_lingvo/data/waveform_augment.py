"""Random speed, room, noise, channel and level of training speech, in-graph.

B: utterances, S: samples in a padded row (16 kHz), Q: S after the change of speed,
N: blocks of a row, H: samples of a block, K: taps, M: frequency bins.
"""

import copy

import numpy as np
from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.data import speed_perturb
from fm_lingvo.utils import audio

_BLOCK_SIZE = 4096  # H; convolutions go over FFTs of twice as many samples.
_DESIGN_SIZE = 1024  # Taps of an equaliser; its delay of a half is compensated.
_MAX_ROOM_SIZE = _BLOCK_SIZE - _DESIGN_SIZE  # Taps of a room's response, 192 ms.
_RIPPLE_BANDS = 8
_BABBLE_VOICES = 3
_MAX_VALUE = 1.0 - 2.0**-15
# Random streams of an utterance.
_CHOICES, _NOISE, _ROOM = 0, 1, 2


def Params():
  """Returns the Params of Augment."""
  p = hyperparams.Params()
  p.Define(
    'speed_range', [0.9, 1.1], 'Least and greatest factor of the speed, hence of pitch, in [0.5, 2]; None: no change.'
  )
  p.Define(
    'effects_prob',
    0.5,
    'Probability, in [0, 1], that an utterance has any of the effects below up '
    'to the telephone; they cost many times what the speed does.',
  )
  p.Define('reverb_prob', 0.3, 'Probability of a room, in [0, 1].')
  p.Define(
    'reverb_t60_range',
    [0.1, 0.4],
    "Seconds, in [0.02, 2], in which a room's sound decays by 60 dB; the response ends after 192 ms.",
  )
  p.Define('reverb_drr_db_range', [0.0, 15.0], 'Direct sound over reverberation in dB.')
  p.Define('noise_prob', 0.7, 'Probability of noise, in [0, 1].')
  p.Define(
    'noise_snr_db_range', [5.0, 30.0], 'Mean power of the speech over that of the noise in dB, both before the channel.'
  )
  p.Define(
    'noise_slope_db_range', [-6.0, 0.0], "Slope of the noise's spectrum in dB an octave: 0 is white, -3 pink, -6 brown."
  )
  p.Define(
    'babble_prob',
    0.2,
    "Probability, in [0, 1], that an utterance's noise is several copies of its own speech, backwards, instead.",
  )
  p.Define('eq_prob', 0.5, 'Probability of an equaliser, in [0, 1].')
  p.Define('eq_slope_db_range', [-3.0, 3.0], 'Its slope in dB an octave, 0 at 1 kHz.')
  p.Define('eq_ripple_db', 4.0, 'Its greatest deviation from the slope in dB, >= 0, drawn in 8 bands.')
  p.Define('telephone_prob', 0.3, "Probability of a telephone's band, in [0, 1].")
  p.Define('telephone_low_hz_range', [200.0, 350.0], "Lower edge of the telephone's band in Hz.")
  p.Define('telephone_high_hz_range', [3300.0, 3900.0], "Upper edge of the telephone's band in Hz.")
  p.Define('gain_db_range', [-12.0, 0.0], 'Gain at the end in dB; None: no change.')
  return p


def Validate(path, p):
  """Raises ConfigError, one line with field and value, if `p` is unusable.

  Args:
    path: Where the Params are, such as 'input.streams.source.augment'.
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
  """Seeds of utterances.

  Args:
    seed: int64 scalar, another for each batch of a stream.
    utt_ids: string [B].

  Returns:
    int64 [B, 2].
  """
  hashes = tf.strings.to_hash_bucket_fast(utt_ids, 2**31 - 1)
  return tf.stack([tf.cast(seed, tf.int64) + tf.zeros_like(hashes), hashes], axis=1)


def Augment(p, waveforms, num_samples, seeds):
  """Augments utterances, each in its own way.

  An utterance's result is a function of its samples and its seed: neither padding nor
  neighbours, nor a restart, change it. Where everything is off it stays as it is; an
  effect that is on but not drawn changes it by 80 dB less, the error of an FFT.

  Args:
    p: Params(), validated.
    waveforms: float32 [B, S] in [-1, 1).
    num_samples: int32 [B], <= S.
    seeds: int64 [B, 2], see Seeds.

  Returns:
    waveforms float32 [B, Q] in [-1, 1), 0 past num_samples int32 [B]. Q is
    speed_perturb.MaxSamples(S, p.speed_range), static if S is; S without a change of speed.
  """
  draws = _Draws(seeds)
  waveforms = speed_perturb.ZeroPadding(waveforms, num_samples)
  if p.speed_range:
    waveforms, num_samples = speed_perturb.Change(waveforms, num_samples, draws.Uniform(*p.speed_range), p.speed_range)
  # Before the effects, which go on with the same draws.
  gain = draws.Uniform(*p.gain_db_range) if p.gain_db_range else None
  if p.effects_prob and (p.reverb_prob or p.noise_prob or p.eq_prob or p.telephone_prob):
    waveforms = _WithEffects(p, waveforms, num_samples, draws)
  if gain is not None:
    waveforms *= _Amplitude(gain)
  waveforms = tf.clip_by_value(waveforms, -1.0, _MAX_VALUE)
  return speed_perturb.ZeroPadding(waveforms, num_samples), num_samples


class _Draws:
  """Random numbers of utterances, each from its own seed."""

  def __init__(self, seeds):
    self._seeds = seeds
    self._uniform = self._Map(  # [B, 32]
      _CHOICES, lambda seed: tf.random.stateless_uniform([32], seed, alg='philox')
    )
    self._used = 0

  def Rows(self, rows):
    """The draws of some utterances, int64 [R], that are still to be used."""
    part = copy.copy(self)
    part._seeds = tf.gather(self._seeds, rows)
    part._uniform = tf.gather(self._uniform, rows)
    return part

  def Uniform(self, low, high, num=1):
    """Numbers in [low, high): float32 [B, num]."""
    self._used += num
    drawn = self._uniform[:, self._used - num : self._used]
    return low + (high - low) * drawn

  def Chance(self, probability):
    """1 with a probability, else 0: float32 [B, 1]."""
    return tf.cast(self.Uniform(0.0, 1.0) < probability, tf.float32)

  def Normal(self, stream, size):
    """Gaussian noise float32 [B, size]; a shorter one is the beginning of a longer."""
    return self._Map(stream, lambda seed: tf.random.stateless_normal([size], seed, alg='philox'))

  def _Map(self, stream, draw):
    # Philox counts samples, so that the beginning does not depend on the size.
    seeds = self._seeds * 3 + stream  # [B, 2]
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)


def _Amplitude(decibels):
  return tf.pow(10.0, decibels / 20.0)


def _Power(waveforms, num_samples):
  """Mean square over the utterance. [B, S], [B] -> [B, 1]."""
  count = tf.cast(tf.maximum(num_samples, 1), tf.float32)
  return (tf.reduce_sum(tf.square(waveforms), axis=1) / count)[:, tf.newaxis]


def _WithEffects(p, waveforms, num_samples, draws):
  """_Filtered on the utterances that are drawn for it, the others as they are."""
  rows = tf.where(draws.Chance(p.effects_prob)[:, 0] > 0)[:, 0]  # [R]

  def _Some():
    filtered = _Filtered(p, tf.gather(waveforms, rows), tf.gather(num_samples, rows), draws.Rows(rows))
    return tf.tensor_scatter_nd_update(waveforms, rows[:, tf.newaxis], filtered)

  return tf.cond(tf.size(rows) > 0, _Some, lambda: waveforms)


def _Filtered(p, waveforms, num_samples, draws):
  """Room, noise, equaliser and telephone, in one pass over blocks of spectra.

  Speech goes through room, equaliser and telephone; noise through the filter that
  colours it, equaliser and telephone.

  Args:
    p: Params().
    waveforms: float32 [B, Q], 0 past num_samples int32 [B].
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
  """Response of a filter [B, K], K <= H, to be multiplied with _Blocks."""
  return tf.signal.rfft(kernel, [2 * _BLOCK_SIZE])[:, tf.newaxis]


def _Blocks(waveforms):
  """Spectra of the blocks of rows. [B, Q] -> complex64 [B, N, H + 1]."""
  size = tf.shape(waveforms)[1]
  blocks = -(-(size + _DESIGN_SIZE // 2) // _BLOCK_SIZE)
  padded = tf.pad(waveforms, [[0, 0], [0, blocks * _BLOCK_SIZE - size]])
  batch = tf.shape(waveforms)[0]
  blocked = tf.reshape(padded, [batch, blocks, _BLOCK_SIZE])
  return tf.signal.rfft(blocked, [2 * _BLOCK_SIZE])


def _Overlap(spectra, waveforms):
  """Rows of the shape of waveforms [B, Q] from filtered blocks [B, N, H + 1]."""
  blocks = tf.signal.irfft(spectra, [2 * _BLOCK_SIZE])  # [B, N, 2 H]
  tails = tf.pad(blocks[:, :-1, _BLOCK_SIZE:], [[0, 0], [1, 0], [0, 0]])
  rows = blocks[:, :, :_BLOCK_SIZE] + tails
  batch, size = tf.unstack(tf.shape(waveforms))
  rows = tf.reshape(rows, [batch, -1])  # [B, N, H] -> [B, N H]
  delay = _DESIGN_SIZE // 2
  return tf.ensure_shape(rows[:, delay : delay + size], waveforms.shape)


def _Octaves(low, high):
  """Octaves above 1 kHz of the M frequencies, limited to low and high: float64 [M]."""
  hertz = np.fft.rfftfreq(_DESIGN_SIZE, 1 / audio.SAMPLE_RATE)
  return np.clip(np.log2(np.maximum(hertz, 1) / 1000), low, high)


def _Kernel(decibels):
  """Filter, half of its length late, of a response in dB. [B, M] -> [B, K]."""
  response = tf.complex(_Amplitude(decibels), tf.zeros_like(decibels))
  taps = tf.roll(tf.signal.irfft(response, [_DESIGN_SIZE]), _DESIGN_SIZE // 2, axis=1)
  return taps * tf.signal.hann_window(_DESIGN_SIZE)


def _Channel(p, draws):
  """Response of equaliser and telephone in dB: float32 [B, M]."""
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
    # 24 dB an octave below the band, 60 dB in 300 Hz above it.
    below = 24 / np.log(2) * tf.math.log(draws.Uniform(*p.telephone_low_hz_range) / hertz)
    above = 0.2 * (hertz - draws.Uniform(*p.telephone_high_hz_range))
    loss = tf.clip_by_value(tf.maximum(below, above), 0.0, 60.0)
    decibels -= loss * draws.Chance(p.telephone_prob)
  return decibels


def _Room(p, draws):
  """Response of a room that keeps the speech's power: float32 [B, K]."""
  seconds = np.arange(_MAX_ROOM_SIZE) / audio.SAMPLE_RATE
  decay = tf.exp(-np.log(1000) * tf.constant(seconds, tf.float32) / draws.Uniform(*p.reverb_t60_range))  # [B, K]
  # Reflections start 2.5 ms after the direct sound.
  tail = draws.Normal(_ROOM, _MAX_ROOM_SIZE) * decay * tf.constant(seconds >= 0.0025, tf.float32)
  tail /= tf.sqrt(tf.reduce_sum(tf.square(tail), axis=1, keepdims=True))
  tail *= _Amplitude(-draws.Uniform(*p.reverb_drr_db_range)) * draws.Chance(p.reverb_prob)
  direct = tf.constant(seconds == 0, tf.float32)
  return (direct + tail) / tf.sqrt(1 + tf.reduce_sum(tf.square(tail), axis=1, keepdims=True))


def _Noise(p, waveforms, num_samples, draws):
  """Noise for utterances.

  Args:
    p: Params().
    waveforms: float32 [B, Q].
    num_samples: int32 [B].
    draws: _Draws of the utterances.

  Returns:
    noise float32 [B, Q] of the power asked for, 0 where there is none, and the
    response in dB, float32 [B, M], that colours it without a change of power.
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
  # Noise in padding would leak into the utterance through the filters.
  noise = speed_perturb.ZeroPadding(noise, num_samples)
  snr = draws.Uniform(*p.noise_snr_db_range)
  gain = tf.sqrt(_Power(waveforms, num_samples) / tf.maximum(_Power(noise, num_samples), 1e-12))
  return noise * gain * _Amplitude(-snr) * draws.Chance(p.noise_prob), color


def _Babble(waveforms, num_samples, draws):
  """Sum of three copies of an utterance, backwards from different samples."""
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
