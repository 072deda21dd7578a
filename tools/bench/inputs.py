"""The inputs that ours and the peers are given alike: random numbers from a seed, made with NumPy alone."""

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
  """What a joint network makes logits of: tanh(enc_t + pred_u) w.

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
