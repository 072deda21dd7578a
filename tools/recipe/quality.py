"""Time to quality: after how many hours of training each stage's dev set was first recognised so well, as a table."""

import math
import os
from typing import NamedTuple

from fm_lingvo.run_files import metrics_log

from ..figures import tables
from . import stage_run
from .stage_spec import Settings
from .stage_spec import Stage

GOALS = (0.8, 0.7, 0.6, 0.5, 0.4)  # WER.
_WER = 'labeled/wer'


class Point(NamedTuple):
  """An evaluation of a dev set during training."""

  step: int
  hours: float  # Of training, without evaluations and pauses; nan where the run did not measure it, as the next.
  core_hours: float  # Of processor time for it.
  speech: float  # Hours of labeled speech heard, repetitions counted.
  wer: float


def Table(settings: Settings, stages: dict[str, Stage]) -> str:
  """Markdown with a line for each stage whose training evaluates a WER, finished or not; '' without any."""
  lines = []
  for run, stage in stages.items():
    path = os.path.join(stage_run.RunDir(settings, run), 'metrics.jsonl')
    curve = Curve(metrics_log.ReadMetrics(path)) if os.path.exists(path) else []
    if curve:
      best, last = min(curve, key=lambda point: point.wer), curve[-1]
      lines.append([
        f'`{run}`', f'{last.step:,} of {stage.steps:,}', f'{last.hours:.2f}', f'{last.core_hours:.2f}',
        f'{last.speech:.1f}', f'{100 * best.wer:.1f} at step {best.step:,}', *(_First(curve, goal) for goal in GOALS),
      ])  # fmt: skip
  if not lines:
    return ''
  goals = [f'to {100 * goal:.0f} %' for goal in GOALS]
  headers = ['stage', 'steps', 'hours', 'core hours', 'hours of speech heard', 'best dev WER', *goals]
  note = (
    'Dev WER in training. `to N %`: hours of training, evaluations and pauses left out, and in brackets hours of '
    'labeled speech heard, until the first evaluation at or below it. Core hours are processor time, which other work '
    'on the machine does not change. A stage counts alone, without those before it.'
  )
  return f'{tables.Markdown(headers, lines)}\n\n{note}'


def Curve(rows: list[dict]) -> list[Point]:
  """The evaluations of a dev set.

  Args:
    rows: Of metrics.jsonl, in its order.
  """
  step, hours, core_hours, speech, points = 0, 0.0, 0.0, 0.0, []
  for row in rows:
    if row['dataset'] == 'train':
      steps = max(0, row['step'] - step)
      hours += steps / row.get('throughput/steps_per_second', math.nan) / 3600
      core_hours += steps * row.get('throughput/cpu_seconds_per_step', math.nan) / 3600
      speech += row.get('labeled/audio_seconds', 0.0) / 3600
      step = row['step']
    elif row['dataset'].startswith('Dev') and _WER in row:
      points.append(Point(row['step'], hours, core_hours, speech, row[_WER]))
  return points


def _First(curve, goal):
  """Cell with the hours at the first point of a curve at or below a WER."""
  return next((f'{point.hours:.2f} ({point.speech:.1f})' for point in curve if point.wer <= goal), '-')
