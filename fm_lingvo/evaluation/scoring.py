"""Scores transcripts: references and hypotheses by id -> WER and CER with intervals, by utterance and by speaker.

Each resample of the bootstrap draws speakers where they are known, since the utterances of a speaker have much in
common; otherwise utterances. Alignments are those of fm_lingvo/evaluation/alignment.py.
"""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from fm_lingvo import errors
from fm_lingvo.evaluation import alignment
from fm_lingvo.evaluation import error_rates
from fm_lingvo.utils import suggest

RESAMPLE = ('speakers', 'utterances')


@dataclasses.dataclass(frozen=True)
class Utterance:
  """A scored utterance."""

  utt_id: str
  speaker: str  # '' if unknown.
  pairs: tuple[alignment.Pair, ...]
  words: alignment.Counts
  chars: alignment.Counts


@dataclasses.dataclass(frozen=True)
class Rate:
  """An error rate and its 95 % confidence interval."""

  counts: alignment.Counts
  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class Totals:
  """Counts of several utterances."""

  utterances: int
  words: alignment.Counts
  chars: alignment.Counts


@dataclasses.dataclass(frozen=True)
class Result:
  """What Score returns."""

  utterances: tuple[Utterance, ...]  # In the order of the references.
  words: Rate  # The WER.
  chars: Rate  # The CER.
  resampled: str  # `speakers` or `utterances`: what the bootstrap draws.
  clusters: int  # How many of them there are; an utterance of an unknown speaker is one.

  def BySpeaker(self) -> dict[str, Totals]:
    """Returns the counts of each speaker, in the order of their names; '' is for utterances of unknown ones."""
    groups: dict[str, list[Utterance]] = {}
    for utterance in self.utterances:
      groups.setdefault(utterance.speaker, []).append(utterance)
    return {name: _Totals(groups[name]) for name in sorted(groups)}

  def Worst(self, number: int) -> list[Utterance]:
    """Returns the utterances with the most errors of words; of as many errors, shorter ones come first."""
    wrong = [u for u in self.utterances if u.words.errors]
    return sorted(wrong, key=lambda u: (-u.words.errors, u.words.units))[:number]


def Score(
  references: Mapping[str, str],
  hypotheses: Mapping[str, str],
  speakers: Mapping[str, str] | None = None,
  costs: str = 'levenshtein',
  resample: str = 'speakers',
) -> Result:
  """Aligns and counts.

  Args:
    references: Utterance id -> text; leading, trailing and repeated spaces do not count. With an empty reference,
      every word of the hypothesis is an insertion.
    hypotheses: The same ids -> text.
    speakers: Utterance id -> speaker; ids without one, and '', are of unknown speakers.
    costs: One of alignment.COSTS, for words; characters are always aligned with as few errors as possible.
    resample: `speakers`: the bootstrap draws speakers if two or more are known; `utterances`: it draws utterances.

  Raises:
    errors.ConfigError: The ids differ, or there are none.
  """
  suggest.CheckChoice('costs', costs, alignment.COSTS)
  suggest.CheckChoice('resample', resample, RESAMPLE)
  ids, _ = Match(references, hypotheses)
  texts = [references[i] for i in ids], [hypotheses[i] for i in ids]
  utterances = [
    Utterance(
      utt_id,
      (speakers or {}).get(utt_id, ''),
      tuple(pairs),
      alignment.CountsOf(pairs),
      alignment.CharCounts(reference, hypothesis),
    )
    for utt_id, pairs, reference, hypothesis in zip(ids, alignment.Align(*texts, costs), *texts)
  ]
  totals, numbers = _Totals(utterances), ClusterNumbers(utterances)
  clusters = len(set(numbers))
  by_speaker = resample == 'speakers' and clusters > 1 and any(u.speaker for u in utterances)
  groups = numbers if by_speaker else list(range(len(utterances)))
  rates: list[Rate] = []
  for counts, units in (
    (totals.words, [u.words for u in utterances]),
    (totals.chars, [u.chars for u in utterances]),
  ):
    sums = [SumsOf(values, groups) for values in ([c.errors for c in units], [c.units for c in units])]
    rates.append(Rate(counts, *error_rates.Bootstrap(*sums)))
  words, chars = rates
  resampled = 'speakers' if by_speaker else 'utterances'
  return Result(tuple(utterances), words, chars, resampled, len(set(groups)))


def Match(
  references: Mapping[str, str], hypotheses: Mapping[str, str], name: str = 'hypotheses', ignore_missing: bool = False
) -> tuple[list[str], str]:
  """Finds the ids that references and hypotheses share.

  Args:
    references: Utterance id -> text.
    hypotheses: Utterance id -> text.
    name: Name of the hypotheses for messages.
    ignore_missing: Whether ids of one side only are left out; otherwise they are an error.

  Returns:
    (ids in the order of the references, a line that names those of one side only, or '').

  Raises:
    errors.ConfigError: No id is shared, or ids differ without ignore_missing.
  """
  ids = [i for i in references if i in hypotheses]
  missing = [i for i in references if i not in hypotheses]
  extra = [i for i in hypotheses if i not in references]
  parts = []
  if missing:
    parts.append(f'no hypothesis for {len(missing)} of {len(references)} utterances, such as {", ".join(missing[:3])}')
  if extra:
    parts.append(f'{len(extra)} not in the reference, such as {", ".join(extra[:3])}')
  if not references and not hypotheses:
    parts.append('no utterances')
  line = f'{name}: {"; ".join(parts)}' if parts else ''
  if not ids or (line and not ignore_missing):
    hint = suggest.Hint(extra[0], missing[:1000]) if extra and missing else ''
    raise errors.ConfigError(line + hint)
  return ids, line


def ClusterNumbers(utterances: Sequence[Utterance]) -> list[int]:
  """Returns the number of each utterance's speaker, from 0; an unknown one is a speaker of its own."""
  numbers: dict[tuple[str, str], int] = {}
  return [numbers.setdefault((u.speaker, '' if u.speaker else u.utt_id), len(numbers)) for u in utterances]


def SumsOf(values: Sequence[int], groups: Sequence[int]) -> np.ndarray:
  """Sums values [N] by the number of their group, from 0: int64 [groups]."""
  sums = np.zeros(max(groups) + 1, np.int64)
  np.add.at(sums, np.asarray(groups), np.asarray(values))
  return sums


def _Totals(utterances: Sequence[Utterance]) -> Totals:
  zero = alignment.Counts()
  return Totals(len(utterances), sum((u.words for u in utterances), zero), sum((u.chars for u in utterances), zero))
