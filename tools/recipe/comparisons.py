"""Paired bootstraps of the recipe's models on the target's test set, over utterances and seeds.

N: utterances of the target's test set, R: resamples, S: seeds of a model.
"""

from fm_lingvo import errors
from tools import recipe_rows
from tools import recipe_stage
from tools import recipe_verdicts

_SEED = 20240301
_RATES = (('', 'errors', 'words'), ('cer_', 'char_errors', 'chars'))


def Compare(settings, stages, rows):
  """Compares the pairs whose runs are there, and are those that the rows are of.

  Several seeds of a model count with the mean of their errors in each utterance, seeds that both models have; the
  intervals are then over utterances and seeds. A model that is given no label of the target has one seed, which all of
  the other's are compared with.

  Args:
    settings: recipe_plan.Settings.
    stages: dict of all Stages.
    rows: rows that are measured.

  Returns:
    List of dicts: a, b, seeds (of a; more than one: they are resampled, too); for WER difference, low, high (of a - b,
    below 0 where a is better) and a_better, the share of resamples in which it is; for CER cer_difference, cer_low,
    cer_high.

  Raises:
    errors.ConfigError: two runs recognised different utterances.
  """
  stamps = {(row['name'], row['seed']): row['stamp'] for row in rows}
  by_row = {(stage.row, stage.seed): stage for stage in stages.values() if (stage.row, stage.seed) in stamps}
  wanted = {name for pair in recipe_verdicts.PAIRS for name in pair}
  runs = {key: recipe_stage.RunDir(settings, stage) for key, stage in by_row.items() if key[0] in wanted}
  scores = {key: _Scores(run) for key, run in runs.items() if recipe_stage.IsOf(run, stamps[key])}
  seeds = {name: sorted(seed for n, seed in scores if n == name and scores[n, seed]) for name in wanted}
  result = []
  for a, b in recipe_verdicts.PAIRS:
    own, other = seeds[a], seeds[b]
    if own and other and by_row[b, other[0]].share:
      own = other = [seed for seed in own if seed in other]
    if own and other:
      result.append(_Pair(a, b, own, [scores[a, seed] for seed in own], [scores[b, seed] for seed in other]))
  return result


def Bootstrap(errors_a, errors_b, words):
  """As error_rates.PairedBootstrap, for several seeds of model A: they are drawn with replacement, too.

  Of few seeds such an interval is rather too narrow: three have a third less variance than those to come.

  Args:
    errors_a: numbers [S, N], errors of each seed of A in each utterance.
    errors_b: numbers [S, N] of B, drawn with those of A, or [1, N]: B has one seed.
    words: numbers [N], words of the references.

  Returns:
    dict of floats: difference, low, high, a_better.
  """
  import numpy as np  # pylint: disable=g-import-not-at-top
  from fm_lingvo import error_rates  # --help needs no NumPy.  pylint: disable=g-import-not-at-top
  difference, words = np.subtract(errors_a, errors_b), np.asarray(words)  # [S, N], [N]
  if len(difference) == 1:
    return error_rates.PairedBootstrap(np.asarray(errors_a)[0], np.asarray(errors_b)[0], words)
  rng = np.random.RandomState(_SEED)
  count, size = difference.shape
  rates = np.empty(error_rates.RESAMPLES)  # [R]
  for i in range(error_rates.RESAMPLES):
    seeds, utterances = rng.randint(count, size=count), rng.randint(size, size=size)
    drawn = np.bincount(seeds, minlength=count) @ difference / count  # [N]
    rates[i] = drawn[utterances].sum() / max(1, words[utterances].sum())
  low, high = np.percentile(rates, [2.5, 97.5])
  return dict(difference=difference.mean(axis=0).sum() / max(1, words.sum()), low=low, high=high,
              a_better=np.mean(rates < 0))


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
  ids, counts = scores_a[0]
  if any(other != ids for other, _ in [*scores_a, *scores_b]):
    raise errors.ConfigError(f'{a}, {b}: their hypotheses are of different utterances of the target\'s test set')
  pair = {'a': a, 'b': b, 'seeds': seeds}
  for prefix, count, size in _RATES:
    found = Bootstrap([c[count] for _, c in scores_a], [c[count] for _, c in scores_b], counts[size])
    pair.update({f'{prefix}{key}': round(float(found[key]), 6) for key in ('difference', 'low', 'high')})
    if not prefix:
      pair['a_better'] = round(float(found['a_better']), 4)
  return pair
