"""Words of hypotheses, and confidence measures of each: label probabilities, and agreement with other hypotheses."""

import dataclasses
import math
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

# Confidence measures of a word: the geometric mean of its labels' probabilities; the lowest of them; the share of the
# hypotheses' probability that those with the same word at the same time have, with a beam of 2 or more only.
OF_LABELS = ('mean', 'lowest')
MEASURES = (*OF_LABELS, 'posterior')


@dataclasses.dataclass(frozen=True)
class Span:
  """A word, its first and its last label, and the frames at which these were emitted."""

  text: str
  labels: tuple[int, int]
  frames: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Found:
  """A hypothesis: its score, the log-probability of each label, and its words."""

  score: float
  label_scores: Sequence[float]
  spans: Sequence[Span]


def Spans(surfaces: Sequence[bytes], labels: Iterable[int], frames: Iterable[int]) -> list[Span]:
  """Splits labels into words.

  Args:
    surfaces: Text of each label, tokenizer.Tokenizer.surfaces.
    labels: Of a hypothesis.
    frames: The encoded frame at which each label was emitted.
  """
  spelled: list[tuple[bytearray, list[int], list[int]]] = []
  open_word = False
  for number, (label, frame) in enumerate(zip(labels, frames)):
    for byte in surfaces[label]:
      if byte == ord(' '):
        open_word = False
      elif open_word:
        spelled[-1][0].append(byte)
        spelled[-1][1][1], spelled[-1][2][1] = number, frame
      else:
        spelled.append((bytearray([byte]), [number, number], [frame, frame]))
        open_word = True
  return [Span(text.decode(errors='replace'), (a, b), (c, d)) for text, (a, b), (c, d) in spelled]


def FoundOf(surfaces: Sequence[bytes], out: Mapping[str, Any], i: int, places: Sequence[int]) -> list[Found]:
  """Returns hypotheses of an utterance.

  Args:
    surfaces: See Spans.
    out: What a head's Decode returned, as arrays. Without label_scores, each label has an equal share of the score.
    i: The utterance.
    places: Of the hypotheses.
  """
  found = []
  for k in places:
    length, score = int(out['lengths'][i, k]), float(out['scores'][i, k])
    if 'label_scores' in out:
      label_scores = out['label_scores'][i, k, :length].tolist()
    else:
      label_scores = [score / max(1, length)] * length
    spans = Spans(surfaces, out['labels'][i, k, :length].tolist(), out['frames'][i, k, :length].tolist())
    found.append(Found(score, label_scores, spans))
  return found


def Evidence(hypothesis: Found, others: Sequence[Found]) -> list[dict[str, float]]:
  """Returns the confidence measures of each word of a hypothesis: dicts of some of MEASURES -> value in [0, 1].

  Args:
    hypothesis: One of `others`.
    others: All hypotheses of the utterance.
  """
  evidence = []
  top = max(other.score for other in others)
  shares = [math.exp(other.score - top) for other in others]
  for span in hypothesis.spans:
    scores = [min(0.0, s) for s in hypothesis.label_scores[span.labels[0] : span.labels[1] + 1]]
    measures = {'mean': math.exp(sum(scores) / len(scores)), 'lowest': math.exp(min(scores))}
    if len(others) > 1:
      agree = sum(share for share, other in zip(shares, others) if any(_Same(span, s) for s in other.spans))
      measures['posterior'] = agree / sum(shares)
    evidence.append(measures)
  return evidence


def _Same(a: Span, b: Span) -> bool:
  """Whether two spans are the same word at overlapping times."""
  return a.text == b.text and a.frames[0] <= b.frames[1] and b.frames[0] <= a.frames[1]
