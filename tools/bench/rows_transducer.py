"""Rows of the transducer loss: loss and gradient by the logits, its error, its memory."""

import os

import numpy as np

from . import inputs
from . import party
from . import rows
from . import transducer_truth

# Graphemes and word pieces.
SIZES = {
  'W1': {'batch': 4, 'frames': 150, 'labels': 40, 'vocab': 28},
  'W2': {'batch': 4, 'frames': 200, 'labels': 50, 'vocab': 512},
}
LARGE = 'W3', {'batch': 8, 'frames': 200, 'labels': 50, 'vocab': 4096, 'calls': 1}
_QUICK = {'W0': {'batch': 2, 'frames': 20, 'labels': 5, 'vocab': 11}}
_QUICK_LARGE = 'W0', _QUICK['W0']
_BARS = {'W1': '>= 1.5', 'W2': '>= 4', 'W0': ''}
_DEPTH = 128  # Of the joint network, where memory is measured with it: size small's.
_OURS = ('ours, XLA', 'ours, graph')
_LOOP = 'a torch loop'


def Run(setting):
  """Rows of usual vocabularies, and the gradient's error."""
  for name, sizes in (_QUICK if setting.quick else SIZES).items():
    truth = transducer_truth.LossAndGradient(*inputs.Transducer(sizes))
    race = setting.Race(_Ours(sizes, check=True) + _Others(setting, sizes))
    _Disqualify(race, truth[0])
    shape = _Shape(name, sizes)
    yield rows.Compare(f'transducer loss + gradient, {shape}', race, _OURS, _BARS[name])
    yield _ErrorRow(f'error of its gradient, {shape}', race, truth[1])


def RunLarge(setting):
  """Rows of a vocabulary of word pieces by the thousand: time and memory."""
  name, sizes = _QUICK_LARGE if setting.quick else LARGE
  shape = _Shape(name, sizes)
  race = setting.Race(_Ours(sizes) + _Others(setting, sizes))
  _Disqualify(race, None)
  memory, note = (
    f'its peak memory beside the logits, {shape}',
    'the gradient by the logits, which every loss returns, is in it',
  )
  return [
    rows.Compare(f'transducer loss + gradient, {shape}', race, _OURS),
    rows.Compare(
      f'{memory}, beside a loss that keeps the softmax', race, _OURS, '<= 0.5', 'peak_gb', True, note, [_LOOP]
    ),
    rows.Compare(f'{memory}, beside the least', race, _OURS, '', 'peak_gb', True, note),
    _JointRow(setting, shape, sizes),
  ]


def _Shape(name, sizes):
  return f'{name}: B {sizes["batch"]}, T {sizes["frames"]}, U {sizes["labels"]}, V {sizes["vocab"]}'


def _Ours(sizes, **more):
  return [
    party.Party(name, 'tools.bench.ours.transducer', {**sizes, **more, 'xla': name.endswith('XLA')}) for name in _OURS
  ]


def _Others(setting, sizes):
  module = 'tools.bench.peers.transducer'
  packages = [
    ('fast_rnnt', 'fast-rnnt', 'torch'),
    ('optimized_transducer', 'optimized-transducer', 'torch'),
    ('torchaudio', 'torchaudio', 'torch'),
    ('torch', 'torch'),
  ]
  if sizes['vocab'] < 4096:  # It keeps a [B, T, U, V] of labels too.
    packages.append(('rnnt', 'rnnt'))
  return [
    setting.peers.Party(_LOOP if package == 'torch' else package, module, {**sizes, 'package': package}, *needs)
    for package, *needs in packages
  ]


def _Disqualify(race, loss):
  """Fails each party whose loss is another: it computed something else."""
  if loss is None:
    done = [m.facts['loss'] for m in race.values() if not m.failed]
    loss = float(np.median(done)) if done else 0.0
  for measured in race.values():
    if not measured.failed and not np.isclose(measured.facts['loss'], loss, rtol=1e-3):
      measured.failed = f'its loss is {measured.facts["loss"]:.6g}, that in float64 {loss:.6g}'


def _ErrorRow(name, race, truth):
  """Row of the largest error of our gradients against float64's."""
  worst = None
  for party_name in _OURS:
    path = race[party_name].facts.get('gradient')
    if path:
      worst = max(worst or 0.0, float(np.abs(np.load(path) - truth).max()))
      os.remove(path)
  return rows.Row(
    name,
    '',
    worst,
    None,
    '<= 1e-05',
    ratio=worst,
    note='largest absolute difference from the gradient in float64; the ratio is the error itself',
  )


def _JointRow(setting, shape, sizes):
  """Row of the memory of joint network and loss together, ours chunk by chunk."""
  sizes = {**sizes, 'depth': _DEPTH}
  race = setting.Race(
    _Ours(sizes)
    + [
      setting.peers.Party(
        'a torch joint and loop', 'tools.bench.peers.transducer', {**sizes, 'package': 'torch'}, 'torch'
      )
    ]
  )
  _Disqualify(race, None)
  return rows.Compare(
    f'peak memory of joint, loss and gradient, {shape}, J {_DEPTH}', race, _OURS, '<= 0.5', 'peak_gb', True
  )
