"""Kinds of claims about the recipe's results, and for each one a line for or against it, computed from the numbers."""

import collections
import dataclasses
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

_JUDGED = {
  'better beyond': '',
  'better within': ', better, but within its interval',
  'equal': ', equal',
  'worse within': ', worse, within its interval',
  'worse beyond': ', worse beyond its interval',
}


@dataclasses.dataclass(frozen=True)
class Claim:
  """What is claimed of models, which are compared in pairs.

  `verdict` is called with the means of the rows by name and the comparisons by pair. It returns whether the claim is
  met and the figures for it, or None if they have not been measured.
  """

  text: str
  names: tuple[str, ...]
  pairs: tuple[tuple[str, str], ...]
  verdict: Callable[[dict, dict], tuple[bool, str] | None]


def NoWorse(what: str, name: str, baseline: str, baseline_is: str, *, labels: float, params: float) -> Claim:
  """With at most these shares of labels and trained parameters, a model has no higher WER than a baseline."""

  def _Verdict(means, pairs):
    if not {name, baseline} <= means.keys():
      return None
    ours, theirs, pair = means[name], means[baseline], pairs.get((name, baseline))
    trained, used = ours['trained_params'] / ours['total_params'], ours['target_label_fraction']
    excess = {
      'WER is higher by {:.1f} points': ours['target_wer'] - theirs['target_wer'],
      '{:.1f} points too many parameters': trained - params,
      '{:.1f} points too many labels': round(used - labels, 6),
    }
    failed = '; '.join(text.format(100 * value) for text, value in excess.items() if value > 0)
    figures = (
      f'{_Wer(ours)} WER with {100 * used:.1f} % of the labels ({ours["target_label_minutes"]:.1f} min) and '
      f'{100 * trained:.1f} % of the parameters, against {_Wer(theirs)}; seeds {_Seeds(ours)} and '
      f'{_Seeds(theirs)}'
    )
    return not failed, figures + (f'; {_Both(pair)}' if pair else '') + (f'. {failed}' if failed else '')

  return Claim(
    f'{what} on {100 * labels:g} % of the labels, at most {100 * params:g} % of the parameters trained, are '
    f'no worse than {baseline_is}',
    (name, baseline),
    ((name, baseline),),
    _Verdict,
  )


def Better(what: str, name: str, without: str) -> Claim:
  """A model has a lower WER than the same with something left out, beyond the confidence interval."""

  def _Verdict(unused_means, pairs):
    if (name, without) not in pairs:
      return None
    pair = pairs[name, without]
    judged = Judge(pair)
    return judged == 'better beyond', f'{name} against {without}: {_Both(pair)}{_JUDGED[judged]}'

  return Claim(
    f'{what}, improves on leaving it out, beyond its confidence interval', (name, without), ((name, without),), _Verdict
  )


def Meets(what: str, curve: tuple[str, ...], baseline: str, baseline_is: str, goal: float) -> Claim:
  """Of models on more and more labels, one with at most this share of them has no higher WER than a baseline."""

  def _Verdict(means, pairs):
    points = sorted((means[name]['target_label_fraction'], name) for name in curve if name in means)
    if baseline not in means or len(points) < 2:
      return None
    bar, wers = means[baseline]['target_wer'], {name: means[name]['target_wer'] for _, name in points}
    figures = f'{baseline} has {100 * bar:.1f} % WER; adapted, by share of the labels: ' + ', '.join(
      f'{100 * share:.1f} %: {100 * wers[name]:.1f}' for share, name in points
    )
    share, name = next(((share, name) for share, name in points if wers[name] <= bar), (None, None))
    if name is None:
      share, name = min(points, key=lambda point: wers[point[1]])
      return False, (
        f'they do not meet; nearest with {100 * share:.1f} %, {100 * (wers[name] - bar):.1f} points of '
        f'WER above. {figures}'
      )
    pair = pairs.get((name, baseline))
    against = f', {_Interval(pair)}, {_Resampled(pair)}' if pair else ''
    return round(share - goal, 6) <= 0, f'they meet at {100 * share:.1f} %{against}. {figures}'

  return Claim(
    f'{what} meets {baseline_is} with at most {100 * goal:g} % of the labels',
    (baseline, *curve),
    tuple((name, baseline) for name in curve),
    _Verdict,
  )


