"""What the recipe's results say: a line for each claim, for or against it, computed from the numbers."""

import collections

from . import recipe_plan

LABEL_BAR, PARAMS_BAR, MEET_GOAL = 0.067, 0.179, 0.5
ADAPTED, SCRATCH, HARD = 'adapted', 'scratch_target', 'scratch_source_target'
# What is left out -> (model, the same without it).
STAGES = {
  'stage 1, pretraining': (ADAPTED, 'adapted_no_pretrain'),
  'stage 2, the Hydra': (ADAPTED, 'adapted_no_hydra'),
  'stage 3, the adaptation': (ADAPTED, 'hydra'),
  'stage 1 before any target label': ('hydra', 'hydra_no_pretrain'),
  'stage 2 before any target label': ('hydra', 'supervised'),
}
ABLATIONS = (
  ('full_finetune', ADAPTED),
  ('full_finetune_all', 'adapted_share_1'),
  ('adapter_dim_8', ADAPTED),
  ('adapter_dim_32', ADAPTED),
  ('adapter_parallel', ADAPTED),
  ('adapter_after_block', ADAPTED),
  ('codebooks_4_adapted', 'short_adapted'),
  ('pca_adapted', 'short_adapted'),
  ('source_best_rq_adapted', 'short_adapted'),
)
PROBES = ('probe_random', 'probe_pretrain', 'probe_hydra')
CURVE = tuple(recipe_plan.CurveName(share) for share in recipe_plan.CURVE_SHARES)
PAIRS = tuple(
  dict.fromkeys(
    [
      (ADAPTED, SCRATCH),
      *STAGES.values(),
      *ABLATIONS,
      *((name, baseline) for baseline in (SCRATCH, HARD) for name in CURVE),
      *zip(PROBES[1:], PROBES),
    ]
  )
)


def Means(rows):
  """dict: name -> dict of the means of numbers over seeds, with `seeds`, the list of them."""
  grouped = collections.defaultdict(list)
  for row in rows:
    grouped[row['name']].append(row)
  means = {}
  for name, own in grouped.items():
    means[name] = {
      key: sum(row[key] for row in own) / len(own)
      for key, value in own[0].items()
      if isinstance(value, (int, float)) and all(key in row for row in own)
    }
    means[name]['seeds'] = sorted(row['seed'] for row in own)
  return means


def Judge(pair):
  """Of a against b: 'better beyond', 'better within', 'worse within' or 'worse beyond' the interval, or 'equal'."""
  if pair['difference'] == 0:
    return 'equal'
  if pair['difference'] < 0:
    return 'better beyond' if pair['high'] < 0 else 'better within'
  return 'worse beyond' if pair['low'] > 0 else 'worse within'


def _Points(value):
  return f'{100 * value:+.1f}'


def Interval(pair, prefix=''):
  """'-3.1 points of WER (95 % CI -5.0 to -1.2)'."""
  unit = 'CER' if prefix else 'WER'
  return (
    f'{_Points(pair[prefix + "difference"])} points of {unit} (95 % CI {_Points(pair[prefix + "low"])} to '
    f'{_Points(pair[prefix + "high"])})'
  )


def _Both(pair):
  return f'{Interval(pair)}, {Interval(pair, "cer_")}, {Resampled(pair)}'


def Resampled(pair):
  """What the intervals of a comparison are over."""
  if len(pair['seeds']) == 1:
    return 'one seed, utterances resampled only'
  return f'seeds {"+".join(map(str, pair["seeds"]))} and utterances resampled'


def Verdicts(rows, comparisons):
  """Lines of Markdown, one a claim, each beginning with **met**, **missed** or **open** in bold.

  Args:
    rows: all rows.
    comparisons: as recipe_compare.Compare gives them.

  Returns:
    List of str.
  """
  means = Means(rows)
  pairs = {(pair['a'], pair['b']): pair for pair in comparisons}
  lines = [_Headline(means, pairs)]
  lines += [_StageHelps(what, *names, pairs) for what, names in STAGES.items()]
  lines.append(_Meeting(means, pairs, SCRATCH, 'all target labels', LABEL_BAR))
  lines.append(_Meeting(means, pairs, HARD, 'source and all target labels', MEET_GOAL))
  lines.append(_Forgetting(means))
  lines.append(_Probe(means, pairs))
  return lines


def _Open(claim, names):
  return f'**open** {claim}: not measured, needs {", ".join(names)}'


