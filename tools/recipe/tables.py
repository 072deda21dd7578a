"""The form of docs/results/recipe.json, and its tables in Markdown.

  form         'recipe'
  rows         a list, one a model and seed: FIELDS
  comparisons  a list of paired bootstraps, see recipe_compare.Compare
"""

import datetime
import math
import os

from fm_lingvo import errors
from tools import recipe_plan
from tools import recipe_verdicts
from tools.common import this_machine

_RATES = tuple(f'{where}_{metric}{end}' for where in ('target', 'source') for metric in ('wer', 'cer')
               for end in ('', '_low', '_high'))
# Field -> type. All are required; rates and fractions are of 1.
FIELDS = {
    'name': str, 'seed': int, 'title': str, 'group': str, **{rate: float for rate in _RATES},
    'target_utterances': int, 'target_dropped': int, 'total_params': int, 'trained_params': int,
    'target_label_fraction': float, 'target_label_minutes': float,
    'hours': float, 'hours_with_parents': float, 'cores': int, 'steps': int, 'command': str, 'date': str,
    'machine': dict, 'versions': dict, 'stamp': str,
}
_COMPARISON = ('a', 'b', 'seeds', 'difference', 'low', 'high', 'a_better', 'cer_difference', 'cer_low', 'cer_high')
_TITLES = {
    'main': 'The three stages and the baselines', 'curve': 'The adapted model on more and fewer labels',
    'ablations_adapter': 'Ablations of the adaptation',
    'ablations_pretrain': 'Ablations of stages 1 and 2, shorter than the main models',
    'probe': 'CTC probe on the frozen encoder, trained on all target labels',
}
# Groups whose rows are in another group's table.
_TABLES = {**dict.fromkeys(recipe_plan.SEED_GROUPS, 'main'), 'ablations_hydra': 'ablations_pretrain'}


def Check(result, path):
  """Raises errors.ConfigError unless `result` has the form."""
  where = os.path.basename(path)
  if not isinstance(result, dict) or result.get('form') != 'recipe' or not isinstance(result.get('rows'), list):
    raise errors.ConfigError(f"{where}: expected an object with form 'recipe' and a list `rows`")
  seen = set()
  for i, row in enumerate(result['rows']):
    _CheckRow(row, f'{where}: rows[{i}]')
    if (row['name'], row['seed']) in seen:
      raise errors.ConfigError(f'{where}: rows[{i}]: a second row of {row["name"]}, seed {row["seed"]}')
    seen.add((row['name'], row['seed']))
  for i, pair in enumerate(result.get('comparisons', [])):
    missing = [key for key in _COMPARISON if key not in pair]
    if missing:
      raise errors.ConfigError(f'{where}: comparisons[{i}]: no {", ".join(missing)}')


def _CheckRow(row, where):
  for field in row:
    if field not in FIELDS:
      raise errors.ConfigError(f'{where}.{field}: no such field; expected {", ".join(FIELDS)}')
  for field, kind in FIELDS.items():
    if field not in row:
      raise errors.ConfigError(f'{where}: no {field}')
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
      raise errors.ConfigError(f'{where}.{field} = {value!r}: expected {kind.__name__}')
    if kind in (int, float) and not (math.isfinite(value) and value >= 0):
      raise errors.ConfigError(f'{where}.{field} = {value!r}: expected a number >= 0')
  if row['target_label_fraction'] > 1 or row['trained_params'] > row['total_params']:
    raise errors.ConfigError(f'{where}: a part is larger than its whole')
  for metric in [rate for rate in _RATES if not rate.endswith(('_low', '_high'))]:
    if not row[f'{metric}_low'] <= row[f'{metric}_high']:
      raise errors.ConfigError(f'{where}.{metric}_low = {row[metric + "_low"]}: above {metric}_high')
  try:
    datetime.date.fromisoformat(row['date'])
  except ValueError as e:
    raise errors.ConfigError(f'{where}.date = {row["date"]!r}: expected YYYY-MM-DD') from e


def Table(result):
  """Markdown of a whole result: a table for each group, what they say, and where the figures are from."""
  rows = result['rows']
  parts = []
  for group, title in _TITLES.items():
    names = GroupNames(rows, group)
    if names:
      parts += [f'**{title}**', '', GroupTable(rows, names), '']
  parts += ['Rates in %, in brackets their 95 % confidence interval (bootstrap over utterances); of several seeds the '
            'mean, the mean interval, and the range over seeds. Hours of wall clock are those of the last stage, in '
            'brackets with all stages before it.', '']
  if result.get('comparisons'):
    parts += ['**Two models each on the same utterances**', '', Comparisons(result['comparisons']), '']
  parts += [f'- {line}.' for line in recipe_verdicts.Verdicts(rows, result.get('comparisons', []))]
  parts += ['', *Origins(rows)]
  return '\n'.join(parts).rstrip()


