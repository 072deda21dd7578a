"""The probability that a word is right: a measure of words.py, calibrated on held-out speech of the run.

A calibration maps the log-odds of the measure, x, to those of the probability: slope * x + offset. `tools.evaluate
--calibrate` fits it and writes it into the run's folder; without it, the probability is the measure `mean` itself.
"""

import dataclasses
import json
import math
import os
from collections.abc import Collection
from collections.abc import Mapping
from typing import Any

from fm_lingvo import errors
from fm_lingvo.decoding import words
from fm_lingvo.utils import files

FILE = 'confidence.json'  # In a run's folder.
_NEAREST = 1e-4  # To 0 or 1.


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Which measure counts, and how."""

  measure: str = 'mean'
  slope: float = 1.0
  offset: float = 0.0
  fitted: bool = False

  def Probability(self, evidence: Mapping[str, float]) -> float:
    """Returns the probability that a word is right, given its measures."""
    if not self.fitted:
      return evidence[self.measure]
    x = self.slope * LogOdds(evidence[self.measure]) + self.offset
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else 1.0 - 1.0 / (1.0 + math.exp(x))


UNFITTED = Calibration()


def LogOdds(probability: float) -> float:
  """Returns log(p / (1 - p)) of a probability, which is kept away from 0 and 1."""
  p = min(max(probability, _NEAREST), 1.0 - _NEAREST)
  return math.log(p) - math.log1p(-p)


def Write(run: str, fitted: list[Calibration], facts: Mapping[str, Any]) -> str:
  """Writes the calibrations of a run, best first, and facts about them; returns the path.

  Raises:
    errors.RunError: The file cannot be written.
  """
  path = os.path.join(run, FILE)
  rows = [{'measure': c.measure, 'slope': round(c.slope, 6), 'offset': round(c.offset, 6)} for c in fitted]
  with errors.Writing(path), files.Open(path, 'w') as f:
    f.write(json.dumps({'calibrations': rows, **facts}, indent=2) + '\n')
  return path


def Read(run: str, measures: Collection[str] = words.MEASURES) -> Calibration:
  """Returns the best calibration of a run that needs one of `measures` only; UNFITTED if there is none.

  Raises:
    errors.ConfigError: The file is damaged.
  """
  path = os.path.join(run, FILE)
  if not files.Exists(path):
    return UNFITTED
  try:
    with files.Open(path, 'rb') as f:
      rows = json.loads(f.read())['calibrations']
    found = [Calibration(str(r['measure']), float(r['slope']), float(r['offset']), fitted=True) for r in rows]
    if not all(math.isfinite(c.slope) and math.isfinite(c.offset) and c.measure in words.MEASURES for c in found):
      raise ValueError('a measure or a number is unknown')
  except (KeyError, TypeError, ValueError) as e:
    raise errors.ConfigError(f'{path}: expected what tools.evaluate --calibrate wrote ({e}); remove the file') from e
  return next((c for c in found if c.measure in measures), UNFITTED)
