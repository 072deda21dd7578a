"""Recorded rooms and noise in training speech, in-graph: convolved and mixed at random, from folders of the user.

B: utterances, R: those that are changed, Q: samples of a padded row (16 kHz), K: taps of a room's response.
"""

from typing import NamedTuple

from lingvo import compat as tf
from lingvo.core import hyperparams

from fm_lingvo.data import augment_draws
from fm_lingvo.data import block_filter
from fm_lingvo.data import levels
from fm_lingvo.data import sound_bank
from fm_lingvo.data import speed_perturb

_BLOCK_SIZE = sound_bank.MAX_ROOM_SAMPLES  # Convolutions use FFTs of two blocks.
# Added to the seeds of the batch, far from those of all other batches: the draws repeat no others.
_ROOM_SEED, _NOISE_SEED = 2**40, 2**41


def Params():
  """Returns the Params of Apply; Tensors loads their folders."""
  p = hyperparams.Params()
  p.Define(
    'noise_dir',
    '',
    'Folder with recordings of noise in any format, also in folders below it, as in MUSAN; empty: none.',
  )
  p.Define('noise_prob', 0.5, 'With noise_dir: probability of noise, in [0, 1].')
  p.Define(
    'noise_snr_db_range', [5.0, 30.0], 'With noise_dir: signal-to-noise ratio in dB, in [-100, 100], of mean powers.'
  )
  p.Define(
    'rir_dir',
    '',
    'Folder with room impulse responses in any format, also in folders below it, as in RIRS_NOISES; empty: none.',
  )
  p.Define('rir_prob', 0.3, 'With rir_dir: probability of a room, in [0, 1].')
  p.Define(
    'max_minutes',
    60.0,
    'Minutes, > 0 and <= 2000, of each folder that are decoded at the start and kept in memory; an hour of noise takes '
    '115 MB, of rooms 230 MB. Larger folders are used in part: excerpts of files in a random order that is always the '
    'same.',
  )
  return p


def Idle(p):
  """The params that have no effect with the values of the others; see config/idle.py."""
  idle = {} if p.noise_dir else dict.fromkeys(('noise_prob', 'noise_snr_db_range'), 'without noise_dir')
  if not p.rir_dir:
    idle.update(rir_prob='without rir_dir')
  if not p.noise_dir and not p.rir_dir:
    idle.update(max_minutes='without noise_dir or rir_dir')
  return idle


class Sounds(NamedTuple):
  """Sounds as tensors: samples [N] int16 or float32; start and size in them, int32 [number of sounds]."""

  samples: tf.Tensor
  starts: tf.Tensor
  sizes: tf.Tensor


class Recorded(NamedTuple):
  """What Apply mixes in; None: nothing."""

  noise: Sounds | None
  rooms: Sounds | None


def Load(p) -> tuple[sound_bank.Bank | None, sound_bank.Bank | None]:
  """Loads the folders of Params, once in a process: (noise, rooms), None for one that is not named.

  Raises:
    errors.ConfigError: A file cannot be decoded, or a folder has only silence.
  """
  noise = sound_bank.LoadNoise(p.noise_dir, p.max_minutes) if p.noise_dir else None
  rooms = sound_bank.LoadRooms(p.rir_dir, p.max_minutes) if p.rir_dir else None
  return noise, rooms


def Tensors(p, in_process: bool = True) -> Recorded | None:
  """Loads the folders of Params; returns None if there is none.

  Args:
    p: Params(), validated.
    in_process: Whether this process computes the tensors. Then the samples do not become a part of the graph, which
      would take several times their memory.

  Raises:
    errors.ConfigError: As Load.
  """
  if not p.noise_dir and not p.rir_dir:
    return None
  return Recorded(*[bank and _AsTensors(bank, in_process) for bank in Load(p)])


def _AsTensors(bank, in_process):
  if in_process:
    samples = tf.numpy_function(lambda: bank.samples, [], bank.samples.dtype)
    samples.set_shape(bank.samples.shape)
  else:
    samples = tf.constant(bank.samples)
  return Sounds(samples, tf.constant(bank.starts), tf.constant(bank.sizes))


def Apply(p, recorded: Recorded, waveforms, num_samples, seeds):
  """Convolves utterances with rooms, then adds noise, to random ones of them.

  Args:
    p: Params().
    recorded: Tensors(p).
    waveforms: float32 [B, Q], 0 beyond num_samples.
    num_samples: int32 [B].
    seeds: int64 [B, 2], see augment_draws.Seeds.

  Returns:
    float32 [B, Q], 0 beyond num_samples.
  """
  if recorded.rooms is not None and p.rir_prob:
    draws = augment_draws.Draws(seeds + [_ROOM_SEED, 0])
    waveforms = draws.OnSome(
      p.rir_prob, lambda rows, _, drawn: _InRoom(recorded.rooms, rows, drawn), waveforms, num_samples
    )
    waveforms = speed_perturb.ZeroPadding(waveforms, num_samples)
  if recorded.noise is not None and p.noise_prob:
    draws = augment_draws.Draws(seeds + [_NOISE_SEED, 0])
    waveforms = draws.OnSome(
      p.noise_prob,
      lambda rows, sizes, drawn: rows + _Noise(p.noise_snr_db_range, recorded.noise, rows, sizes, drawn),
      waveforms,
      num_samples,
    )
  return waveforms


def _Drawn(sounds, draws):
  """Returns start and size of a random sound for each row, int32 [R, 1] each."""
  index = draws.Index(sounds.sizes.shape[0])
  return tf.gather(sounds.starts, index), tf.gather(sounds.sizes, index)


def _InRoom(rooms, waveforms, draws):
  """Convolves each row [R, Q] with a random room, whose direct sound is not delayed."""
  start, size = _Drawn(rooms, draws)
  taps = tf.range(_BLOCK_SIZE)  # [K]
  kernel = tf.gather(rooms.samples, start + tf.minimum(taps, size - 1))  # [R, K]
  kernel = tf.where(taps < size, kernel, tf.zeros_like(kernel))
  delay = sound_bank.ROOM_DELAY
  spectra = block_filter.Blocks(waveforms, _BLOCK_SIZE, delay) * block_filter.Spectrum(kernel, _BLOCK_SIZE)
  return block_filter.Overlap(spectra, waveforms, _BLOCK_SIZE, delay)


def _Noise(snr_db_range, sounds, waveforms, num_samples, draws):
  """Returns a random noise for each row [R, Q], from a random place on; a short one is repeated."""
  start, size = _Drawn(sounds, draws)
  place = (draws.Index(size) + tf.range(tf.shape(waveforms)[1])) % size  # [R, Q]
  noise = tf.cast(tf.gather(sounds.samples, start + place), tf.float32)
  noise = speed_perturb.ZeroPadding(noise, num_samples)
  return levels.AtRatio(noise, waveforms, num_samples, draws.Uniform(*snr_db_range))
