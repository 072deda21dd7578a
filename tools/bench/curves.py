"""Rows of how cost grows with the length of the audio, the number of codebooks, and sets of adapters.

`curve` of a row has its points.
"""

from typing import Iterator

import numpy as np

from . import workloads
from .comparison import Comparison
from .comparison import Row
from .comparison import Setting
from .timing import Worker


def Exponent(xs: list[float], ys: list[float]) -> float | None:
  """Exponent a of the power law y = c x^a that fits best from max(x) / 8 on, where constant costs matter least.

  Args:
    xs: Numbers > 0.
    ys: As many; those that are not > 0 are left out.

  Returns:
    None if fewer than two points are left.
  """
  kept = [(x, y) for x, y in zip(xs, ys) if x >= max(xs) / 8 and y > 0]
  return float(np.polyfit(*np.log(kept).T, 1)[0]) if len(kept) > 1 else None


def _Growth(name, bar, worker, xs, over, figure='seconds'):
  """Row whose figure and ratio are the exponent of a figure of `worker`, whose turns are curve.Call's."""
  def _Values(workers, rows):
    del rows
    one = workers[worker]
    points = [] if one.failed else [
        {'x': x, 'seconds': one.Median(f'{one.clock}@{x}'), 'peak_gb': one.Median(f'peak_gb@{x}')} for x in xs]
    return {'ours': Exponent(xs, [point[figure] for point in points]), 'curve': {'over': over, 'points': points}}
  return Row(name, bar, unit='', ratio='ours', values=_Values, note=(
      'no peer; the ratio is the exponent of a power law through the points from an eighth of the last one on'))


def _Points(workers, xs):
  """Points of a curve of which each worker is one."""
  return [{'x': x, 'seconds': one.seconds, 'peak_gb': one.peak_gb} for x, one in zip(xs, workers.values()) if not one.failed]


def Curves(setting: Setting) -> Iterator[Comparison]:
  """The comparisons of the group."""
  sizes = {**(workloads.QUICK if setting.quick else workloads.TINY), 'dtype': 'float32'}
  pick = lambda full, quick: quick if setting.quick else full
  xs = pick((1, 2, 5, 10, 20, 40, 60), (1, 2))
  bars = pick({'full': '', 'chunk-wise': '<= 1.1'}, {'chunk-wise': '<= 1.1'})  # Where the arithmetic is linear.
  yield Comparison(
      [Worker(name, '.ours.length_curve', {**sizes, 'points': xs, 'attention': name}) for name in bars],
      [_Growth(f'{title} over 1 to {xs[-1]} s of audio, {name} attention', bar, name, xs, 's of audio', figure)
       for name, bar in bars.items()
       for figure, title in (('seconds', 'training step'), ('peak_gb', 'its peak memory'))])
  xs = pick((1, 2, 4, 8, 16, 32, 64), (1, 2))
  yield Comparison([Worker('quantizer', '.ours.codebook_curve', {**sizes, 'points': xs})],
                   [_Growth(f'quantizer over 1 to {xs[-1]} codebooks', '<= 1.1', 'quantizer', xs, 'codebooks')])
  yield _QuantizerShare(sizes, pick((1, 8, 64), (2,)))
  yield _AdapterSets(setting, pick((0, 1, 8), (0, 2)))


def _QuantizerShare(sizes, steps):
  def _Values(workers, rows):
    alone = {point['x']: point['seconds'] for point in rows[-1]['curve']['points']}
    points = _Points(workers, steps)
    for point in points:
      if point['x'] in alone:
        point['share'] = alone[point['x']] / point['seconds']
    shares = [point['share'] for point in points if 'share' in point]
    return {'ours': shares[-1] if shares else None, 'curve': {'over': 'codebooks', 'points': points}}
  return Comparison(
      [Worker(f'{g} codebooks', '.ours.step', {**sizes, 'codebooks': g}) for g in steps],
      [Row(f"quantizer's share of a training step with {steps[-1]} codebooks", unit='', values=_Values,
           note='no peer; `share` is the quantizer alone, in graph mode, over the step')])


def _AdapterSets(setting, counts):
  """A step of asr.AdapterFinetune with more sets of adapters, the first of which is active and trained."""
  def _Bindings(count):
    names = [f'domain{i}' for i in range(count)]
    return [f'task.encoder.adapters = {names!r}', f'task.encoder.active_adapter = {names[0] if names else None!r}',
            "task.train.learner.bprop_variable_filter = 'adapters/domain0/|/transducer/'"]
  def _Values(workers, rows):
    del rows
    points = _Points(workers, counts)
    seconds = {point['x']: point['seconds'] for point in points}
    return {'ours': seconds.get(counts[-1]), 'peer': seconds.get(counts[-2]),
            'curve': {'over': 'sets of adapters', 'points': points}}
  return Comparison(
      [workloads.Experiment(setting.quick, 'AdapterFinetune', f'{count} sets', _Bindings(count)) for count in counts],
      [Row(f'AdapterFinetune step with {counts[-1]} sets of adapters beside {counts[-2]}', ratio='ours / peer', values=_Values, note=(
          'no peer, but itself with fewer sets; one set is applied and trained, the others lie in the checkpoint; with none, '
          'the decoder is trained alone'))])
