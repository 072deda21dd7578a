"""Aligns the words of hypotheses with those of references.

N: words of a reference, M: words of a hypothesis. A pair is (word of the reference or None, word of the hypothesis or
None): None on the left is an insertion, on the right a deletion.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fm_lingvo import errors

Pair = tuple[str | None, str | None]

COSTS = ('levenshtein', 'sclite')
# NIST sclite's costs: it prefers a deletion and an insertion that keep a word to two substitutions.
_SUBSTITUTION, _INSERTION, _DELETION = 4, 3, 3
_MOST_CELLS = 500_000_000  # Of the table of sclite's costs: 2 GB.


@dataclasses.dataclass(frozen=True)
class Counts:
  """Errors of an alignment, and the units, words or characters, of the reference."""

  substitutions: int = 0
  deletions: int = 0
  insertions: int = 0
  units: int = 0

  @property
  def errors(self) -> int:
    return self.substitutions + self.deletions + self.insertions

  @property
  def rate(self) -> float:
    """Errors / units; the number of errors if there are no units."""
    return self.errors / max(1, self.units)

  def __add__(self, other: 'Counts') -> 'Counts':
    return Counts(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other))))


def Align(references: Sequence[str], hypotheses: Sequence[str], costs: str = 'levenshtein') -> list[list[Pair]]:
  """Aligns the words of each reference with those of its hypothesis; words are separated by whitespace.

  Args:
    references: Texts.
    hypotheses: As many texts.
    costs: `levenshtein`: as few errors as possible, with jiwer; `sclite`: costs 4, 3, 3 of a substitution, an insertion
      and a deletion, which can mean more errors, but rarely does.

  Returns:
    A list of pairs for each reference.

  Raises:
    errors.ConfigError: Texts are too long for `sclite`, more than about 20,000 words each.
  """
  split = [(r.split(), h.split()) for r, h in zip(references, hypotheses, strict=True)]
  if costs == 'sclite':
    return [_Weighted(r, h) for r, h in split]
  return [_Levenshtein(r, h) for r, h in split]


def CharCounts(reference: str, hypothesis: str) -> Counts:
  """Counts the errors of characters, spaces between words included, with as few errors as possible."""
  import jiwer

  reference, hypothesis = ' '.join(reference.split()), ' '.join(hypothesis.split())
  if reference == hypothesis:
    return Counts(units=len(reference))
  output = jiwer.process_characters(reference, hypothesis)
  return Counts(output.substitutions, output.deletions, output.insertions, len(reference))


def CountsOf(pairs: Sequence[Pair]) -> Counts:
  """Counts the errors of an alignment."""
  insertions = sum(r is None for r, _ in pairs)
  deletions = sum(h is None for _, h in pairs)
  substitutions = sum(r is not None and h is not None and r != h for r, h in pairs)
  return Counts(substitutions, deletions, insertions, len(pairs) - insertions)


def _Levenshtein(reference: list[str], hypothesis: list[str]) -> list[Pair]:
  import jiwer  # Slow to import, and --help does not need it.

  if reference == hypothesis:
    return list(zip(reference, hypothesis))
  pairs: list[Pair] = []
  for chunk in jiwer.process_words(' '.join(reference), ' '.join(hypothesis)).alignments[0]:
    left = reference[chunk.ref_start_idx : chunk.ref_end_idx]
    right = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
    pairs += [(word, None) for word in left] if not right else []
    pairs += [(None, word) for word in right] if not left else []
    pairs += zip(left, right)
  return pairs


def _Weighted(reference: list[str], hypothesis: list[str]) -> list[Pair]:
  """Aligns with sclite's costs, which no library of ours offers; of equal paths it takes the one that sclite takes."""
  if len(reference) * len(hypothesis) > _MOST_CELLS:
    raise errors.ConfigError(
      f'costs = sclite: {len(reference)} and {len(hypothesis)} words in one utterance: expected shorter ones'
    )
  ids: dict[str, int] = {}
  left, right = (np.array([ids.setdefault(w, len(ids)) for w in words], np.int32) for words in (reference, hypothesis))
  ramp = _INSERTION * np.arange(len(right) + 1, dtype=np.int32)
  cost = np.zeros((len(left) + 1, len(right) + 1), np.int32)  # [N + 1, M + 1]
  cost[0] = ramp
  for i, word in enumerate(left, 1):
    row = cost[i - 1] + _DELETION
    row[1:] = np.minimum(row[1:], cost[i - 1, :-1] + _SUBSTITUTION * (right != word))
    cost[i] = np.minimum.accumulate(row - ramp) + ramp  # Any number of insertions.
  pairs: list[Pair] = []
  i, j = len(left), len(right)
  while i or j:
    if i and j and cost[i, j] == cost[i - 1, j - 1] + _SUBSTITUTION * (left[i - 1] != right[j - 1]):
      i, j = i - 1, j - 1
      pairs.append((reference[i], hypothesis[j]))
    elif j and cost[i, j] == cost[i, j - 1] + _INSERTION:
      j -= 1
      pairs.append((None, hypothesis[j]))
    else:
      i -= 1
      pairs.append((reference[i], None))
  return pairs[::-1]
