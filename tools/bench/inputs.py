"""Inputs of the benchmark, the same for our code and the peers: random numbers from a seed, made with NumPy alone."""

import numpy as np


def Transducer(sizes):
  """Full logits and labels of a batch in which every utterance has all frames and labels.

  Args:
    sizes: dict of batch B, frames T, labels U, vocab V.

  Returns:
    (logits float32 [B, T, U + 1, V], labels int32 [B, U] without blank 0).
  """
  rng = np.random.default_rng(0)
  batch, frames, labels, vocab = (sizes[k] for k in ('batch', 'frames', 'labels', 'vocab'))
  logits = rng.standard_normal((batch, frames, labels + 1, vocab), np.float32)
  return logits, rng.integers(1, vocab, (batch, labels), np.int32)


def Joint(sizes):
  """Inputs of a joint network, whose logits are tanh(enc_t + pred_u) w.

  Args:
    sizes: As Transducer, and depth J.

  Returns:
    (enc [B, T, J], pred [B, U + 1, J], w [J, V], labels int32 [B, U]), float32.
  """
  rng = np.random.default_rng(1)
  batch, frames, labels, vocab, depth = (sizes[k] for k in ('batch', 'frames', 'labels', 'vocab', 'depth'))
  enc = rng.standard_normal((batch, frames, depth), np.float32)
  pred = rng.standard_normal((batch, labels + 1, depth), np.float32)
  w = rng.standard_normal((depth, vocab), np.float32) / np.sqrt(np.float32(depth))
  return enc, pred, w, rng.integers(1, vocab, (batch, labels), np.int32)


def Features(sizes):
  """Log-mel features, normalised: float32 [B, T, 80] of `batch` utterances of `seconds`, 100 frames a second."""
  rng = np.random.default_rng(2)
  return rng.standard_normal((sizes['batch'], int(100 * sizes['seconds']), 80), np.float32)


def Samples(sizes):
  """float32 [B, S] at 16 kHz, in [-32768, 32768): Syllables of `batch` utterances of `seconds`."""
  return np.stack([Syllables(sizes['seconds'], seed) for seed in range(sizes['batch'])]).astype(np.float32)


def Decoding(sizes):
  """Encoded frames and the weights of a transducer's decoder that gives a label in about three frames.

  Weights are random; blank's bias is such that a third of the frames have a likelier label, after no label.

  Args:
    sizes: dict of batch B, frames T, width D, embedded E, predicted P, joint J, vocab V.

  Returns:
    dict, float32: encoded [B, T, D]; embedding [V, E]; w_input [E, 4 P] and w_recurrent [P, 4 P] of an LSTM, gates in
    the order input, forget, output, candidate, whose bias is 1 for the forget gate and 0 else; w_encoded [D, J],
    w_predicted [P, J], w [J, V], b [V].
  """
  rng = np.random.default_rng(4)
  batch, frames, width, embedded, predicted, joint, vocab = (
    sizes[k] for k in ('batch', 'frames', 'width', 'embedded', 'predicted', 'joint', 'vocab')
  )

  def _Weights(k, n):
    return rng.standard_normal((k, n), np.float32) / np.sqrt(np.float32(k))

  found = {
    'encoded': rng.standard_normal((batch, frames, width), np.float32),
    'embedding': rng.standard_normal((vocab, embedded), np.float32),
    'w_input': _Weights(embedded, 4 * predicted),
    'w_recurrent': _Weights(predicted, 4 * predicted),
    'w_encoded': _Weights(width, joint),
    'w_predicted': _Weights(predicted, joint),
    'w': _Weights(joint, vocab),
  }
  logits = np.tanh(found['encoded'] @ found['w_encoded']) @ found['w']  # [B, T, V]
  bias = np.quantile(logits[..., 1:].max(-1) - logits[..., 0], 2 / 3)
  return {**found, 'b': np.eye(1, vocab, dtype=np.float32)[0] * np.float32(bias)}


def Syllables(seconds: float, seed: int) -> np.ndarray:
  """Returns int16 [N] at 16 kHz: noise whose loudness changes each quarter of a second."""
  rng, rate = np.random.default_rng(seed), 16000
  length = int(seconds * rate)
  loud = np.repeat(rng.uniform(0, 3000, 4 * length // rate + 1), rate // 4)[:length]
  return np.clip(loud * rng.standard_normal(length, np.float32), -32768, 32767).astype(np.int16)
