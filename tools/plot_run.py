"""Plots the metrics of BEST-RQ pretraining runs over training steps, from their metrics.jsonl.

  python -m tools.plot_run runs/BestRqPretrain-... --output=docs/images/pretrain.png

Solid lines are the model's metrics. Dashed lines are its baselines: the accuracy of always guessing the most frequent
code, and the entropy of the codes' distribution. Exit code 1: the image cannot be written; 2: wrong usage, or nothing
to plot.
"""

import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from fm_lingvo import errors
from fm_lingvo.utils import files as file_system

from .bench import run_figures
from .common import command_line
from .common import exit_codes
from .common import flag_types

_DEFAULT_DATASETS = ('eval_devhuman', 'train')
_STYLE = {
  'font.size': 10,
  'axes.titlesize': 11,
  'axes.titleweight': 'bold',
  'axes.spines.top': False,
  'axes.spines.right': False,
  'axes.grid': True,
  'grid.alpha': 0.25,
  'legend.frameon': False,
  'legend.fontsize': 9,
  'lines.linewidth': 1.8,
}


class _Panel(NamedTuple):
  """One panel of the figure."""

  title: str
  unit: str
  metric: str  # `{}` stands for the branch.
  scale: float = 1.0  # Factor applied to the values.
  limits: tuple = (None, None)  # Limits of the y axis.
  reference: str = ''  # Metric of the dashed lines, if any.
  explain: str = ''  # Explanation of the dashed or dotted lines.


_PANELS = (
  _Panel(
    'Masked accuracy',
    '%',
    '{}/masked_accuracy',
    100.0,
    (0, None),
    '{}/majority_accuracy',
    'dashed: of always guessing the most frequent code',
  ),
  _Panel(
    'Masked cross-entropy',
    'nats',
    '{}/cross_entropy',
    reference='{}/unigram_entropy',
    explain="dashed: entropy of the codes' distribution",
  ),
  _Panel('Codebook perplexity', 'codes', '{}/code_perplexity', limits=(0, None)),
  _Panel('Codebook coverage', '% of the codes', '{}/code_coverage', 100.0, (0, 105)),
  _Panel('Loss', 'loss', 'loss', explain='dotted: learning rate'),
  _Panel('Throughput', 'seconds of audio per second', 'throughput/audio_seconds_per_second', limits=(0, None)),
)
_WITH_LEARNING_RATE = 4  # Index of the panel with the learning rate on its right-hand axis.


def Plot(runs: Sequence[str], output: str, datasets: Sequence[str] = (), branch: str = '') -> list[str]:
  """Writes the figure.

  Args:
    runs: Folders of runs, drawn on the same axes.
    output: File to write; its extension selects the format.
    datasets: Data sets to plot; default: held-out human speech and training data, if a run has them.
    branch: First part of the metrics' names; default: the only one.

  Returns:
    Lines that say which data sets were left out.

  Raises:
    errors.ConfigError: A run, data set or branch does not exist, or the output has no extension.
    errors.RunError: The file cannot be written.
  """
  if len(os.path.splitext(output)[1]) < 2:  # Matplotlib would add an extension.
    raise errors.ConfigError(f'--output={output}: expected a name that ends in .png, .svg or another format')
  lines, notes = [], []  # A line is (label, branch, rows).
  for path in runs:
    run = run_figures.Read(path)
    wanted = datasets or [d for d in _DEFAULT_DATASETS if d in run] or list(run)
    run_figures.CheckDatasets(path, run, wanted)
    notes += [f'{path}: {d} is not plotted (--datasets chooses)' for d in run if d not in wanted]
    own = run_figures.Branch(path, {d: run[d] for d in wanted}, branch)
    prefix = f'{os.path.basename(os.path.normpath(path))}, ' if len(runs) > 1 else ''
    lines += [(prefix + run_figures.Describe(d), own, run[d]) for d in wanted]
  _Draw(lines, output)
  return notes


