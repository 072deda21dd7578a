"""What the counts of a codebook's codes say: perplexity, coverage, entropy.

G: codebooks, V: codes a codebook.
"""

import numpy as np
import numpy.typing as npt


def Entropy(counts: npt.ArrayLike) -> np.ndarray:
  """Entropy in nats of each row of counts [..., V]; 0 for a row of zeros."""
  counts = np.asarray(counts, np.float64)
  total = counts.sum(axis=-1, keepdims=True)
  probs = counts / np.maximum(total, 1.0)
  logs = np.log(probs, where=probs > 0, out=np.zeros_like(probs))
  return -(probs * logs).sum(axis=-1)


def CodeStats(code_counts: npt.ArrayLike, masked_code_counts: npt.ArrayLike) -> dict[str, float]:
  """Statistics of target codes.

  Args:
    code_counts: [R, G, V] counts on all unpadded frames, R replicas or batches,
      whose sum is what counts.
    masked_code_counts: [R, G, V], the same on the frames of the loss.

  Returns:
    dict name -> float. For each codebook g (suffix `_g` if there are several, and
    the mean over them without): code_perplexity = exp(entropy), code_coverage
    (share of the V codes that occur), both on unpadded frames; on the loss's
    frames, unigram_entropy in nats (what the cross-entropy must fall below to
    have learnt anything beyond the codes' frequencies) and majority_accuracy (of
    always guessing the most frequent code).
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