def _Headline(means, pairs):
  claim = (
    f'adapters and decoder on {100 * LABEL_BAR:g} % of the labels, at most {100 * PARAMS_BAR:g} % of the '
    'parameters trained, are no worse than from scratch on all target labels'
  )
  missing = [name for name in (ADAPTED, SCRATCH) if name not in means]
  if missing:
    return _Open(claim, missing)
  ours, theirs = means[ADAPTED], means[SCRATCH]
  trained, labels = ours['trained_params'] / ours['total_params'], ours['target_label_fraction']
  difference = ours['target_wer'] - theirs['target_wer']
  failed = []
  if difference > 0:
    failed.append(f'WER is higher by {100 * difference:.1f} points')
  if trained > PARAMS_BAR:
    failed.append(f'{100 * (trained - PARAMS_BAR):.1f} points too many parameters')
  if round(labels - LABEL_BAR, 6) > 0:
    failed.append(f'{100 * (labels - LABEL_BAR):.1f} points too many labels')
  figures = (
    f'{100 * ours["target_wer"]:.1f} % WER with {100 * labels:.1f} % of the labels '
    f'({ours["target_label_minutes"]:.1f} min) and {100 * trained:.1f} % of the parameters, against '
    f'{100 * theirs["target_wer"]:.1f} %; seeds {_Seeds(ours)} and {_Seeds(theirs)}'
  )
  pair = pairs.get((ADAPTED, SCRATCH))
  if pair:
    figures += f'; {_Both(pair)}'
  return f'**{"missed" if failed else "met"}** {claim}: {figures}' + (f'. {"; ".join(failed)}' if failed else '')


def _Seeds(mean):
  return '+'.join(str(seed) for seed in mean['seeds'])


def _StageHelps(what, name, without, pairs):
  claim = f'{what}, improves on leaving it out, beyond its confidence interval'
  pair = pairs.get((name, without))
  if pair is None:
    return _Open(claim, [name, without])
  judged = Judge(pair)
  note = {
    'better beyond': '',
    'better within': ', better, but within its interval',
    'equal': ', equal',
    'worse within': ', worse, within its interval',
    'worse beyond': ', worse beyond its interval',
  }[judged]
  return (
    f'**{"met" if judged == "better beyond" else "missed"}** {claim}: {name} against {without}: {_Both(pair)}{note}'
  )


def _Meeting(means, pairs, baseline, what, goal):
  claim = f'the adapted model meets from scratch on {what} with at most {100 * goal:g} % of the labels'
  curve = sorted((means[name]['target_label_fraction'], name) for name in CURVE if name in means)
  if baseline not in means or len(curve) < 2:
    return _Open(claim, [baseline, *[name for name in CURVE if name not in means]])
  bar = means[baseline]['target_wer']
  points = ', '.join(f'{100 * share:.1f} %: {100 * means[name]["target_wer"]:.1f}' for share, name in curve)
  figures = f'{baseline} has {100 * bar:.1f} % WER; adapted, by share of the labels: {points}'
  met = [(share, name) for share, name in curve if means[name]['target_wer'] <= bar]
  if not met:
    share, best = min(curve, key=lambda point: means[point[1]]['target_wer'])
    gap = means[best]['target_wer'] - bar
    return (
      f'**missed** {claim}: they do not meet; nearest with {100 * share:.1f} %, {100 * gap:.1f} points of WER '
      f'above. {figures}'
    )
  share, name = met[0]
  pair = pairs.get((name, baseline))
  against = f', {Interval(pair)}, {Resampled(pair)}' if pair else ''
  figures = f'they meet at {100 * share:.1f} %{against}. {figures}'
  return f'**{"met" if round(share - goal, 6) <= 0 else "missed"}** {claim}: {figures}'


def _Forgetting(means):
  claim = 'adaptation keeps the source'
  missing = [name for name in ('hydra', ADAPTED) if name not in means]
  if missing:
    return _Open(claim, missing)
  before, after = means['hydra'], means[ADAPTED]
  difference = after['source_wer'] - before['source_wer']
  kept = difference <= before['source_wer_high'] - before['source_wer']
  text = (
    f'source WER {100 * before["source_wer"]:.1f} % before, {100 * after["source_wer"]:.1f} % after, '
    f'{_Points(difference)} points'
  )
  if 'full_finetune' in means:
    text += f'; after full finetuning {100 * means["full_finetune"]["source_wer"]:.1f} %'
  return (
    f'**{"met" if kept else "missed"}** {claim}, within the confidence interval from before: {text}. The '
    'encoder is unchanged without its adapters; the decoder is not'
  )


def _Probe(means, pairs):
  claim = 'a CTC probe reads more from the encoder after each stage, CER beyond its confidence interval, WER no higher'
  missing = [name for name in PROBES if name not in means]
  if missing:
    return _Open(claim, missing)
  steps = list(zip(PROBES[1:], PROBES))
  rates = ', '.join(
    f'{name} {100 * means[name]["target_wer"]:.1f} % WER, {100 * means[name]["target_cer"]:.1f} % CER'
    for name in PROBES
  )
  better = all(
    pairs[step]['cer_high'] < 0 and pairs[step]['difference'] <= 0
    if step in pairs
    else means[step[0]]['target_wer_high'] < means[step[1]]['target_wer_low']
    for step in steps
  )
  return f'**{"met" if better else "missed"}** {claim}: {rates}' + (
    f'; {Resampled(pairs[steps[0]])}' if steps[0] in pairs else ''
  )