def _Draw(lines, output):
  """Draws all panels; each run and data set has a colour."""
  import matplotlib
  from matplotlib import figure as mpl_figure  # Without pyplot: no display.
  from matplotlib import lines as mpl_lines

  with matplotlib.rc_context(_STYLE):
    figure = mpl_figure.Figure(figsize=(10, 10), dpi=120, layout='constrained')
    figure.legend(
      handles=[mpl_lines.Line2D([], [], color=f'C{i}', lw=2.5, label=line[0]) for i, line in enumerate(lines)],
      loc='outside upper center',
      ncols=2 if len(lines) > 1 else 1,
    )
    axes = figure.subplots(3, 2, sharex=True).ravel()
    ends = [_DrawPanel(ax, panel, lines) for ax, panel in zip(axes, _PANELS)]
    if not any(ends):
      raise errors.ConfigError(
        'none of the metrics to plot was found; the runs have '
        + ', '.join(sorted({tag for _, _, rows in lines for row in rows for tag in row}))
      )
    _DrawLearningRate(axes[_WITH_LEARNING_RATE], lines)
    for ax in axes[-2:]:
      ax.set_xlabel('training step')
    figure.draw_without_rendering()  # Lays out the axes, whose heights _LabelEnds reads.
    for i, ax in enumerate(axes):
      if i != _WITH_LEARNING_RATE:
        _LabelEnds(ax, ends[i])
    try:
      with errors.Writing(f'--output={output}'):
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        figure.savefig(output, dpi='figure')
    except ValueError as e:  # Matplotlib lists the formats that it knows.
      raise errors.ConfigError(f'--output={output}: {e}') from e


def _DrawPanel(ax, panel, lines):
  """Draws a panel; returns (last value, colour) of each of its lines."""
  ax.set_title(panel.title, loc='left', pad=20 if panel.explain else 6)
  ax.text(0, 1.02, panel.explain, transform=ax.transAxes, fontsize=9)
  ax.set_ylabel(panel.unit)
  ax.margins(x=0.02)
  ends = []
  for i, (_, branch, rows) in enumerate(lines):
    for metric, style in ((panel.metric, '-'), (panel.reference, '--')):
      steps, values = run_figures.Series(rows, metric.format(branch))
      if not steps:
        continue
      values = [panel.scale * value for value in values]
      marker = 'o' if len(values) < 15 and style == '-' else None
      ax.plot(steps, values, style, color=f'C{i}', zorder=10 - i, marker=marker, ms=3.5)
      ends.append((values[-1], f'C{i}'))
  if not ends:
    ax.text(0.5, 0.5, 'no such metric in the runs', ha='center', transform=ax.transAxes)
  ax.set_ylim(*panel.limits)
  return ends


def _DrawLearningRate(ax, lines):
  """Learning rates, dotted, on a right-hand axis."""
  right = ax.twinx()
  right.grid(False)
  right.tick_params(labelsize=8)
  right.spines['right'].set_visible(True)
  right.set_ylabel('learning rate')
  right.ticklabel_format(axis='y', style='plain')
  for i, (_, _, rows) in enumerate(lines):
    right.plot(*run_figures.Series(rows, 'learning_rate'), ':', color=f'C{i}', lw=1.4)
  right.set_ylim(bottom=0)


def _LabelEnds(ax, ends, gap=11.0):
  """Writes each line's last value to the right of the axes, at least `gap` points apart."""
  gap /= ax.get_window_extent().height * 72.0 / ax.figure.dpi  # As a fraction of the height of the axes.
  to_axes = ax.transData + ax.transAxes.inverted()
  ends, heights = sorted(ends), []
  for value, _ in ends:
    own = to_axes.transform((0, value))[1]
    heights.append(max(own, heights[-1] + gap) if heights else own)
  top = 1.0
  for i in reversed(range(len(heights))):  # Move labels down that would be above the top.
    heights[i] = min(heights[i], top)
    top = heights[i] - gap
  for (value, color), height in zip(ends, heights):
    ax.annotate(
      f'{value:.3g}',
      (1, height),
      xycoords='axes fraction',
      xytext=(5, 0),
      textcoords='offset points',
      va='center',
      color=color,
      fontsize=9,
    )


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('plot_run', __doc__)
  parser.add_argument('runs', type=file_system.ExpandUser, nargs='+', metavar='RUN', help='folder of a run')
  parser.add_argument('--output', type=flag_types.LocalPath, required=True, help='image to write')
  parser.add_argument(
    '--datasets', default='', help='data sets of a run, comma-separated (default: eval_devhuman,train)'
  )
  parser.add_argument('--branch', default='', help="first part of the metrics' names (default: the only one)")
  args = parser.parse_args((argv or sys.argv)[1:])

  def _Run():
    for note in Plot(args.runs, args.output, [d for d in args.datasets.split(',') if d], args.branch):
      print(note)
    print(f'wrote {args.output}')

  return exit_codes.Report('plot_run', _Run)


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
