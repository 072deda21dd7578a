"""Joins encoded batches, so that one search has the utterances of all.

B: utterances, N: encoded frames, D: model width.
"""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np


def Joined(batches: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
  """Returns encoded [B, N, D] and paddings [B, N] of all rows of batches, padded to the longest batch."""
  frames = max(batch['paddings'].shape[1] for batch in batches)
  padding = [(0, frames - batch['paddings'].shape[1]) for batch in batches]
  return dict(
    encoded=np.concatenate([np.pad(batch['encoded'], ((0, 0), n, (0, 0))) for batch, n in zip(batches, padding)]),
    paddings=np.concatenate(
      [np.pad(batch['paddings'], ((0, 0), n), constant_values=1.0) for batch, n in zip(batches, padding)]
    ),
  )
