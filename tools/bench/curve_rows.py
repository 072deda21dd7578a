"""Rows of how cost grows with the length of the audio, the number of codebooks, and sets of adapters.

`curve` of a row has its points.
"""

import functools

import numpy as np

from .comparison import Comparison
from .comparison import Row
from .timing import Worker
from .workloads import BASE
from .workloads import PEAK
from .workloads import QUICK
from .workloads import TINY
from .workloads import Experiment


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
    one, points = workers[worker], []
    for x in () if one.failed else xs:
      points.append({'x': x, 'seconds': one.Median(f'{one.clock}@{x}'), 'peak_gb': one.Median(f'peak_gb@{x}')})
    return {'ours': Exponent(xs, [point[figure] for point in points]), 'curve': {'over': over, 'points': points}}

  note = 'no peer; the ratio is the exponent of a power law through the points from an eighth of the last one on'
  return Row(name, bar, unit='', ratio='ours', values=_Values, note=note)


def _Points(workers, xs):
  """Points of a curve of which each worker is one."""
  pairs = zip(xs, workers.values())
  return [{'x': x, 'seconds': one.seconds, 'peak_gb': one.peak_gb} for x, one in pairs if not one.failed]


def _Curves(setting):
  """Full, chunk-wise and streaming attention; remat; the quantizer alone and in a step; sets of adapters."""
  sizes = {**(QUICK if setting.quick else TINY), 'dtype': 'float32'}
  xs = (1, 2) if setting.quick else (1, 2, 5, 10, 20, 40, 60)
  bars = {'full': '', 'chunk-wise': '<= 1.1', 'streaming': '<= 1.1'}  # The latter two cost linear time.
  if setting.quick:
    bars = {'chunk-wise': ''}
  workers = [Worker(name, '.ours.length_curve', {**sizes, 'points': xs, 'attention': name}) for name in bars]
  rows = []
  for name, bar in bars.items():
    over = f'over 1 to {xs[-1]} s of audio, {name} attention'
    rows.append(_Growth(f'training step {over}', bar, name, xs, 's of audio'))
    rows.append(_Growth(f'its peak memory {over}', bar, name, xs, 's of audio', 'peak_gb'))
  yield Comparison(workers, rows)

  names, deep = ('with remat', 'without'), {**(QUICK if setting.quick else BASE), 'dtype': 'float32'}
  workers = [
    Worker(n, '.ours.step', {**deep, 'remat': n == names[0]}, is_peer=n == names[1], max_turns=2) for n in names
  ]
  note = 'no peer, but itself; remat recomputes each block in the backward pass'
  rows = [
    Row('training step, base, B 8 x 8 s, with remat beside one without', ratio='ours / peer', note=note),
    Row('its peak memory, base, with remat beside without', note=note, **PEAK),
  ]
  yield Comparison(workers, rows)

  xs = (1, 2) if setting.quick else (1, 2, 4, 8, 16, 32, 64)
  quantizer = Worker('quantizer', '.ours.codebook_curve', {**sizes, 'points': xs})
  growth = _Growth(f'quantizer over 1 to {xs[-1]} codebooks', '<= 1.1', 'quantizer', xs, 'codebooks')
  yield Comparison([quantizer], [growth])

  steps = (2,) if setting.quick else (1, 8, 64)
  workers = [Worker(f'{g} codebooks', '.ours.step', {**sizes, 'codebooks': g}) for g in steps]
  title = f"quantizer's share of a training step with {steps[-1]} codebooks"
  note = 'no peer; `share` is the quantizer alone, in graph mode, over the step'
  yield Comparison(workers, [Row(title, unit='', values=functools.partial(_QuantizerShare, steps), note=note)])

  counts = (0, 2) if setting.quick else (0, 1, 8)
  workers = [Experiment(setting.quick, 'AdapterFinetune', f'{n} sets', _AdapterBindings(n)) for n in counts]
  title = f'AdapterFinetune step with {counts[-1]} sets of adapters beside {counts[-2]}'
  note = (
    'no peer, but itself with fewer sets; one set is applied and trained, the others lie in the checkpoint; with '
    'none, the decoder is trained alone'
  )
  values = functools.partial(_MoreSets, counts)
  yield Comparison(workers, [Row(title, ratio='ours / peer', values=values, note=note)])


def _QuantizerShare(steps, workers, rows):
  """The quantizer's time, of the row before, as a share of the step's."""
  alone = {point['x']: point['seconds'] for point in rows[-1]['curve']['points']}
  points = _Points(workers, steps)
  for point in points:
    if point['x'] in alone:
      point['share'] = alone[point['x']] / point['seconds']
  shares = [point['share'] for point in points if 'share' in point]
  return {'ours': shares[-1] if shares else None, 'curve': {'over': 'codebooks', 'points': points}}


def _AdapterBindings(count):
  """Sets of adapters, the first of which is active and trained."""
  names = [f'domain{i}' for i in range(count)]
  return (
    f'task.encoder.adapters = {names!r}',
    f'task.encoder.active_adapter = {names[0] if names else None!r}',
    "task.train.learner.bprop_variable_filter = 'adapters/domain0/|/transducer/'",
  )


def _MoreSets(counts, workers, rows):
  del rows
  points = _Points(workers, counts)
  seconds = {point['x']: point['seconds'] for point in points}
  curve = {'over': 'sets of adapters', 'points': points}
  return {'ours': seconds.get(counts[-1]), 'peer': seconds.get(counts[-2]), 'curve': curve}


GROUPS = {'curves': _Curves}
