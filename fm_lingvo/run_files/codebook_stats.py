"""Codebook statistics from code counts: perplexity, coverage, entropy.

G: codebooks, V: codes per codebook.
"""

import numpy as np
import numpy.typing as npt


def Entropy(counts: npt.ArrayLike) -> np.ndarray:
  """Returns the entropy in nats of each row of counts [..., V] as [...]; 0 for a row of zeros."""
  counts = np.asarray(counts, np.float64)
  total = counts.sum(axis=-1, keepdims=True)
  probs = counts / np.maximum(total, 1.0)
  logs = np.log(probs, where=probs > 0, out=np.zeros_like(probs))
  return -(probs * logs).sum(axis=-1)


def CodeStats(code_counts: npt.ArrayLike, masked_code_counts: npt.ArrayLike) -> dict[str, float]:
  """Statistics of target codes.

  Args:
    code_counts: [R, G, V], counts on all unpadded frames of R replicas or batches,
      which are summed.
    masked_code_counts: [R, G, V], counts on the frames of the loss.

  Returns:
    dict name -> float, the mean over codebooks; if there are several, also the value
    of each codebook g with the suffix `_g`. On unpadded frames: code_perplexity =
    exp(entropy) and code_coverage, the share of the V codes that occur. On the frames
    of the loss: unigram_entropy in nats (a model with a higher cross-entropy has learnt
    no more than the codes' frequencies) and majority_accuracy, the accuracy of always
    predicting the most frequent code.
  """
  counts = np.asarray(code_counts, np.float64).sum(axis=0)  # [G, V]
  masked = np.asarray(masked_code_counts, np.float64).sum(axis=0)
  columns = {
    'code_perplexity': np.exp(Entropy(counts)),
    'code_coverage': (counts > 0).mean(axis=-1),
    'unigram_entropy': Entropy(masked),
    'majority_accuracy': masked.max(axis=-1) / np.maximum(masked.sum(axis=-1), 1.0),
  }
  stats = {}
  for name, values in columns.items():
    stats[name] = float(values.mean())
    if len(values) > 1:
      for g, value in enumerate(values):
        stats[f'{name}_{g}'] = float(value)
  return stats
