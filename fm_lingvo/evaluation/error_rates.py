"""Word and character error rates of transcripts, with bootstrap confidence intervals.

N: utterances, R: bootstrap resamples. Does not import TensorFlow.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fm_lingvo.evaluation import alignment

RESAMPLES = 1000
_SEED = 20240229
_COVERAGE = 95.0  # Percent of a confidence interval.
_CHUNK_SIZE = 4_000_000  # Counts drawn at a time.


def Score(references: Sequence[str], hypotheses: Sequence[str]) -> dict[str, Any]:
  """Aligns transcripts and counts errors; leading, trailing and repeated spaces do not count.

  Args:
    references: List of N strings, N > 0. With an empty reference, every word of the hypothesis is an insertion.
    hypotheses: List of N strings.

  Returns:
    A dict of
      wer, cer: errors of all utterances / words (or characters, spaces included) of all references; the number of
        errors if the references have no words;
      wer_low, wer_high, cer_low, cer_high: 95 % confidence intervals of a bootstrap over utterances, with a fixed seed;
      insertions, deletions, substitutions, words, utterances: counts of words, ints;
      char_errors, chars: counts of characters, ints;
      per_utterance: dict of int64 arrays [N]: insertions, deletions, substitutions, errors (their sum), words,
        char_errors and chars.

  Raises:
    ValueError: There are no utterances, or the lists have different lengths.
  """
  if len(references) != len(hypotheses):
    raise ValueError(f'{len(references)} references, {len(hypotheses)} hypotheses: expected the same number of both')
  if not references:
    raise ValueError('no utterances: expected at least one to score')
  words = [alignment.CountsOf(pairs) for pairs in alignment.Align(references, hypotheses)]
  chars = [alignment.CharCounts(*texts) for texts in zip(references, hypotheses)]
  columns = {name: [getattr(c, name) for c in words] for name in ('insertions', 'deletions', 'substitutions', 'errors')}
  columns.update(words=[c.units for c in words], char_errors=[c.errors for c in chars], chars=[c.units for c in chars])
  per_utterance = {name: np.array(values, np.int64) for name, values in columns.items()}
  total = {name: int(values.sum()) for name, values in per_utterance.items()}
  score = dict(wer=_Rate(total['errors'], total['words']), cer=_Rate(total['char_errors'], total['chars']))
  score['wer_low'], score['wer_high'] = Bootstrap(per_utterance['errors'], per_utterance['words'])
  score['cer_low'], score['cer_high'] = Bootstrap(per_utterance['char_errors'], per_utterance['chars'])
  for name in ('insertions', 'deletions', 'substitutions', 'words', 'char_errors', 'chars'):
    score[name] = total[name]
  return dict(score, utterances=len(references), per_utterance=per_utterance)


def Bootstrap(errors: npt.ArrayLike, words: npt.ArrayLike) -> tuple[float, float]:
  """Returns the 95 % confidence interval of errors / words over resampled utterances.

  Args:
    errors: Numbers [N], errors in each utterance.
    words: Numbers [N], words of each reference.

  Returns:
    (low, high), floats.
  """
  sums = _ResampledSums(np.stack([errors, words]))  # [2, R]
  return _Interval(_Rate(sums[0], sums[1]))


def PairedBootstrap(
  errors_a: Sequence[int] | np.ndarray, errors_b: Sequence[int] | np.ndarray, words: Sequence[int] | np.ndarray
) -> dict[str, float]:
  """Compares the error rates of two systems on the same utterances.

  Each resample draws the same utterances for both systems, so that utterances hard for both cancel out.

  Args:
    errors_a: Numbers [N], errors of system A in each utterance.
    errors_b: Numbers [N], errors of system B in each utterance.
    words: Numbers [N], words of each reference.

  Returns:
    A dict of floats: difference, the rate of A minus that of B, below 0 if A is better; low and high, its 95 %
    confidence interval; a_better, the share of resamples in which A is better than B.

  Raises:
    ValueError: The lists are empty or have different lengths.
  """
  sizes = [len(errors_a), len(errors_b), len(words)]
  if len(set(sizes)) > 1 or not sizes[0]:
    raise ValueError(
      f'errors of {sizes[0]} and {sizes[1]} utterances, words of {sizes[2]}: expected the same utterances, at least one'
    )
  difference = np.subtract(errors_a, errors_b)
  sums = _ResampledSums(np.stack([difference, words]))  # [2, R]
  rates = _Rate(sums[0], sums[1])
  low, high = _Interval(rates)
  return dict(
    difference=_Rate(np.sum(difference), np.sum(words)), low=low, high=high, a_better=float(np.mean(rates < 0))
  )


def _Rate(errors: npt.ArrayLike, words: npt.ArrayLike) -> Any:
  """Returns errors / words, scalars or arrays; the number of errors where there are no words."""
  rate = np.asarray(errors, np.float64) / np.maximum(words, 1)
  return rate if rate.ndim else float(rate)


def _ResampledSums(values: np.ndarray) -> np.ndarray:
  """Sums the counts of utterances drawn with replacement: numbers [C, N] -> float64 [C, R]."""
  size = values.shape[1]
  rng = np.random.RandomState(_SEED)
  rows = max(1, _CHUNK_SIZE // size)
  sums = []
  for start in range(0, RESAMPLES, rows):
    drawn = rng.randint(size, size=(min(rows, RESAMPLES - start), size))
    sums.append(values[:, drawn].sum(axis=2, dtype=np.float64))
  return np.concatenate(sums, axis=1)


def _Interval(values: np.ndarray) -> tuple[float, float]:
  tail = (100 - _COVERAGE) / 2
  low, high = np.percentile(values, [tail, 100 - tail])
  return float(low), float(high)
