"""RUNS/report.md: the recipe's tables and what they say, what is in the data, and the hours of each stage."""

import glob
import os

from fm_lingvo.evaluation import error_rates
from fm_lingvo.utils import files as file_system

from ..figures import tables as bench_tables
from . import data_tables
from . import labels as labels_lib
from . import quality
from . import rows as rows_lib
from . import stage_run
from . import tables
from .stage_spec import RunName
from .stage_spec import Settings
from .stage_spec import Stage


def Write(path: str, settings: Settings, stages: dict[str, Stage], labels: labels_lib.Labels, result: dict) -> None:
  """Writes the report of the results; the picture lies beside it."""
  parts = ['# The recipe']
  if settings.quick:
    parts.append('A smoke run: tiny models, a few steps, a few utterances. Its figures say nothing about the method.')
  parts.append(tables.Table(result))
  if result['rows']:
    parts.append('![Error rates on target and source, and over the share of labels](recipe.png)')
  target = _TargetData(settings, labels.Of('target'), result['rows'])
  parts += ['## Target data', target, '## Hours', _Hours(settings, stages)]
  curves = quality.Table(settings, stages)
  parts += ['## Time to quality', curves] if curves else []
  parts += ['## Data', data_tables.Table(_DataSets(settings))]
  with file_system.Replacing(path) as f:
    f.write('\n\n'.join(parts) + '\n')


def _DataSets(settings):
  """Folders of the data sets that are complete."""
  found = sorted(glob.glob(os.path.join(glob.escape(settings.data_dir), '*', 'dataset.json')))
  return [os.path.dirname(path) for path in found]


def _TargetData(settings, labels, rows):
  """How much is trained on, and the error rates without the test utterances whose text occurs in training."""

  def _Normal(row):
    return ' '.join(row['text'].lower().split())

  known = {_Normal(row) for row in labels.train}
  seen = {row['utt_id'] for row in labels.test if _Normal(row) in known}
  text = (
    f"The target's training set has {len(labels.train)} utterances, {labels_lib.Minutes(labels.train):.1f} min. "
    f'Of them the training stream uses {len(labels.usable)}, {labels_lib.Minutes(labels.usable):.1f} min; the '
    'others are too short, too long or without a text. Shares of the labels are shares of what is used.\n\n'
    f'Of {len(labels.test)} test utterances {len(seen)} have a text that also occurs in training, '
    f'{len(labels.test) - len(seen)} do not.'
  )
  lines = []
  for row in rows:
    run_dir = stage_run.RunDir(settings, RunName(row['name'], row['seed']))
    found = rows_lib.Hypotheses(run_dir) if stage_run.IsOf(run_dir, row['stamp']) else {}
    new = [texts for utt_id, texts in found.items() if utt_id not in seen]
    if new:
      score = error_rates.Score(*zip(*new))
      lines.append(
        [
          f'`{row["name"]}`',
          str(row['seed']),
          f'{100 * row["target_wer"]:.1f}',
          f'{100 * score["wer"]:.1f} ({100 * score["wer_low"]:.1f} to {100 * score["wer_high"]:.1f})',
        ]
      )
  headers = ['model', 'seed', 'target WER', 'without those whose text occurs in training']
  return text + (f'\n\n{bench_tables.Markdown(headers, lines)}' if lines else '')


def _Hours(settings, stages):
  """Table of the wall clock of each stage that has been trained, and of the way to it."""
  lines, total, taken = [], 0.0, ''
  for run, stage in stages.items():
    state = stage_run.Read(stage_run.RunDir(settings, run))
    if state:
      hours, so_far = state['seconds'] / 3600, rows_lib.HoursWithStarts(settings, stages, run)
      total += hours * state['cores']
      lines.append(
        [
          f'`{run}`',
          f'{stage.steps:,}' + ('' if state['done'] else ', unfinished'),
          f'{hours:.2f}',
          f'{so_far:.2f}',
          str(state['cores']),
        ]
      )
      if 'taken' in state:
        taken += f'\n\n`{run}` was taken as it was, though its inputs differ: {state["taken"]}.'
  table = bench_tables.Markdown(['stage', 'steps', 'hours', 'with the stages before it', 'cores'], lines)
  return f'{table}\n\nAll stages: {total:.2f} core hours.{taken}'
