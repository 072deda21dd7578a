"""Paired bootstraps of the recipe's models on the target's test set.

N: utterances of the target's test set.
"""

from fm_lingvo import errors
from tools import recipe_rows
from tools import recipe_stage
from tools import recipe_verdicts


def Compare(settings, stages, rows):
  """Compares the pairs whose runs are there.

  Several seeds of a model count with the mean of their errors in each utterance, seeds that both models have. A model
  that is given no label of the target has one seed, which all of the other's are compared with.

  Args:
    settings: recipe_plan.Settings.
    stages: dict of all Stages.
    rows: rows that are measured.

  Returns:
    List of dicts: a, b, seeds (of a); for WER difference, low, high (of a - b, below 0 where a is better) and
    a_better, the share of resamples in which it is; for CER cer_difference, cer_low, cer_high.

  Raises:
    errors.ConfigError: two runs recognised different utterances.
  """
  measured = {(row['name'], row['seed']) for row in rows}
  by_row = {(stage.row, stage.seed): stage for stage in stages.values() if (stage.row, stage.seed) in measured}
  wanted = {name for pair in recipe_verdicts.PAIRS for name in pair}
  runs = {key: recipe_stage.RunDir(settings, stage) for key, stage in by_row.items() if key[0] in wanted}
  scores = {key: _Scores(run) for key, run in runs.items()}
  seeds = {name: sorted(seed for n, seed in scores if n == name and scores[n, seed]) for name in wanted}
  result = []
  for a, b in recipe_verdicts.PAIRS:
    own, other = seeds[a], seeds[b]
    if own and other and by_row[b, other[0]].share:
      own = other = [seed for seed in own if seed in other]
    if own and other:
      result.append(_Pair(a, b, own, [scores[a, seed] for seed in own], [scores[b, seed] for seed in other]))
  return result


def _Scores(run):
  """(ids, counts [N] of each utterance) of a run's hypotheses, None if they are not there."""
  found = recipe_rows.Hypotheses(run)
  if not found:
    return None
  from fm_lingvo import error_rates  # --help needs no NumPy.  pylint: disable=g-import-not-at-top
  ids = sorted(found)
  references, hypotheses = zip(*[found[utt_id] for utt_id in ids])
  return ids, error_rates.Score(references, hypotheses)['per_utterance']


def _Pair(a, b, seeds, scores_a, scores_b):
  from fm_lingvo import error_rates  # pylint: disable=g-import-not-at-top
  ids, counts = scores_a[0]
  if any(other != ids for other, _ in [*scores_a, *scores_b]):
    raise errors.ConfigError(f'{a}, {b}: their hypotheses are of different utterances of the target\'s test set')
  pair = {'a': a, 'b': b, 'seeds': seeds}
  for prefix, count, size in (('', 'errors', 'words'), ('cer_', 'char_errors', 'chars')):
    means = [sum(c[count] for _, c in scores) / len(scores) for scores in (scores_a, scores_b)]  # [N] each.
    found = error_rates.PairedBootstrap(*means, counts[size])
    pair.update({f'{prefix}{key}': round(float(found[key]), 6) for key in ('difference', 'low', 'high')})
    if not prefix:
      pair['a_better'] = round(float(found['a_better']), 4)
  return pair
