"""The recipe's picture: error rates on target and source, WER over the share of labels, parameters, hours, labels."""

import os

from tools import recipe_table
from tools import recipe_verdicts

_STYLE = {
    'font.size': 10, 'axes.titlesize': 11, 'axes.titleweight': 'bold', 'axes.spines.top': False,
    'axes.spines.right': False, 'axes.grid': True, 'grid.alpha': 0.25, 'legend.frameon': False, 'legend.fontsize': 9,
}
# Kind of model -> colour, safe for the colour-blind, and the rows of that kind.
_KINDS = {
    'the three stages': ('#0072b2', ('adapted',)),
    'a stage left out': ('#56b4e9', ('adapted_no_hydra', 'adapted_no_pretrain')),
    'everything finetuned': ('#cc79a7', ('full_finetune',)),
    'from scratch': ('#d55e00', ('scratch_target', 'scratch_source_target')),
    'no target label': ('#009e73', ('hydra', 'supervised', 'hydra_no_pretrain')),
}
_COLORS = {name: color for color, names in _KINDS.values() for name in names}
# Row -> style and label of its horizontal line beside the curve.
_LINES = {
    'scratch_target': ('--', 'from scratch, all target labels'),
    'scratch_source_target': ('-', 'from scratch, source and all target labels'),
    'hydra': (':', 'stages 1 + 2, no target label'),
}


def Plot(rows, output):
  """Writes the picture.

  Args:
    rows: of the results.
    output: file to write; its ending chooses the format.
  """
  import matplotlib  # pylint: disable=g-import-not-at-top
  # Agg draws without a display; pyplot would keep every figure alive.
  from matplotlib import figure as mpl_figure  # pylint: disable=g-import-not-at-top
  from matplotlib import patches  # pylint: disable=g-import-not-at-top
  means = recipe_verdicts.Means(rows)
  names = recipe_table.GroupNames(rows, 'main')
  with matplotlib.rc_context(_STYLE):
    figure = mpl_figure.Figure(figsize=(12, 13), dpi=120, layout='constrained')
    figure.legend(handles=[patches.Patch(color=color, label=kind) for kind, (color, _) in _KINDS.items()],
                  loc='outside upper center', ncols=len(_KINDS))
    axes = figure.subplots(3, 2)
    _Rates(axes[0, 0], rows, means, names, 'target_wer', 'Target WER, 95 % confidence intervals')
    _Rates(axes[0, 1], rows, means, names, 'target_cer', 'Target CER, 95 % confidence intervals')
    _Curve(axes[1, 0], rows, means)
    _Rates(axes[1, 1], rows, means, names, 'source_wer', 'Source WER: what adaptation forgets')
    _Parameters(axes[2, 0], means, names)
    _Hours(axes[2, 1], means, names)
    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    figure.savefig(output, dpi='figure')


def _Names(ax, names, room=0.25):
  """Names of bars, the first on top, with room for numbers on their right."""
  ax.set_yticks(range(len(names)), names)
  ax.invert_yaxis()
  ax.margins(x=room)
  ax.set_xlim(left=0)
  ax.grid(axis='y', visible=False)


def _Rates(ax, rows, means, names, metric, title):
  """A bar for each model, its interval, and a dot for each seed where there are several."""
  ax.set_title(title, loc='left')
  several = False
  for y, name in enumerate(names):
    mean = means[name]
    value, low, high = (100 * mean[metric + end] for end in ('', '_low', '_high'))
    ax.barh(y, value, color=_COLORS.get(name, 'grey'), height=0.7, alpha=0.85)
    ax.errorbar(value, y, xerr=[[max(0, value - low)], [max(0, high - value)]], color='black', capsize=3, lw=1.2)
    ax.text(high, y, f'  {value:.1f}', va='center', fontsize=9)
    seeds = [100 * row[metric] for row in rows if row['name'] == name]
    if len(seeds) > 1:
      several = True
      ax.plot(seeds, [y] * len(seeds), 'o', color='white', markeredgecolor='black', ms=4, zorder=5)
  ax.set_xlabel('%; dots: seeds' if several else '%')
  _Names(ax, names)


def _Curve(ax, rows, means):
  """WER of the adapted model over its share of the labels; the baselines with all labels are horizontal."""
  ax.set_title('Target WER over the share of target labels', loc='left')
  ax.set_xlabel('% of the target\'s training labels')
  ax.set_ylabel('target WER, %')
  curve = sorted((100 * means[name]['target_label_fraction'], name)
                 for name in recipe_verdicts.CURVE if name in means)
  if curve:
    color = _COLORS['adapted']
    shares = [share for share, _ in curve]
    values = [100 * means[name]['target_wer'] for _, name in curve]
    bounds = [[100 * means[name][f'target_wer_{end}'] for _, name in curve] for end in ('low', 'high')]
    ax.plot(shares, values, 'o-', color=color, label='adapters and decoder', zorder=3)
    ax.fill_between(shares, *bounds, color=color, alpha=0.15, lw=0)
    for share, name in curve:
      seeds = [100 * row['target_wer'] for row in rows if row['name'] == name]
      if len(seeds) > 1:
        ax.plot([share] * len(seeds), seeds, '.', color=color, alpha=0.6, ms=5)
    ax.set_xscale('log')
    ax.set_xticks(shares, [f'{share:.3g}' for share in shares])
    ax.set_xticks([], minor=True)
  for name, (style, label) in _LINES.items():
    if name in means:
      ax.axhline(100 * means[name]['target_wer'], color=_COLORS[name], ls=style, label=label)
  if ax.get_legend_handles_labels()[0]:
    ax.legend(loc='best', frameon=True, framealpha=0.9, edgecolor='none')


def _Parameters(ax, means, names):
  """Trained parameters in millions, before all of them in grey, and their share."""
  ax.set_title('Trained parameters, of all', loc='left')
  ax.set_xlabel('millions')
  for y, name in enumerate(names):
    trained, total = means[name]['trained_params'], means[name]['total_params']
    ax.barh(y, total / 1e6, color='#dddddd', height=0.7)
    ax.barh(y, trained / 1e6, color=_COLORS.get(name, 'grey'), height=0.7, alpha=0.85)
    ax.text(total / 1e6, y, f'  {100 * trained / total:.1f} %', va='center', fontsize=9)
  _Names(ax, names)


def _Hours(ax, means, names):
  """Hours of the last stage, those of the stages before it in grey, and minutes of labeled target speech."""
  ax.set_title('Hours of compute, labeled target speech', loc='left')
  ax.set_xlabel('hours of wall clock; grey: the stages before the last')
  for y, name in enumerate(names):
    own, chain = means[name]['hours'], means[name]['hours_with_parents']
    ax.barh(y, own, left=max(0.0, chain - own), color=_COLORS.get(name, 'grey'), height=0.7, alpha=0.85)
    ax.barh(y, max(0.0, chain - own), color='#dddddd', height=0.7)
    ax.text(chain, y, f'  {chain:.2f} h, {means[name]["target_label_minutes"]:.1f} min', va='center', fontsize=9)
  _Names(ax, names, room=0.4)
