"""Calibration of probabilities: of words with probability 0.8, four of five should be right.

N: words or utterances.
"""

import dataclasses
import math
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np

from fm_lingvo.decoding import confidence
from fm_lingvo.decoding import words
from fm_lingvo.evaluation import alignment

_BINS = 10
_STEPS = 100
_PRIOR_DEVIATION = 10.0  # Of slope - 1 and offset: keeps both finite where all words are right, or none.


@dataclasses.dataclass(frozen=True)
class Bin:
  """Those with a probability from low to high."""

  low: float
  high: float
  count: int
  probability: float  # Mean.
  right: float  # Share that is right.


@dataclasses.dataclass(frozen=True)
class Reliability:
  """A reliability table."""

  bins: tuple[Bin, ...]  # Without empty ones.
  count: int
  ece: float  # Expected calibration error: |probability - right|, weighted by the counts.
  log_loss: float  # Nats.

  def Text(self, title: str) -> str:
    """Returns a table for a terminal."""
    lines = [f'{title}: {self.count}, ECE {self.ece:.4f}, log loss {self.log_loss:.4f}']
    lines += ['  probability     count   mean  right']
    lines += [f'  {b.low:.1f} to {b.high:.1f}   {b.count:8d}  {b.probability:.3f}  {b.right:.3f}' for b in self.bins]
    return '\n'.join(lines)

  def Row(self) -> dict[str, Any]:
    """Returns the figures for JSON."""
    bins = [{k: round(v, 4) for k, v in dataclasses.asdict(b).items()} for b in self.bins]
    return dict(count=self.count, ece=round(self.ece, 4), log_loss=round(self.log_loss, 4), bins=bins)


def Table(probabilities: Sequence[float], right: Sequence[float]) -> Reliability:
  """Compares probabilities [N] with outcomes [N], 0 or 1, or shares in between; N > 0."""
  p, y = np.asarray(probabilities, np.float64), np.asarray(right, np.float64)
  places = np.minimum((p * _BINS).astype(int), _BINS - 1)
  bins = []
  for i in range(_BINS):
    here = places == i
    if here.any():
      bins.append(Bin(i / _BINS, (i + 1) / _BINS, int(here.sum()), float(p[here].mean()), float(y[here].mean())))
  ece = sum(b.count * abs(b.probability - b.right) for b in bins) / len(p)
  clipped = np.clip(p, 1e-6, 1 - 1e-6)
  log_loss = -np.mean(y * np.log(clipped) + (1 - y) * np.log1p(-clipped))
  return Reliability(tuple(bins), len(p), float(ece), float(log_loss))


def Fit(measure: str, values: Sequence[float], right: Sequence[float]) -> confidence.Calibration:
  """Fits a calibration to a measure's values [N] and whether the words were right [N], by logistic regression."""
  x = np.array([[confidence.LogOdds(v), 1.0] for v in values])  # [N, 2]
  y = np.asarray(right, np.float64)
  prior = np.array([1.0, 0.0])
  w = prior.copy()

  def _Loss(w: np.ndarray) -> float:
    z = x @ w
    return float(np.sum(np.logaddexp(0, z) - y * z) + np.sum((w - prior) ** 2) / (2 * _PRIOR_DEVIATION**2))

  for _ in range(_STEPS):  # Newton's method; the loss is convex.
    p = 1 / (1 + np.exp(-np.clip(x @ w, -30, 30)))
    gradient = x.T @ (p - y) + (w - prior) / _PRIOR_DEVIATION**2
    hessian = (x * (p * (1 - p))[:, np.newaxis]).T @ x + np.eye(2) / _PRIOR_DEVIATION**2
    step = np.linalg.solve(hessian, gradient)
    if np.abs(step).max() < 1e-9:
      break
    before = _Loss(w)
    while _Loss(w - step) > before and np.abs(step).max() > 1e-12:  # Far off the whole step overshoots.
      step = step / 2
    w = w - step
  slope = max(float(w[0]), 0.0)  # More evidence never makes a word less probable.
  if not slope:
    share = (y.sum() + 0.5) / (len(y) + 1)
    w[1] = math.log(share / (1 - share))
  return confidence.Calibration(measure, slope, float(w[1]), fitted=True)


@dataclasses.dataclass(frozen=True)
class Judged:
  """Words of an evaluation, by utterance: the evidence for each, and whether it is right."""

  evidence: tuple[tuple[Mapping[str, float], ...], ...]
  right: tuple[tuple[bool, ...], ...]

  def Measures(self) -> list[str]:
    """Returns the measures that all words have."""
    every = [e for of_utterance in self.evidence for e in of_utterance]
    return [name for name in words.MEASURES if all(name in e for e in every)]

  def Values(self, measure: str) -> list[float]:
    return [e[measure] for of_utterance in self.evidence for e in of_utterance]

  def Right(self) -> list[bool]:
    return [r for of_utterance in self.right for r in of_utterance]

  def Words(self, calibration: confidence.Calibration) -> Reliability:
    """Returns the table of words."""
    return Table([calibration.Probability(e) for of_utterance in self.evidence for e in of_utterance], self.Right())

  def Utterances(self, calibration: confidence.Calibration) -> Reliability:
    """Returns the table of utterances: mean probability of their words against the share of them that is right."""
    means = [float(np.mean([calibration.Probability(e) for e in of])) for of in self.evidence]
    return Table(means, [float(np.mean(of)) for of in self.right])


def Judge(rows: Sequence[Mapping[str, Any]]) -> Judged:
  """Aligns the hypotheses of an evaluation with their references; a word is right if the alignment says so.

  Args:
    rows: Of hypotheses.Recognition.Finish; those without words say nothing.
  """
  rows = [row for row in rows if row.get('hypothesis_words')]
  hypotheses = [' '.join(word['word'] for word in row['hypothesis_words']) for row in rows]
  aligned = alignment.Align([row['reference'] for row in rows], hypotheses)
  right = tuple(tuple(r == h for r, h in pairs if h is not None) for pairs in aligned)
  evidence = tuple(tuple(word['evidence'] for word in row['hypothesis_words']) for row in rows)
  return Judged(evidence, right)


def Calibrate(judged: Judged) -> list[confidence.Calibration]:
  """Fits each measure; returns the calibrations, that with the lowest log loss first."""
  fitted = [Fit(measure, judged.Values(measure), judged.Right()) for measure in judged.Measures()]
  return sorted(fitted, key=lambda c: judged.Words(c).log_loss)
