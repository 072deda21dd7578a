"""The recipe's picture: error rates on target and source, and WER over the share of the target's labels."""

import matplotlib
from matplotlib import figure as mpl_figure  # pyplot would keep every figure alive.
from matplotlib import patches

from . import claims
from . import plan
from . import tables

_STYLE = {
  'font.size': 10,
  'axes.titlesize': 11,
  'axes.titleweight': 'bold',
  'axes.titlelocation': 'left',
  'axes.grid': True,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'grid.alpha': 0.25,
  'legend.frameon': False,
  'legend.fontsize': 9,
}
# Of the experiments; safe for the colour-blind.
_COLORS = ('#0072b2', '#56b4e9', '#009e73', '#cc79a7', '#d55e00', '#e69f00')


def Plot(rows: list[dict], output: str) -> None:
  """Writes the picture of the rows of the results; the file's ending chooses the format."""
  means = claims.Means(rows)
  names = tables.GroupNames(rows, plan.TABLES[0][1])
  experiments = {stage.name: stage.experiment for stage in plan.STAGES}
  palette = dict(zip(dict.fromkeys(experiments[name] for name in names), _COLORS))
  colors = {name: palette[experiments[name]] for name in names}
  with matplotlib.rc_context(_STYLE):
    figure = mpl_figure.Figure(figsize=(15, 9), dpi=120, layout='constrained')
    figure.legend(
      handles=[patches.Patch(color=color, label=experiment) for experiment, color in palette.items()],
      loc='outside upper center',
      ncols=len(_COLORS),
    )
    above, below = figure.subfigures(2, 1)
    rates = above.subplots(1, 3)
    _Rates(rates[0], rows, means, colors, 'target_wer', 'Target WER, 95 % confidence intervals')
    _Rates(rates[1], rows, means, colors, 'target_cer', 'Target CER, 95 % confidence intervals')
    _Rates(rates[2], rows, means, colors, 'source_wer', 'Source WER: what adaptation forgets')
    drawn = [item for item in plan.CURVES.items() if means.keys() & {*item[1][0]}] or list(plan.CURVES.items())[:1]
    for (ax,), (target, (curve, baselines)) in zip(below.subplots(1, len(drawn), squeeze=False).T, drawn):
      _Curve(ax, rows, means, target, curve, baselines)
    figure.savefig(output, dpi='figure')


def _Rates(ax, rows, means, colors, rate, title):
  """A bar for each model, its interval, and a dot for each seed where there are several."""
  ax.set_title(title)
  ax.set_xlabel('%; dots: seeds')
  for y, name in enumerate(colors):
    value, low, high = (100 * means[name][rate + end] for end in ('', '_low', '_high'))
    ax.barh(y, value, color=colors[name], height=0.7, alpha=0.85)
    ax.errorbar(value, y, xerr=[[max(0, value - low)], [max(0, high - value)]], color='black', capsize=3, lw=1.2)
    ax.text(high, y, f'  {value:.1f}', va='center', fontsize=9)
    seeds = [100 * row[rate] for row in rows if row['name'] == name]
    if len(seeds) > 1:
      ax.plot(seeds, [y] * len(seeds), 'o', color='white', markeredgecolor='black', ms=4, zorder=5)
  ax.set_yticks(range(len(colors)), colors)
  ax.invert_yaxis()
  ax.margins(x=0.25)  # Room for the numbers.
  ax.set_xlim(left=0)
  ax.grid(axis='y', visible=False)


def _Curve(ax, rows, means, target, models, baselines):
  """WER of the adapted models of a target over their share of the labels; the baselines are horizontal lines."""
  ax.set_title(f'{target}: WER over the share of its labels')
  ax.set_xlabel("% of the target's training labels")
  ax.set_ylabel('target WER, %')
  curve = sorted((100 * means[name]['target_label_fraction'], name) for name in models if name in means)
  if curve:
    shares = [share for share, _ in curve]
    value, low, high = ([100 * means[name][f'target_wer{end}'] for _, name in curve] for end in ('', '_low', '_high'))
    ax.plot(shares, value, 'o-', color=_COLORS[0], label='adapted')
    ax.fill_between(shares, low, high, color=_COLORS[0], alpha=0.15, lw=0)
    seeds = [(share, 100 * row['target_wer']) for share, name in curve for row in rows if row['name'] == name]
    ax.plot(*zip(*seeds), '.', color=_COLORS[0], alpha=0.6, ms=5)
    ax.set_xscale('log')
    ax.set_xticks(shares, [f'{share:.3g}' for share in shares])
    ax.set_xticks([], minor=True)
  for name, style in zip(baselines, ('--', '-', ':')):
    if name in means:
      ax.axhline(100 * means[name]['target_wer'], color='black', ls=style, label=name)
  if ax.get_legend_handles_labels()[0]:
    ax.legend(loc='best', frameon=True, framealpha=0.9, edgecolor='none')
