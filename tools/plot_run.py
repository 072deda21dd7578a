"""Plots runs of BEST-RQ over steps, from their TensorBoard event files.

  python -m tools.plot_run runs/BestRqPretrain-... --output=docs/images/pretrain.png

What the model does is a solid line; what it is measured against is a dashed one:
the accuracy of always guessing the most frequent code, the entropy of the codes.
Exit code 1: it cannot be written; 2: wrong usage, or nothing to plot; either is said in one line.
"""

import argparse
import os
import sys

from fm_lingvo import errors

from . import event_files
from .common import exit_codes

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


def Plot(runs, output, datasets=(), branch=''):
  """Writes the figure.

  Args:
    runs: Folders of runs, drawn on the same axes.
    output: File to write; its ending chooses the format.
    datasets: Folders of a run to plot; default: held-out human speech and train, of
      those that a run has.
    branch: Prefix of the tags; default: the only one.

  Returns:
    List of lines that say what was left out.

  Raises:
    errors.ConfigError: A run, data set or branch that is not there, or an output without an ending.
  """
  if len(os.path.splitext(output)[1]) < 2:  # Matplotlib would add one.
    raise errors.ConfigError(f'--output={output}: expected a name that ends in .png, .svg or another format')
  lines, notes = [], []
  for run in runs:
    found = event_files.ReadRun(run)
    wanted = datasets or [d for d in _DEFAULT_DATASETS if d in found] or list(found)
    for name in wanted:
      if name not in found:
        raise errors.ConfigError(f'{run}: no event files in {name}{event_files.DidYouMean(name, found)}')
    notes += [f'{run}: {d} is not plotted (--datasets chooses)' for d in found if d not in wanted]
    prefix = event_files.Branch(run, {d: found[d] for d in wanted}, branch)
    for name in wanted:
      label = event_files.Describe(name)
      if len(runs) > 1:
        label = f'{os.path.basename(os.path.normpath(run))}, {label}'
      lines.append((label, prefix, found[name]))
  _Draw(lines, output)
  return notes


def _Draw(lines, output):
  """lines: list of (label, branch, dict tag -> Series), one colour each."""
  import matplotlib

  # Agg draws without a display; pyplot would keep every figure alive.
  from matplotlib import figure as mpl_figure
  from matplotlib import lines as mpl_lines

  with matplotlib.rc_context(_STYLE):
    figure = mpl_figure.Figure(figsize=(10, 10), dpi=120, layout='constrained')
    figure.legend(
      handles=[mpl_lines.Line2D([], [], color=f'C{i}', lw=2.5, label=label) for i, (label, _, _) in enumerate(lines)],
      loc='outside upper center',
      ncols=2 if len(lines) > 1 else 1,
    )
    axes = figure.subplots(3, 2, sharex=True).ravel()
    drawn = [
      _Panel(
        axes[0],
        'Masked accuracy',
        '%',
        lines,
        '{}/masked_accuracy',
        100.0,
        '{}/majority_accuracy',
        'dashed: of always guessing the most frequent code',
      ),
      _Panel(
        axes[1],
        'Masked cross-entropy',
        'nats',
        lines,
        '{}/cross_entropy',
        1.0,
        '{}/unigram_entropy',
        "dashed: entropy of the codes' own distribution",
      ),
      _Panel(axes[2], 'Codebook perplexity', 'codes', lines, '{}/code_perplexity'),
      _Panel(axes[3], 'Codebook coverage', '% of the codes', lines, '{}/code_coverage', 100.0),
      _Panel(axes[4], 'Loss', 'loss', lines, 'loss', explain='dotted: learning rate'),
      _Panel(axes[5], 'Throughput', 'seconds of audio per second', lines, 'throughput/audio_seconds_per_second'),
    ]
    if not any(drawn):
      raise errors.ConfigError(
        'none of the scalars to plot was found; tags: '
        + ', '.join(sorted({tag for _, _, tags in lines for tag in tags}))
      )
    for ax in (axes[0], axes[2], axes[5]):
      ax.set_ylim(bottom=0)
    axes[3].set_ylim(0, 105)
    _LearningRate(axes[4], lines)
    for ax in axes[4:]:
      ax.set_xlabel('training step')
    figure.draw_without_rendering()
    for i, ends in enumerate(drawn):
      if i != 4:  # Whose right side is the learning rate's.
        _LabelEnds(axes[i], ends)
    try:
      with errors.Writing(f'--output={output}'):
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
        figure.savefig(output, dpi='figure')
    except ValueError as e:  # Matplotlib lists the formats that it knows.
      raise errors.ConfigError(f'--output={output}: {e}') from e


