"""Augments training speech in-graph: speed, recorded rooms and noise, synthetic effects, level.

B: utterances, S: samples in a padded row (16 kHz), Q: samples of a row after the change of speed.
"""

import functools

from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.data import augment_draws
from fm_lingvo.data import levels
from fm_lingvo.data import recorded_sounds
from fm_lingvo.data import sound_bank
from fm_lingvo.data import speed_perturb
from fm_lingvo.data import synthetic_effects

_MAX_VALUE = 1.0 - 2.0**-15

Seeds = augment_draws.Seeds


def Params():
  """Returns the Params of Augment."""
  p = hyperparams.Params()
  p.Define(
    'speed_range',
    [0.9, 1.1],
    'Smallest and largest factor of the speed, and so of the pitch, in [0.5, 2]; None: no change.',
  )
  p.Define('recorded', recorded_sounds.Params(), 'Noise and rooms from folders of recordings.')
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
  """Raises ConfigError, one line with field and value, if `p` is invalid; looks into its folders.

  Args:
    path: Path of the Params, such as 'input.streams.source.augment'.
    p: Params().
  """
  for name, value in p.IterParams():
    if isinstance(value, hyperparams.Params):
      Validate(f'{path}.{name}', value)
      continue
    expected = _Expected(name, value)
    if expected:
      raise errors.ConfigError(f'{path}.{name} = {value!r}: expected {expected}')
    if name.endswith('_dir') and value:
      sound_bank.CheckFolder(f'{path}.{name}', value)


def Idle(p):
  """The params that have no effect with the values of the others; see config/idle.py."""
  names = [name for name, _ in p.IterParams()]
  idle = {f'recorded.{path}': why for path, why in recorded_sounds.Idle(p.recorded).items()}
  for effect in ('reverb', 'noise', 'eq', 'telephone'):
    prob = f'{effect}_prob'
    of_effect = [name for name in names if name.startswith(f'{effect}_')] + ['babble_prob'] * (effect == 'noise')
    if not p.effects_prob:
      idle.update(dict.fromkeys(of_effect, 'with effects_prob = 0'))
    elif not p.Get(prob):
      idle.update({name: f'with {prob} = 0' for name in of_effect if name != prob})
  return idle


def _Expected(name, value):
  """Returns what a param should be; '' if its value is valid."""
  if name.endswith('_dir'):
    ok, expected = isinstance(value, str), "a folder of recordings, or none: ''"
  elif name == 'max_minutes':
    ok, expected = _IsNumber(value) and 0 < value <= 2000, 'minutes > 0 and <= 2000'  # Indices are int32.
  elif name.endswith('_prob'):
    ok, expected = _IsNumber(value) and 0 <= value <= 1, 'a probability in [0, 1]'
  elif name.endswith('_range'):
    low, high = _LIMITS.get(name, (-100.0, 100.0))
    optional = name in ('speed_range', 'gain_db_range')
    pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_IsNumber, value))
    ok = (optional and value is None) or (pair and low <= value[0] <= value[1] <= high)
    expected = f'{"None or " if optional else ""}[least, greatest] in [{low:g}, {high:g}]'
  else:
    ok, expected = _IsNumber(value) and 0 <= value <= 100, 'dB in [0, 100]'
  return '' if ok else expected


_LIMITS = {
  'speed_range': (0.5, 2.0),
  'reverb_t60_range': (0.02, 2.0),
  'telephone_low_hz_range': (20.0, 1000.0),
  'telephone_high_hz_range': (2000.0, 7900.0),
}


def _IsNumber(value):
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def Augment(p, waveforms, num_samples, seeds, recorded=None):
  """Augments utterances independently of each other.

  The result is a function of an utterance's samples and seed only: it does not depend on
  padding, on the rest of the batch or on restarts. With all effects off it equals the input.
  An effect that is on but not drawn changes it by FFT rounding errors, 80 dB below the signal.

  Args:
    p: Params(), validated.
    waveforms: float32 [B, S] in [-1, 1).
    num_samples: int32 [B], <= S.
    seeds: int64 [B, 2], see Seeds.
    recorded: recorded_sounds.Tensors(p.recorded); None: no recorded sounds.

  Returns:
    (waveforms float32 [B, Q] in [-1, 1), 0 beyond the length, num_samples int32 [B]). Q is
    speed_perturb.MaxSamples(S, p.speed_range), static if S is; without a change of speed Q = S.
  """
  draws = augment_draws.Draws(seeds)
  waveforms = speed_perturb.ZeroPadding(waveforms, num_samples)
  if p.speed_range:
    waveforms, num_samples = speed_perturb.Change(waveforms, num_samples, draws.Uniform(*p.speed_range), p.speed_range)
  # Drawn before the effects, which use the following draws.
  gain = draws.Uniform(*p.gain_db_range) if p.gain_db_range else None
  if recorded is not None:
    waveforms = recorded_sounds.Apply(p.recorded, recorded, waveforms, num_samples, seeds)
  if p.effects_prob and (p.reverb_prob or p.noise_prob or p.eq_prob or p.telephone_prob):
    waveforms = draws.OnSome(p.effects_prob, functools.partial(synthetic_effects.Apply, p), waveforms, num_samples)
  if gain is not None:
    waveforms *= levels.Amplitude(gain)
  waveforms = tf.clip_by_value(waveforms, -1.0, _MAX_VALUE)
  return speed_perturb.ZeroPadding(waveforms, num_samples), num_samples
