"""Metrics of a run of BEST-RQ pretraining, read from its metrics.jsonl, and its figures at the last evaluation.

A run is a dict: data set -> list of rows by increasing step. Data sets have the names of their folders: train,
eval_devhuman, ... A row has `step`, `time` (seconds since the epoch) and the metrics.
"""

import os
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.utils import suggest

Run = dict[str, list[dict[str, Any]]]

_DESCRIPTIONS = {
  'train': 'training data',
  'eval_devhuman': 'held-out human speech',
  'eval_testhuman': 'held-out human speech (test)',
  'eval_devsynthetic': 'held-out synthetic speech',
}


def Describe(dataset: str) -> str:
  """A data set in words."""
  return _DESCRIPTIONS.get(dataset, dataset)


def Read(path: str) -> Run:
  """The metrics of the run in folder `path`.

  Raises:
    errors.ConfigError: No such folder, or no metrics in it.
  """
  if not os.path.isdir(path):
    raise errors.ConfigError(f'{path}: no such run directory')
  file = os.path.join(path, 'metrics.jsonl')
  run: dict[str, dict] = {}
  for row in metrics_log.ReadMetrics(file) if os.path.exists(file) else []:
    name = row.pop('dataset')
    run.setdefault(name if name == 'train' else f'eval_{name.lower()}', {})[row['step']] = (
      row  # The newest of a step counts.
    )
  if not run:
    raise errors.ConfigError(f'{path}: no metrics (expected rows in {file})')
  return {name: [rows[step] for step in sorted(rows)] for name, rows in run.items()}


def CheckDatasets(path: str, run: Run, names: Iterable[str]) -> None:
  """Raises errors.ConfigError if a run lacks one of the data sets."""
  for name in names:
    if name not in run:
      raise errors.ConfigError(f'{path}: no metrics of {name}{_Suggest(name, run)}')


def Branch(path: str, run: Run, branch: str = '') -> str:
  """The branch (first part of the metrics' names) with a masked prediction task.

  Args:
    path: Of the run, for the error.
    run: As Read returns.
    branch: The one wanted; '' for the only one there is.

  Raises:
    errors.ConfigError: There is none, not the one wanted, or several and none was chosen.
  """
  tags = sorted({tag for rows in run.values() for row in rows for tag in row})
  suffix = '/masked_accuracy'
  found = [tag.removesuffix(suffix) for tag in tags if tag.endswith(suffix)]
  if not found:
    raise errors.ConfigError(f'{path}: no metric BRANCH{suffix}; there are {", ".join(tags)}')
  if not branch and len(found) > 1:
    raise errors.ConfigError(f'{path}: several branches, expected --branch=NAME with one of {", ".join(found)}')
  if branch and branch not in found:
    raise errors.ConfigError(f'{path}: --branch={branch}: no such branch{_Suggest(branch, found)}')
  return branch or found[0]


def Measure(path: str, datasets: Sequence[str] = ('eval_devhuman',), branch: str = '') -> tuple[list, float]:
  """Figures of a run at its last evaluation.

  Args:
    path: Folder of the run.
    datasets: Evaluated data sets, such as eval_devhuman.
    branch: See Branch.

  Returns:
    (figures, end): figures is a list of (name, value, unit); end is the time of the last evaluation.

  Raises:
    errors.ConfigError: What is missing, or data sets last evaluated at different steps.
  """
  run = Read(path)
  CheckDatasets(path, run, ('train', *datasets))
  branch = Branch(path, {name: run[name] for name in datasets}, branch)
  figures, last = [], {name: run[name][-1] for name in datasets}
  for name, row in last.items():
    figures += _Figures(name, lambda metric, name=name, row=row: _Get(path, name, row, f'{branch}/{metric}'))
  steps = {row['step'] for row in last.values()}
  if len(steps) > 1:
    raise errors.ConfigError(
      f'{path}: last evaluated at different steps: ' + ', '.join(f'{name} {row["step"]}' for name, row in last.items())
    )
  return figures + _Speed(path, run['train'], steps.pop()), max(row['time'] for row in last.values())


def _Figures(dataset, metric):
  """Figures of an evaluation; metric(name) is the value of a metric."""
  where = Describe(dataset)
  accuracy, majority = metric('masked_accuracy'), metric('majority_accuracy')
  cross_entropy, entropy = metric('cross_entropy'), metric('unigram_entropy')
  return [
    (f'masked accuracy, {where}', 100 * accuracy, '%'),
    (f'always the most frequent code, {where}', 100 * majority, '%'),
    (f'ratio of the two, {where}', accuracy / majority, 'times'),
    (f'masked cross-entropy, {where}', cross_entropy, 'nats'),
    (f"entropy of the codes' distribution, {where}", entropy, 'nats'),
    (f'cross-entropy minus entropy, {where}', cross_entropy - entropy, 'nats'),
    (f'codebook perplexity, {where}', metric('code_perplexity'), 'codes'),
    (f'codebook coverage, {where}', 100 * metric('code_coverage'), '%'),
  ]


def _Speed(path, rows, last):
  """Figures of training up to the step `last`; a row holds the rates since the row before."""
  rows = [row for row in rows if row['step'] <= last]
  if not rows or rows[-1]['step'] != last:
    raise errors.ConfigError(f'{path}: no metrics of train at step {last}, where the run was evaluated last')
  seconds = audio_seconds = 0.0
  for previous, row in zip([0, *(row['step'] for row in rows)], rows):
    window = (row['step'] - previous) / _Get(path, 'train', row, 'throughput/steps_per_second')
    seconds += window
    audio_seconds += window * _Get(path, 'train', row, 'throughput/audio_seconds_per_second')
  return [
    ('training steps', last, ''),
    ('training time, without evaluation', seconds / 60.0, 'min'),
    ('training speed', audio_seconds / seconds, 's of audio per s'),
  ]


def _Get(path, dataset, row, tag):
  if tag not in row:
    raise errors.ConfigError(f'{path}: no {tag} of {dataset} at step {row["step"]}{_Suggest(tag, row)}')
  return row[tag]


def _Suggest(name, known):
  """The end of an error: the nearest name, or else all names."""
  return suggest.Hint(name, known) or f'; expected one of {", ".join(sorted(known))}'
