"""First half of the demo: BEST-RQ on the demo data."""

import math
import os
from collections.abc import Iterator
from typing import Any

from fm_lingvo.run_files import metrics_log

from . import commands

_FRAME_SECONDS = 0.04  # Of an encoded frame: the knob frame_ms, which the demo leaves as it is.
# That an accuracy must be above guessing's. Two would do for independent frames; those of one masked span are alike.
_STANDARD_ERRORS = 4


def Pretrain(data_dir: str, minutes: float) -> tuple[str, float]:
  """Pretrains for some minutes on the data sets in a folder; returns (run directory, seconds)."""
  return commands.Train(
    '--model=asr.BestRqPretrain',
    f'--gin.BestRqPretrain.data_dir={data_dir}',
    f'--gin.task.train.max_minutes={minutes}',
    '--gin.BestRqPretrain.max_steps=1000000',
  )


def Report(logdir: str) -> Iterator[str]:
  """Yields lines about the last evaluation of each data set, and whether the model has learnt."""
  rows = metrics_log.ReadMetrics(os.path.join(logdir, 'metrics.jsonl'))
  last = {row['dataset']: row for row in rows}
  yield (
    f'steps: {last["train"]["step"]}, at {last["train"]["throughput/audio_seconds_per_second"]:.0f} s of audio a second'
  )
  better: dict[bool, list[str]] = {True: [], False: []}  # Names of the data sets.
  for name, row in last.items():
    if name == 'train':
      continue
    accuracy = row['unlabeled/masked_accuracy']
    majority = row['unlabeled/majority_accuracy']
    better[accuracy > majority + _Margin(row)].append(name)
    yield (
      f'{name} ({row["unlabeled/audio_seconds"] / 60:.1f} min held out): masked '
      f'accuracy {accuracy:.1%}, {accuracy / majority:.2f} times that of always '
      f'guessing the most frequent code ({majority:.1%}); cross-entropy '
      f'{row["unlabeled/cross_entropy"]:.2f} nats, unigram entropy '
      f'{row["unlabeled/unigram_entropy"]:.2f}; codes in use '
      f'{row["unlabeled/code_coverage"]:.0%}, perplexity '
      f'{row["unlabeled/code_perplexity"]:.0f}'
    )
  by, longer = f'by more than {_STANDARD_ERRORS} standard errors', 'make demo MINUTES=10 trains longer'
  if better[True]:
    not_yet = f'; on {" and ".join(better[False])} not yet, {longer}' if better[False] else ''
    yield f'It has learnt: it beats guessing {by} on {" and ".join(better[True])}{not_yet}.'
  else:
    yield f'It has not learnt for certain: it beats guessing {by} on no held-out speech; {longer}.'


def _Margin(row: dict[str, Any]) -> float:
  """By how much the masked accuracy of an evaluation must be above that of guessing, so that it is no chance result."""
  majority = row['unlabeled/majority_accuracy']
  frames = row['unlabeled/audio_seconds'] * row['unlabeled/masked_fraction'] / _FRAME_SECONDS
  return _STANDARD_ERRORS * math.sqrt(majority * (1 - majority) / max(1.0, frames))
