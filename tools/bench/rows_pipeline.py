"""Rows of the input pipeline alone, and of how much of it a training step on a GPU eats."""

import tempfile

from . import party
from . import rows
from . import rows_step
from .ours import products

_SIZES = {'utterances': 256, 'batches': 64}
_QUICK = {'utterances': 24, 'batches': 4}
# Assumed: an A100 multiplies bfloat16 matrices at 312 TFLOP/s at most, by its data sheet, and a step keeps 40 % of that busy.
_PEAK_TFLOPS, _UTILISATION = 312, 0.4


def Run(setting):
  """Rows of its speed on a core, and of the cores that feed a step of size base."""
  with tempfile.TemporaryDirectory() as folder:
    sizes = {**(_QUICK if setting.quick else _SIZES), 'folder': folder}
    measured = setting.Race([party.Party('input pipeline', 'tools.bench.ours.pipeline', sizes)])['input pipeline']
  speed = None if measured.failed else measured.Median('audio_seconds') / measured.Median('cpu_seconds')
  yield rows.Row(
    'input pipeline, shards to log-mel batches, on a core',
    'x real time',
    speed,
    None,
    '>= 400',
    ratio=speed,
    note='no peer; the bar is on the seconds of audio in a second of the processor, of all threads',
    parties={'input pipeline': measured.Json()},
  )
  gflop, appetite = Appetite(rows_step.BASE)
  yield rows.Row(
    'cores of it that feed a step of size base on an A100',
    '',
    appetite / speed if speed else None,
    None,
    note=(
      f'by arithmetic: {gflop:.1f} GFLOP for a second of audio (products of blocks and head, forward and backward), '
      f'assumed {_PEAK_TFLOPS} TFLOP/s in bfloat16, {_UTILISATION:.0%} of it in use: {appetite:,.0f} times real time'
    ),
  )


def Appetite(sizes):
  """(GFLOP of a training step for a second of audio, seconds of audio that an A100 takes in a second)."""
  gflop = products.GigaFlop(sizes) / (sizes['batch'] * sizes['seconds'])
  return gflop, 1000 * _PEAK_TFLOPS * _UTILISATION / gflop