def Keeps(before: str, after: str, beside: str, beside_is: str) -> Claim:
  """The source WER after adaptation is in the confidence interval from before, or below; `beside` is shown, too."""

  def _Verdict(means, unused_pairs):
    if not {before, after} <= means.keys():
      return None
    old, new = means[before], means[after]
    shown = f'; {beside_is} {_Wer(means[beside], "source")}' if beside in means else ''
    return new['source_wer'] <= old['source_wer_high'], (
      f'source WER {_Wer(old, "source")} before, {_Wer(new, "source")} after, '
      f'{_Points(new["source_wer"] - old["source_wer"])} points{shown}. The encoder is unchanged without its '
      'adapters; the decoder is not'
    )

  return Claim('adaptation keeps the source, within the confidence interval from before', (before, after), (), _Verdict)


def Improves(what: str, names: tuple[str, ...]) -> Claim:
  """Each model has a lower CER than the one before, beyond its confidence interval, and no higher WER."""
  steps = tuple(zip(names[1:], names))

  def _Verdict(means, pairs):
    if not {*names} <= means.keys():
      return None
    better = all(
      pairs[a, b]['cer_high'] < 0 and pairs[a, b]['difference'] <= 0
      if (a, b) in pairs
      else means[a]['target_wer_high'] < means[b]['target_wer_low']
      for a, b in steps
    )
    rates = ', '.join(f'{name} {_Wer(means[name])} WER, {100 * means[name]["target_cer"]:.1f} % CER' for name in names)
    return better, rates + (f'; {_Resampled(pairs[steps[0]])}' if steps[0] in pairs else '')

  return Claim(f'{what}, CER beyond its confidence interval, WER no higher', names, steps, _Verdict)


def Verdicts(claims: Sequence[Claim], rows: Iterable[dict], comparisons: Iterable[dict]) -> list[str]:
  """Lines of Markdown, one a claim, each beginning with **met**, **missed** or **open** in bold."""
  means, pairs = Means(rows), {(pair['a'], pair['b']): pair for pair in comparisons}
  lines = []
  for claim in claims:
    found = claim.verdict(means, pairs)
    if found is None:
      missing = [name for name in claim.names if name not in means] or claim.names
      lines.append(f'**open** {claim.text}: not measured, needs {", ".join(missing)}')
    else:
      lines.append(f'**{"met" if found[0] else "missed"}** {claim.text}: {found[1]}')
  return lines


def Means(rows: Iterable[dict]) -> dict[str, dict]:
  """Name -> means of the numbers over seeds, with `seeds`, the list of them."""
  grouped = collections.defaultdict(list)
  for row in rows:
    grouped[row['name']].append(row)
  means = {}
  for name, own in grouped.items():
    means[name] = {
      key: sum(row[key] for row in own) / len(own) for key, value in own[0].items() if isinstance(value, (int, float))
    }
    means[name]['seeds'] = sorted(row['seed'] for row in own)
  return means


def Judge(pair: dict) -> str:
  """Of a against b: 'better beyond', 'better within', 'worse within' or 'worse beyond' the interval, or 'equal'."""
  if pair['difference'] == 0:
    return 'equal'
  if pair['difference'] < 0:
    return 'better beyond' if pair['high'] < 0 else 'better within'
  return 'worse beyond' if pair['low'] > 0 else 'worse within'


def _Points(value):
  return f'{100 * value:+.1f}'


def _Interval(pair, prefix=''):
  """'-3.1 points of WER (95 % CI -5.0 to -1.2)'."""
  difference, low, high = (_Points(pair[prefix + key]) for key in ('difference', 'low', 'high'))
  return f'{difference} points of {"CER" if prefix else "WER"} (95 % CI {low} to {high})'


def _Both(pair):
  return f'{_Interval(pair)}, {_Interval(pair, "cer_")}, {_Resampled(pair)}'


def _Resampled(pair):
  """What the intervals of a comparison are over."""
  if len(pair['seeds']) == 1:
    return 'one seed, voices resampled only'
  return f'seeds {"+".join(map(str, pair["seeds"]))} and voices resampled'


def _Seeds(mean):
  return '+'.join(str(seed) for seed in mean['seeds'])


def _Wer(mean, data='target'):
  return f'{100 * mean[f"{data}_wer"]:.1f} %'
