"""The transducer loss and its gradient in float64 with NumPy: slow, simple, and independent of our implementation.

Graves, arXiv 1211.3711, section 2.4. B: utterances, T: frames, U: labels, V: vocabulary, blank 0. No frame or label is
padding.
"""

import numpy as np


def LossAndGradient(logits, labels):
  """Args: logits [B, T, U + 1, V], labels int [B, U]. Returns: sum of the losses, its gradient by the logits."""
  logits = logits.astype(np.float64)
  batch, frames, width, _ = logits.shape
  log_probs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
  blank = log_probs[..., 0]  # [B, T, U + 1]
  rows, columns = np.ogrid[:batch, : width - 1]
  label = np.full_like(blank, -np.inf)
  label[:, :, :-1] = log_probs.transpose(0, 2, 3, 1)[rows, columns, labels].transpose(0, 2, 1)
  alpha = np.full((batch, frames, width), -np.inf)
  beta = np.full((batch, frames + 1, width + 1), -np.inf)  # Of the node behind the last too.
  alpha[:, 0, 0] = 0.0
  beta[:, frames, width - 1] = 0.0
  for t in range(frames):
    for u in range(width):
      if t:
        alpha[:, t, u] = np.logaddexp(alpha[:, t, u], alpha[:, t - 1, u] + blank[:, t - 1, u])
      if u:
        alpha[:, t, u] = np.logaddexp(alpha[:, t, u], alpha[:, t, u - 1] + label[:, t, u - 1])
  for t in reversed(range(frames)):
    for u in reversed(range(width)):
      beta[:, t, u] = np.logaddexp(blank[:, t, u] + beta[:, t + 1, u], label[:, t, u] + beta[:, t, u + 1])
  total = beta[:, 0, 0]
  occupied_blank = np.exp(alpha + blank + beta[:, 1:, :-1] - total[:, None, None])
  occupied_label = np.exp(alpha + label + beta[:, :-1, 1:] - total[:, None, None])
  gradient = np.exp(log_probs) * (occupied_blank + occupied_label)[..., None]
  gradient[..., 0] -= occupied_blank
  for u in range(width - 1):
    gradient[np.arange(batch)[:, None], np.arange(frames)[None], u, labels[:, u, None]] -= occupied_label[:, :, u]
  return -total.sum(), gradient
