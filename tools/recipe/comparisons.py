"""Paired bootstraps of the recipe's models on the target's test set, over voices and seeds.

Utterances of one voice are not independent, so whole voices are resampled.

N: voices of the target's test set, R: resamples, S: seeds of a model.
"""

from collections.abc import Iterable

import numpy as np

from fm_lingvo import errors
from fm_lingvo.evaluation import error_rates

from . import labels as labels_lib
from . import rows as rows_lib
from . import stage_run
from .stage_spec import RunName
from .stage_spec import Settings
from .stage_spec import Stage

_SEED = 20240301


def Compare(
  settings: Settings,
  stages: dict[str, Stage],
  labels: labels_lib.Labels,
  rows: list[dict],
  pairs: Iterable[tuple[str, str]],
) -> list[dict]:
  """Compares pairs of models whose runs are there, and are those that the rows are of.

  Several seeds of a model count with the mean of their errors for each voice, seeds that both models have; the
  intervals are then over voices and seeds. The one seed of a model that is given no label of the target is
  compared with all of the other's.

  Returns:
    List of dicts: a, b, seeds (of a; more than one: they are resampled, too); for WER difference, low, high (of a - b,
    below 0 where a is better) and a_better, the share of resamples in which it is; for CER cer_difference, cer_low,
    cer_high; stamps, those of the rows that count.

  Raises:
    errors.ConfigError: two runs recognised different utterances.
  """
  pairs = list(dict.fromkeys(pairs))
  scores = {}  # Name -> seed -> (names of the utterances, their counts).
  stamps = {(row['name'], row['seed']): row['stamp'] for row in rows}
  for row in rows:
    run_dir = stage_run.RunDir(settings, RunName(row['name'], row['seed']))
    if any(row['name'] in pair for pair in pairs) and stage_run.IsOf(run_dir, row['stamp']):
      found = sorted(rows_lib.Hypotheses(run_dir).items())
      if found:
        references, hypotheses = zip(*(texts for _, texts in found))
        scores.setdefault(row['name'], {})[row['seed']] = (
          [utt_id for utt_id, _ in found],
          error_rates.Score(references, hypotheses)['per_utterance'],
        )
  result = []
  for a, b in pairs:
    own, other = sorted(scores.get(a, ())), sorted(scores.get(b, ()))
    if own and other and (stages[b].share or len(other) > 1):
      own = other = [seed for seed in own if seed in other]
    if own and other:
      voices = {row['utt_id']: row['speaker'] for row in labels.Of(stages[a].target).test}
      pair = _Pair(a, b, own, [scores[a][seed] for seed in own], [scores[b][seed] for seed in other], voices)
      counted = {stamps[a, seed] for seed in own} | {stamps[b, seed] for seed in other}
      result.append({**pair, 'stamps': sorted(counted)})
  return result


def WithKept(made: list[dict], earlier: list[dict], rows: list[dict], pairs: Iterable[tuple[str, str]]) -> list[dict]:
  """Adds earlier comparisons to those of the runs that are here.

  Args:
    made: of Compare().
    earlier: those of the results file; one stays if all rows that it is of do, and `made` has none of as many seeds.
    rows: all rows that the results will have.
    pairs: what is compared, in the order of the result; other earlier comparisons go.
  """
  stamps = {row['stamp'] for row in rows}
  found = {(pair['a'], pair['b']): pair for pair in earlier if pair.get('stamps') and {*pair['stamps']} <= stamps}
  for pair in made:
    kept = found.get((pair['a'], pair['b']))
    if kept is None or len(pair['seeds']) >= len(kept['seeds']):
      found[pair['a'], pair['b']] = pair
  return [found[pair] for pair in dict.fromkeys(pairs) if pair in found]


def _Pair(a, b, seeds, scores_a, scores_b, voices):
  ids, counts = scores_a[0]
  if any(other != ids for other, _ in [*scores_a, *scores_b]):
    raise errors.ConfigError(f"{a}, {b}: their hypotheses are of different utterances of the target's test set")
  pair = {'a': a, 'b': b, 'seeds': seeds}
  _, voice = np.unique([voices.get(utt_id, utt_id) for utt_id in ids], return_inverse=True)  # [utterances]
  for prefix, count, size in (('', 'errors', 'words'), ('cer_', 'char_errors', 'chars')):
    own, other = ([np.bincount(voice, c[count]) for _, c in scores] for scores in (scores_a, scores_b))
    found = Bootstrap(own, other, np.bincount(voice, counts[size]))
    pair.update({f'{prefix}{key}': round(float(found[key]), 6) for key in ('difference', 'low', 'high')})
    pair.setdefault('a_better', round(float(found['a_better']), 4))
  return pair


def Bootstrap(errors_a, errors_b, words) -> dict[str, float]:
  """As error_rates.PairedBootstrap, for several seeds of model A: they are drawn with replacement, too.

  Of few seeds such an interval is rather too narrow: three have a third less variance than those to come.

  Args:
    errors_a: numbers [S, N], errors of each seed of A for each voice.
    errors_b: numbers [S, N] of B, drawn with those of A, or [1, N]: B has one seed.
    words: numbers [N], words of the references of each voice.

  Returns:
    difference, low, high, a_better.
  """
  difference, words = np.subtract(errors_a, errors_b), np.asarray(words)  # [S, N], [N]
  if len(difference) == 1:
    return error_rates.PairedBootstrap(np.asarray(errors_a)[0], np.asarray(errors_b)[0], words)
  rng = np.random.RandomState(_SEED)
  count, size = difference.shape
  rates = np.empty(error_rates.RESAMPLES)  # [R]
  for i in range(error_rates.RESAMPLES):
    seeds, voices = rng.randint(count, size=count), rng.randint(size, size=size)
    drawn = np.bincount(seeds, minlength=count) @ difference / count  # [N]
    rates[i] = drawn[voices].sum() / max(1, words[voices].sum())
  low, high = np.percentile(rates, [2.5, 97.5])
  return dict(
    difference=difference.mean(axis=0).sum() / max(1, words.sum()), low=low, high=high, a_better=np.mean(rates < 0)
  )
