"""Whether one system is better than another on the same utterances, by two tests.

Paired bootstrap: both systems get the same resampled speakers or utterances (error_rates.PairedBootstrap).
MAPSSWE, the matched pairs sentence-segment word error test of NIST's sc_stats: an utterance is cut wherever both
systems got two words in a row right; the segments with errors in between are taken as independent, and the mean
difference of their errors as normally distributed.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fm_lingvo import errors
from fm_lingvo.evaluation import alignment
from fm_lingvo.evaluation import error_rates
from fm_lingvo.evaluation import scoring

_CORRECT_WORDS = 2  # That both systems have in a row between two segments.


@dataclasses.dataclass(frozen=True)
class Comparison:
  """System A against system B."""

  difference: float  # WER of A minus that of B, below 0 if A is better.
  low: float  # Its 95 % interval, of the paired bootstrap.
  high: float
  a_better: float  # Share of the resamples in which A is better.
  resampled: str  # What the bootstrap draws, `speakers` or `utterances`.
  clusters: int  # How many of them there are.
  segments: int  # Of MAPSSWE.
  z: float | None  # Of MAPSSWE; None: fewer than two segments, or all with the same difference.
  p: float | None  # Two-sided, of MAPSSWE; None as z.

  @property
  def bootstrap_significant(self) -> bool:
    """Whether the interval of the bootstrap leaves out 0."""
    return self.low > 0 or self.high < 0


def Compare(a: scoring.Result, b: scoring.Result) -> Comparison:
  """Compares two systems.

  Raises:
    errors.ConfigError: The results are of different utterances.
  """
  if [(u.utt_id, u.words.units) for u in a.utterances] != [(u.utt_id, u.words.units) for u in b.utterances]:
    raise errors.ConfigError('results of different utterances: expected two systems on the same ones')
  by_speaker = a.resampled == 'speakers'
  groups = scoring.ClusterNumbers(a.utterances) if by_speaker else list(range(len(a.utterances)))
  sums = [scoring.SumsOf([u.words.errors for u in r.utterances], groups) for r in (a, b)]
  words = scoring.SumsOf([u.words.units for u in a.utterances], groups)
  differences = [x - y for left, right in zip(a.utterances, b.utterances) for x, y in Segments(left.pairs, right.pairs)]
  bootstrap = error_rates.PairedBootstrap(sums[0], sums[1], words)
  z, p = _Normal(differences)
  return Comparison(**bootstrap, resampled=a.resampled, clusters=a.clusters, segments=len(differences), z=z, p=p)


def Segments(a: Sequence[alignment.Pair], b: Sequence[alignment.Pair]) -> list[tuple[int, int]]:
  """Returns (errors of A, errors of B) of each segment of an utterance, from its alignments with one reference."""
  words_a, gaps_a = _Slots(a)
  words_b, gaps_b = _Slots(b)
  segments: list[tuple[int, int]] = []
  correct = _CORRECT_WORDS  # In a row; the start of an utterance is the start of a segment.
  for i in range(len(gaps_a)):
    slots = [(gaps_a[i], gaps_b[i], False)]
    if i < len(words_a):
      slots.append((words_a[i], words_b[i], True))
    for x, y, is_word in slots:
      if not x and not y:
        correct += is_word
        continue
      if correct >= _CORRECT_WORDS:
        segments.append((0, 0))
      segments[-1] = (segments[-1][0] + x, segments[-1][1] + y)
      correct = 0
  return segments


def _Slots(pairs: Sequence[alignment.Pair]) -> tuple[list[int], list[int]]:
  """Returns the errors on each word of the reference [N], and the insertions before each and after the last [N + 1]."""
  words, gaps = [], [0]
  for reference, hypothesis in pairs:
    if reference is None:
      gaps[-1] += 1
    else:
      words.append(int(reference != hypothesis))
      gaps.append(0)
  return words, gaps


def _Normal(differences: Sequence[int]) -> tuple[float | None, float | None]:
  """Returns (z, two-sided p) of the mean difference [segments]."""
  spread = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
  if not spread:
    return None, None
  z = float(np.mean(differences)) / (spread / math.sqrt(len(differences)))
  return z, math.erfc(abs(z) / math.sqrt(2))
