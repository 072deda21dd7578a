"""Rows of how cost grows with the length of the audio, with codebooks, with sets of adapters; `curve` has a row's points."""

import numpy as np

from . import party
from . import rows
from . import rows_step

_POINTS = {
  'length': (1, 2, 5, 10, 20, 40, 60),
  'codebooks': (1, 2, 4, 8, 16, 32, 64),
  'steps': (1, 8, 64),
  'adapters': (0, 1, 8),
}
_QUICK = {'length': (1, 2), 'codebooks': (1, 2), 'steps': (2,), 'adapters': (0, 2)}
_ATTENTIONS = {'full': '', 'chunk-wise': '<= 1.1'}  # Bar on the exponent, where the arithmetic is linear.
_NOTE = 'the ratio is the exponent of a power law through the points from an eighth of the last one on'


def Run(setting):
  """Rows of the three curves."""
  points = _QUICK if setting.quick else _POINTS
  yield from _Length(setting, points['length'])
  yield from _Codebooks(setting, points['codebooks'], points['steps'])
  yield _Adapters(setting, points['adapters'])


def Exponent(xs, ys):
  """Exponent a of the power law y = c x^a that fits best where costs that do not grow count least: from max(x) / 8 on.

  Args:
    xs: Numbers > 0.
    ys: As many, > 0.

  Returns:
    float; None if there are not two such points.
  """
  kept = [(x, y) for x, y in zip(xs, ys) if x >= max(xs) / 8 and y > 0]
  return float(np.polyfit(*np.log(kept).T, 1)[0]) if len(kept) > 1 else None


def Points(measured, xs):
  """Of a Measured whose turns are curve.Call's: list of {x, seconds, peak_gb}, medians over the turns."""
  return (
    []
    if measured.failed
    else [
      {'x': x, 'seconds': measured.Median(f'{measured.clock}@{x}'), 'peak_gb': measured.Median(f'peak_gb@{x}')}
      for x in xs
    ]
  )


def _Length(setting, xs):
  """Rows of the time and the memory of a step over the seconds of its one utterance."""
  sizes = {**_Sizes(setting), 'points': xs}
  race = setting.Race(
    [
      party.Party(name, 'tools.bench.ours.length_curve', {**sizes, 'attention': name})
      for name in [*_ATTENTIONS][setting.quick :]
    ]
  )
  for name, measured in race.items():
    points, bar = Points(measured, xs), _ATTENTIONS[name]
    for figure, title in (('seconds', 'training step'), ('peak_gb', 'its peak memory')):
      yield _Growth(
        f'{title} over 1 to {xs[-1]} s of audio, {name} attention', points, figure, bar, 's of audio', measured
      )


def _Codebooks(setting, xs, steps):
  """Rows of the quantizer's time over its codebooks, and of its share of a step."""
  sizes = _Sizes(setting)
  alone = setting.Race([party.Party('quantizer', 'tools.bench.ours.codebook_curve', {**sizes, 'points': xs})])[
    'quantizer'
  ]
  points = Points(alone, xs)
  yield _Growth(f'quantizer over 1 to {xs[-1]} codebooks', points, 'seconds', '<= 1.1', 'codebooks', alone)
  race = setting.Race(
    [party.Party(f'{g} codebooks', 'tools.bench.ours.step', {**sizes, 'codebooks': g}) for g in steps]
  )
  whole = [{'x': g, 'seconds': m.seconds, 'peak_gb': m.peak_gb} for g, m in zip(steps, race.values()) if not m.failed]
  seconds = {point['x']: point['seconds'] for point in points}
  for point in whole:
    if point['x'] in seconds:
      point['share'] = seconds[point['x']] / point['seconds']
  shares = [point['share'] for point in whole if 'share' in point]
  yield rows.Row(
    f"quantizer's share of a training step with {steps[-1]} codebooks",
    '',
    shares[-1] if shares else None,
    None,
    note='no peer; `share` is the quantizer alone, in graph mode, over the step',
    curve=_Curve('codebooks', whole),
    parties={name: m.Json() for name, m in race.items()},
  )


def _Adapters(setting, xs):
  """Row of a step of asr.AdapterFinetune with more sets of adapters, one of which is trained."""
  race = setting.Race([_AdapterParty(setting, count) for count in xs])
  points = [{'x': x, 'seconds': m.seconds, 'peak_gb': m.peak_gb} for x, m in zip(xs, race.values()) if not m.failed]
  seconds = {point['x']: point['seconds'] for point in points}
  first, last = seconds.get(xs[-2]), seconds.get(xs[-1])
  return rows.Row(
    f'AdapterFinetune step with {xs[-1]} sets of adapters beside {xs[-2]}',
    's',
    last,
    first,
    ratio=last / first if first and last else None,
    curve=_Curve('sets of adapters', points),
    note='no peer, but itself with fewer sets; one set is applied and trained, the others lie in the checkpoint; with none, '
    'the decoder is trained alone',
    parties={name: m.Json() for name, m in race.items()},
  )


def _AdapterParty(setting, count):
  """Size small as in rows_stages.py; `count` sets, the first of which is active."""
  names = [f'domain{i}' for i in range(count)]
  bindings = [
    f'AdapterFinetune.size = {"tiny" if setting.quick else "small"!r}',
    'AdapterFinetune.max_seconds = 4.0',
    'AdapterFinetune.batch_seconds = 16.0',
    f'task.encoder.adapters = {names!r}',
    f'task.encoder.active_adapter = {names[0] if names else None!r}',
    "task.train.learner.bprop_variable_filter = 'adapters/domain0/|/transducer/'",
  ]
  return party.Party(
    f'{count} sets',
    'tools.bench.ours.experiment',
    {'model': 'asr.AdapterFinetune', 'bindings': bindings, 'seconds': 4.0},
  )


def _Sizes(setting):
  return {**(rows_step.QUICK if setting.quick else rows_step.TINY), 'dtype': 'float32'}


def _Growth(name, points, figure, bar, over, measured):
  """Row whose figure and ratio are the exponent of a figure over the points."""
  exponent = Exponent([p['x'] for p in points], [p[figure] for p in points]) if points else None
  return rows.Row(
    name,
    '',
    exponent,
    None,
    bar,
    ratio=exponent,
    note=f'no peer; {_NOTE}',
    curve=_Curve(over, points),
    parties={measured.party.name: measured.Json()},
  )


def _Curve(over, points):
  return {'over': over, 'points': points}