def _Panel(ax, title, unit, lines, tag, scale=1.0, reference='', explain=''):
  """Draws one panel.

  Args:
    ax: Axes.
    title: Of the panel.
    unit: Label of the y axis.
    lines: As _Draw.
    tag: Tag of the solid lines, `{}` for the branch.
    scale: Factor on the values.
    reference: Tag of the dashed lines, if any.
    explain: What the dashed or dotted lines are, below the title.

  Returns:
    List of (last value, colour) of each line.
  """
  ax.set_title(title, loc='left', pad=20 if explain else 6)
  ax.text(0, 1.02, explain, transform=ax.transAxes, fontsize=9)
  ax.set_ylabel(unit)
  ax.margins(x=0.02)
  ends = []
  for i, (_, branch, tags) in enumerate(lines):
    for name, style in ((tag, '-'), (reference, '--')):
      series = tags.get(name.format(branch))
      if series is None:
        continue
      values = series.value * scale
      ax.plot(
        series.step,
        values,
        style,
        color=f'C{i}',
        zorder=10 - i,
        marker='o' if len(values) < 15 and style == '-' else None,
        ms=3.5,
      )
      ends.append((values[-1], f'C{i}'))
  if not ends:
    ax.text(0.5, 0.5, 'not in the event files', ha='center', transform=ax.transAxes)
  return ends


def _LabelEnds(ax, ends, gap=11.0):
  """Writes each line's last value right of the axes, at least `gap` points apart."""
  gap /= ax.get_window_extent().height * 72.0 / ax.figure.dpi  # In heights of the axes.
  to_axes = ax.transData + ax.transAxes.inverted()
  ends = sorted(ends, key=lambda end: end[0])
  heights = []
  for value, _ in ends:
    own = to_axes.transform((0, value))[1]
    heights.append(max(own, heights[-1] + gap) if heights else own)
  # Back below the top, where many lines end close to it.
  limit = 1.0
  for i in reversed(range(len(heights))):
    heights[i] = min(heights[i], limit)
    limit = heights[i] - gap
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


def _LearningRate(ax, lines):
  """Learning rates, dotted, on a right-hand axis."""
  right = ax.twinx()
  right.grid(False)
  right.tick_params(labelsize=8)
  right.spines['right'].set_visible(True)
  right.set_ylabel('learning rate')
  right.ticklabel_format(axis='y', style='plain')
  for i, (_, _, tags) in enumerate(lines):
    series = tags.get('learning_rate')
    if series is not None:
      right.plot(series.step, series.value, ':', color=f'C{i}', lw=1.4)
  right.set_ylim(bottom=0)


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='plot_run', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a run')
  parser.add_argument('--output', required=True, help='image to write')
  parser.add_argument('--datasets', default='', help='folders of a run, comma-separated (default: eval_devhuman,train)')
  parser.add_argument('--branch', default='', help='prefix of the tags (default: the only one)')
  args = parser.parse_args((argv or sys.argv)[1:])
  return exit_codes.Report('plot_run', lambda: _Run(args))


def _Run(args):
  """Plots what the arguments ask for."""
  for note in Plot(args.runs, args.output, [d for d in args.datasets.split(',') if d], args.branch):
    print(note)
  print(f'wrote {args.output}')


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