def Short(result):
  """Markdown of the main group alone, and where its figures are from."""
  rows = result['rows']
  return '\n'.join([GroupTable(rows, GroupNames(rows, 'main')), '', *Origins(rows, ('main', *recipe_plan.SEED_GROUPS))])


def GroupNames(rows, group):
  """Names of the rows in a group's table in the plan's order; further seeds belong to their model's group."""
  groups = {}
  for row in rows:
    if row['name'] not in groups or row['group'] not in recipe_plan.SEED_GROUPS:
      groups[row['name']] = row['group']
  order = list(dict.fromkeys(stage.row for stage in recipe_plan.Plan(recipe_plan.Settings()).values()))
  names = [name for name, own in groups.items() if _TABLES.get(own, own) == group]
  if group == 'curve':  # One of its points is the main group's.
    means = recipe_verdicts.Means(rows)
    names += [name for name in (recipe_verdicts.ADAPTED,) if names and name in groups]
    return sorted(names, key=lambda name: means[name]['target_label_fraction'])
  return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def GroupTable(rows, names):
  """Markdown table with a line for each name."""
  lines = ['| model | target labels | trained parameters | target WER | target CER | source WER | hours | seeds |',
           '| :-- | --: | --: | --: | --: | --: | --: | --: |']
  for name in names:
    own = sorted((row for row in rows if row['name'] == name), key=lambda row: row['seed'])
    mean = recipe_verdicts.Means(own)[name]
    labels = ('none' if not mean['target_label_fraction'] else
              f'{100 * mean["target_label_fraction"]:.1f} %, {mean["target_label_minutes"]:.1f} min')
    share = 100 * mean['trained_params'] / mean['total_params']
    cells = [f'`{name}`: {own[0]["title"]}', labels, f'{mean["trained_params"] / 1e6:.2f}M, {share:.1f} %',
             *[_Rate(own, mean, metric) for metric in ('target_wer', 'target_cer', 'source_wer')],
             f'{mean["hours"]:.2f} ({mean["hours_with_parents"]:.2f})', str(len(own))]
    lines.append('| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |')
  return '\n'.join(lines)


def _Rate(own, mean, metric):
  text = f'{100 * mean[metric]:.1f} ({100 * mean[metric + "_low"]:.1f} to {100 * mean[metric + "_high"]:.1f})'
  if len(own) > 1:
    values = [100 * row[metric] for row in own]
    text += f'; {min(values):.1f} to {max(values):.1f}'
  return text


def Comparisons(pairs):
  """Markdown table of the paired bootstraps `pairs`, which are not none."""
  lines = ['Differences in points on the same utterances of the target\'s test set, with their 95 % confidence '
           'intervals (paired bootstrap; of several seeds over utterances and seeds, of one over utterances only); '
           'below 0 the first is better.', '',
           '| first | second | seeds | WER | CER | first: WER against its interval |',
           '| :-- | :-- | :-- | --: | --: | :-- |']
  for pair in pairs:
    def _Cell(prefix, pair=pair):
      low, high = pair[f'{prefix}low'], pair[f'{prefix}high']
      return f'{100 * pair[f"{prefix}difference"]:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})'
    lines.append(f'| `{pair["a"]}` | `{pair["b"]}` | {", ".join(map(str, pair["seeds"]))} | {_Cell("")} | '
                 f'{_Cell("cer_")} | {recipe_verdicts.Judge(pair)}, {100 * pair["a_better"]:.1f} % of resamples |')
  return '\n'.join(lines)


def Origins(rows, groups=tuple(recipe_plan.GROUPS)):
  """Lines with the command, dates, machine and versions of each group's rows."""
  lines = []
  for group in groups:
    own = [row for row in rows if row['group'] == group]
    by_origin = {}
    for row in own:
      origin = f'{this_machine.Describe(row["machine"])}; {this_machine.DescribeVersions(row["versions"])}'
      by_origin.setdefault(origin, []).append(row)
    for origin, part in by_origin.items():
      dates = sorted({row['date'] for row in part})
      commits = sorted({row['versions']['commit'] for row in part})
      days = ' to '.join(dict.fromkeys([dates[0], dates[-1]]))
      lines.append(f'- {group}: `python -m tools.recipe {group}`; {days}; {origin}, commit {", ".join(commits)}.')
  return lines
