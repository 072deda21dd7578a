"""Counts hotwords in references and hypotheses: how many were recognised, and how many hypotheses insert."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any


def Count(rows: Iterable[Mapping[str, Any]], phrases: Sequence[str]) -> dict[str, float]:
  """Counts the occurrences of phrases as whole words.

  Args:
    rows: Of hypotheses.Recognition.Finish.
    phrases: As transcripts spell them.

  Returns:
    dict of metrics by branch: BRANCH/hotwords_said, how often they are in the references; hotwords_found, how often of
    these also in the hypothesis of the same utterance; hotwords_false, how often in a hypothesis only.
  """
  counts: dict[str, float] = {}
  padded = [f' {" ".join(phrase.split())} ' for phrase in phrases]
  for row in rows:
    reference, hypothesis = (f' {" ".join(row[key].split())} ' for key in ('reference', 'hypothesis'))
    for phrase in padded:
      said, recognized = _Occurrences(reference, phrase), _Occurrences(hypothesis, phrase)
      found = min(said, recognized)
      for name, count in (('said', said), ('found', found), ('false', recognized - found)):
        key = f'{row["branch"]}/hotwords_{name}'
        counts[key] = counts.get(key, 0) + count
  return counts


def _Occurrences(text: str, phrase: str) -> int:
  """Returns how often a phrase occurs, overlaps included: they share the space between two words."""
  return sum(text.startswith(phrase, i) for i in range(len(text) - len(phrase) + 1))
