"""The report of tools.score as text and as JSON."""

import dataclasses
import unicodedata
from collections.abc import Sequence
from typing import Any

from fm_lingvo.evaluation import alignment
from fm_lingvo.evaluation import scoring
from fm_lingvo.evaluation import significance

_FEW_CLUSTERS = 10  # Intervals of fewer speakers or utterances are too narrow.


@dataclasses.dataclass(frozen=True)
class Shown:
  """What is shown beside the rates."""

  worst: int = 0  # Number of utterances.
  by_speaker: bool = False


def Text(result: scoring.Result, shown: Shown) -> str:
  """Returns the lines for one system."""
  lines = [f'{len(result.utterances)} utterances; intervals: 95 %, bootstrap {_Over(result)}']
  for name, rate, units in (('WER', result.words, 'words'), ('CER', result.chars, 'characters')):
    c = rate.counts
    lines.append(
      f'{name} {_Percent(c)} ({rate.low:.2%} to {rate.high:.2%}): {c.errors} errors ({c.substitutions} substitutions, '
      f'{c.deletions} deletions, {c.insertions} insertions) in {c.units} {units}'
    )
  if shown.by_speaker:
    lines += ['', *_Table(result)]
  for utterance in result.Worst(shown.worst):
    lines += ['', *Aligned(utterance)]
  return '\n'.join(lines)


def ComparisonText(comparison: significance.Comparison) -> str:
  """Returns the lines that compare two systems, the first one A."""
  c = comparison
  lines = [
    f'WER of A - WER of B: {c.difference:+.2%} (95 % interval {c.low:+.2%} to {c.high:+.2%}, paired bootstrap '
    f'{_Over(c)})',
    f'A is better in {c.a_better:.1%} of the resamples: '
    + ('significant' if c.bootstrap_significant else 'not significant'),
  ]
  if c.p is None:
    lines.append(f'MAPSSWE: {c.segments} segments, none or all with one difference: no test')
  else:
    verdict = 'significant' if c.p < 0.05 else 'not significant'
    lines.append(f'MAPSSWE: {c.segments} segments, z = {c.z:.3f}, p = {c.p:.3g} (two-sided): {verdict} at 0.05')
  return '\n'.join(lines)


def Json(result: scoring.Result, shown: Shown) -> dict[str, Any]:
  """Returns a system's figures as a dict for JSON."""
  row: dict[str, Any] = dict(utterances=len(result.utterances), resampled=result.resampled, clusters=result.clusters)
  for name, rate, units in (('wer', result.words, 'words'), ('cer', result.chars, 'chars')):
    row[name] = dict(rate=rate.counts.rate, low=rate.low, high=rate.high, **_Counts(rate.counts, units))
  if shown.by_speaker:
    row['speakers'] = {
      name: dict(utterances=t.utterances, wer=_Rated(t.words, 'words'), cer=_Rated(t.chars, 'chars'))
      for name, t in result.BySpeaker().items()
    }
  if shown.worst:
    row['worst'] = [
      dict(utt_id=u.utt_id, speaker=u.speaker, **_Rated(u.words, 'words'), alignment=u.pairs)
      for u in result.Worst(shown.worst)
    ]
  return row


def Aligned(utterance: scoring.Utterance) -> list[str]:
  """Returns an utterance as sclite shows it: words in columns, those with errors in capitals and marked S, D or I."""
  c = utterance.words
  lines = [f'id: {utterance.utt_id}' + (f', speaker {utterance.speaker}' if utterance.speaker else '')]
  lines.append(
    f'Scores: (#C #S #D #I) {c.units - c.substitutions - c.deletions} {c.substitutions} {c.deletions} {c.insertions}'
  )
  columns = [_Column(pair) for pair in utterance.pairs]
  for i, head in enumerate(('REF: ', 'HYP: ', 'Eval:')):
    lines.append(' '.join([head, *(column[i] for column in columns)]).rstrip())
  return lines


def _Column(pair: alignment.Pair) -> tuple[str, str, str]:
  reference, hypothesis = pair
  mark = 'I' if reference is None else 'D' if hypothesis is None else 'S' if reference != hypothesis else ''
  words = [word.upper() if mark and word is not None else word for word in pair]
  width = max(_Width(word) for word in words if word is not None)
  left, right = ('*' * width if word is None else word + ' ' * (width - _Width(word)) for word in words)
  return left, right, mark.ljust(width)


def _Width(text: str) -> int:
  """Returns the columns of a terminal that a text takes: two for wide characters, none for accents."""
  return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in 'WF' else 1 for c in text)


def _Over(result: scoring.Result | significance.Comparison) -> str:
  """Returns what the bootstrap draws."""
  few = ', too few to be reliable' if result.clusters < _FEW_CLUSTERS else ''
  return f'over {result.clusters} {result.resampled}{few}'


def _Table(result: scoring.Result) -> list[str]:
  rows: list[Sequence[str]] = [('speaker', 'utterances', 'words', 'WER', 'errors', 'sub', 'del', 'ins', 'CER')]
  for name, t in result.BySpeaker().items():
    w = t.words
    counts = (w.errors, w.substitutions, w.deletions, w.insertions)
    rows.append(
      (name or '(unknown)', f'{t.utterances}', f'{w.units}', _Percent(w), *map(str, counts), _Percent(t.chars))
    )
  widths = [max(_Width(row[i]) for row in rows) for i in range(len(rows[0]))]
  return [
    '  '.join([row[0] + ' ' * (widths[0] - _Width(row[0])), *(x.rjust(w) for x, w in zip(row[1:], widths[1:]))])
    for row in rows
  ]


def _Percent(counts: alignment.Counts) -> str:
  """Returns an error rate; without units there is none."""
  return f'{counts.rate:.2%}' if counts.units else 'none'


def _Counts(counts: alignment.Counts, units: str) -> dict[str, int]:
  return dict(
    errors=counts.errors,
    substitutions=counts.substitutions,
    deletions=counts.deletions,
    insertions=counts.insertions,
    **{units: counts.units},
  )


def _Rated(counts: alignment.Counts, units: str) -> dict[str, float]:
  return dict(rate=counts.rate, **_Counts(counts, units))
