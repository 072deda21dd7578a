"""Time to quality: after how many hours of training each stage's dev set was first recognised so well, as a table."""

import os

from fm_lingvo.run_files import metrics_log

from ..bench import tables
from . import stage_run
from .stage_spec import Settings
from .stage_spec import Stage

GOALS = (0.8, 0.7, 0.6, 0.5, 0.4)  # WER.
_WER = 'labeled/wer'


def Table(settings: Settings, stages: dict[str, Stage]) -> str:
  """Markdown with a line for each stage whose training evaluates a WER, finished or not; '' without any."""
  lines = []
  for run, stage in stages.items():
    path = os.path.join(stage_run.RunDir(settings, run), 'metrics.jsonl')
    curve = Curve(metrics_log.ReadMetrics(path)) if os.path.exists(path) else []
    if curve:
      step, hours, speech, wer = min(curve, key=lambda point: point[-1])
      last = curve[-1]
      lines.append([
        f'`{run}`', f'{last[0]:,} of {stage.steps:,}', f'{last[1]:.2f}', f'{last[2]:.1f}',
        f'{100 * wer:.1f} at step {step:,}', *(_First(curve, goal) for goal in GOALS),
      ])  # fmt: skip
  if not lines:
    return ''
  headers = [
    'stage',
    'steps',
    'hours',
    'hours of speech heard',
    'best dev WER',
    *(f'to {100 * g:.0f} %' for g in GOALS),
  ]
  note = (
    'Dev WER in training. `to N %`: hours of training, evaluations and pauses left out, and in brackets hours of '
    'labeled speech heard, until the first evaluation at or below it. A stage counts alone, without those before it.'
  )
  return f'{tables.Markdown(headers, lines)}\n\n{note}'


def Curve(rows: list[dict]) -> list[tuple[int, float, float, float]]:
  """(step, hours of training, hours of labeled speech heard, WER) at each evaluation of a dev set.

  Args:
    rows: Of metrics.jsonl, in its order.
  """
  step, hours, speech, points = 0, 0.0, 0.0, []
  for row in rows:
    if row['dataset'] == 'train':
      if row['step'] > step and row.get('throughput/steps_per_second'):
        hours += (row['step'] - step) / row['throughput/steps_per_second'] / 3600
      speech += row.get('labeled/audio_seconds', 0.0) / 3600
      step = row['step']
    elif row['dataset'].startswith('Dev') and _WER in row:
      points.append((row['step'], hours, speech, row[_WER]))
  return points


def _First(curve, goal):
  """Cell with the hours at the first point of a curve at or below a WER."""
  return next((f'{hours:.2f} ({speech:.1f})' for _, hours, speech, wer in curve if wer <= goal), '-')
