"""The recipe's results as Markdown tables, for the pages and for the report."""

from collections.abc import Iterable

from ..figures import tables
from . import claims
from . import plan

_NOTHING = 'No stage has been trained to its end yet.'


def Table(result: dict) -> str:
  """Markdown of a whole result: a table for each group, what they say, and where the figures are from."""
  rows, comparisons = result['rows'], result.get('comparisons', [])
  if not rows:
    return _NOTHING
  parts = []
  for title, groups in plan.TABLES:
    names = GroupNames(rows, groups)
    if names:
      parts += [f'**{title}**', '', _GroupTable(rows, names), '']
  parts += [
    'Rates in %, in brackets their 95 % confidence interval (bootstrap over utterances); of several seeds the '
    'mean, the mean interval, and the range over seeds. Hours of wall clock are those of the last stage, in '
    'brackets with all stages before it.',
    '',
  ]
  if comparisons:
    parts += ['**Two models each on the same utterances**', '', _Comparisons(comparisons), '']
  parts += [f'- {line}.' for line in claims.Verdicts(plan.CLAIMS, rows, comparisons)]
  return '\n'.join([*parts, '', *_Origins(rows, plan.GROUPS)]).rstrip()


def Short(result: dict) -> str:
  """Markdown of one table: what the front page shows of each target."""
  lines = []
  for target, names in plan.SHORT.items():
    for name in names:
      own = _Own(result['rows'], name)
      if own:
        mean = claims.Means(own)[name]
        title = own[0]['title'].removeprefix(f'{target}: ')
        lines.append([target, title, _Labels(mean), _Trained(mean), _Rate(own, mean, 'target_wer')])
  headers = ['target', 'model', 'target labels', 'trained parameters', 'WER']
  return tables.Markdown(headers, lines, 'llrrr') if lines else _NOTHING


def GroupNames(rows: Iterable[dict], groups: Iterable[str]) -> list[str]:
  """Names of the models in the table of some groups: in the order of the plan, a curve in that of its labels."""
  there = {row['name'] for row in rows}
  names = [stage.name for stage in plan.STAGES if stage.group in groups and stage.name in there]
  also = [name for group in groups for name in plan.ALSO.get(group, ()) if name in there] if names else []
  names = [*dict.fromkeys([*names, *also])]
  return sorted(names, key=plan.CURVE.index) if {*names} <= {*plan.CURVE} else names


def _GroupTable(rows, names):
  """Table with a line for each model."""
  lines = []
  for name in names:
    own = _Own(rows, name)
    mean = claims.Means(own)[name]
    lines.append(
      [
        f'`{name}`: {own[0]["title"]}',
        _Labels(mean),
        _Trained(mean),
        *(_Rate(own, mean, rate) for rate in ('target_wer', 'target_cer', 'source_wer')),
        f'{mean["hours"]:.2f} ({mean["hours_with_parents"]:.2f})',
        str(len(own)),
      ]
    )
  headers = ['model', 'target labels', 'trained parameters', 'target WER', 'target CER', 'source WER', 'hours', 'seeds']
  return tables.Markdown(headers, lines)


def _Own(rows, name):
  """Rows of one model, a seed each."""
  return sorted((row for row in rows if row['name'] == name), key=lambda row: row['seed'])


def _Labels(mean):
  fraction, minutes = mean['target_label_fraction'], mean['target_label_minutes']
  return f'{100 * fraction:.1f} %, {minutes:.1f} min' if fraction else 'none'


def _Trained(mean):
  return f'{mean["trained_params"] / 1e6:.2f}M, {100 * mean["trained_params"] / mean["total_params"]:.1f} %'


def _Rate(own, mean, rate):
  text = f'{100 * mean[rate]:.1f} ({100 * mean[rate + "_low"]:.1f} to {100 * mean[rate + "_high"]:.1f})'
  values = [100 * row[rate] for row in own]
  return text + (f'; {min(values):.1f} to {max(values):.1f}' if len(own) > 1 else '')


def _Comparisons(pairs):
  """Table of paired bootstraps."""

  def _Cell(pair, prefix):
    difference, low, high = (f'{100 * pair[prefix + key]:+.1f}' for key in ('difference', 'low', 'high'))
    return f'{difference} ({low} to {high})'

  note = (
    "Differences in points on the same utterances of the target's test set, with their 95 % confidence "
    'intervals (paired bootstrap over voices, with several seeds over these, too); '
    'below 0 the first is better.'
  )
  return f'{note}\n\n' + tables.Markdown(
    ['first', 'second', 'seeds', 'WER', 'CER', 'first: WER against its interval'],
    [
      [
        f'`{pair["a"]}`',
        f'`{pair["b"]}`',
        ', '.join(map(str, pair['seeds'])),
        _Cell(pair, ''),
        _Cell(pair, 'cer_'),
        f'{claims.Judge(pair)}, {100 * pair["a_better"]:.1f} % of resamples',
      ]
      for pair in pairs
    ],
    'lllrrl',
  )


def _Origins(rows, groups):
  order = [*groups]
  return tables.Origins(
    sorted((row for row in rows if row['group'] in order), key=lambda row: order.index(row['group'])),
    lambda row: row['group'],
    command=lambda row: f'python -m tools.recipe {row["group"]}',
    span=True,
  )
