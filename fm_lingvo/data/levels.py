"""Levels of waveforms: decibels, mean power, and noise at a ratio to speech.

B: utterances, S: samples in a padded row.
"""

from lingvo import compat as tf


def Amplitude(decibels):
  """Converts dB to an amplitude factor."""
  return tf.pow(10.0, decibels / 20.0)


def Power(waveforms, num_samples):
  """Returns the mean square over each utterance. [B, S], [B] -> [B, 1]."""
  count = tf.cast(tf.maximum(num_samples, 1), tf.float32)
  return (tf.reduce_sum(tf.square(waveforms), axis=1) / count)[:, tf.newaxis]


def AtRatio(noise, waveforms, num_samples, snr_db):
  """Scales noise to a signal-to-noise ratio of mean powers.

  Args:
    noise: float32 [B, S], 0 beyond num_samples.
    waveforms: float32 [B, S], the signal, 0 beyond num_samples.
    num_samples: int32 [B].
    snr_db: float32 [B, 1] in dB.

  Returns:
    float32 [B, S]; silent noise stays silent.
  """
  gain = tf.sqrt(Power(waveforms, num_samples) / tf.maximum(Power(noise, num_samples), 1e-12))
  return noise * gain * Amplitude(-snr_db)
