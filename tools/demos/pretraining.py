"""First half of the demo: BEST-RQ on the demo data."""

import os
from collections.abc import Iterator

from fm_lingvo.run_files import metrics_log

from . import commands


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
  better = []
  for name, row in last.items():
    if name == 'train':
      continue
    accuracy = row['unlabeled/masked_accuracy']
    majority = row['unlabeled/majority_accuracy']
    better.append(accuracy > majority)
    yield (
      f'{name} ({row["unlabeled/audio_seconds"] / 60:.1f} min held out): masked '
      f'accuracy {accuracy:.1%}, {accuracy / majority:.2f} times that of always '
      f'guessing the most frequent code ({majority:.1%}); cross-entropy '
      f'{row["unlabeled/cross_entropy"]:.2f} nats, unigram entropy '
      f'{row["unlabeled/unigram_entropy"]:.2f}; codes in use '
      f'{row["unlabeled/code_coverage"]:.0%}, perplexity '
      f'{row["unlabeled/code_perplexity"]:.0f}'
    )
  if all(better):
    yield 'It has learnt: it beats guessing on all held-out speech.'
  else:
    yield 'It has not learnt enough to beat guessing on all held-out speech; make demo MINUTES=10 trains longer.'
