"""Measures how long a streaming run takes for each step of speech, on one core.

  trainer --model=asr.StreamingSupervised --gin.StreamingSupervised.size=small --gin.StreamingSupervised.max_steps=1 \\
    --logdir=runs/small
  python -m tools.bench.stream_latency runs/small --beams=1,8 --seconds=30
  python -m tools.bench.stream_latency runs/small --beams=1,8 --add=stream_latency --label=small

It gives noise to a stream, or --audio, as fast as it is heard, and prints what a step takes; --add=NAME keeps the
figures in docs/results/NAME.json. A step costs the same whatever was learned, but for the labels that are emitted, so a
run of one step of training measures a size. Times are processor time, so that other programs of the machine do not
count. Exit code 2: a run that cannot stream, or no recording, with a one-line message.
"""

import argparse
import math
import os
import sys
import time
from typing import Any

import numpy as np

from fm_lingvo import audio
from fm_lingvo import errors
from fm_lingvo.decoding import search_options
from fm_lingvo.inference import api
from fm_lingvo.inference import streaming
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import files as file_system

from ..common import command_line
from ..common import exit_codes
from ..common import flag_types
from ..common import run_flags
from ..figures import kept_figures

_WARM_UP = 10  # Steps that are not counted.
# Key of Measure -> what it is called in docs/results, and its unit.
_FIGURES = {
  'median': ('processor time of a step, median', 'ms'),
  '90 %': ('processor time of a step, 90 %', 'ms'),
  'real-time factor': ('real-time factor on one core', ''),
  'waits for': ('speech that a step waits for', 's'),
}


def Measure(model: Any, samples: np.ndarray, beam_size: int, step_seconds: float) -> dict[str, float]:
  """Returns a step's milliseconds of sound and of processor time (median, 90 %), and the other _FIGURES.

  Args:
    model: A Model.
    samples: int16 [n] at 16 kHz.
    beam_size: Hypotheses.
    step_seconds: See Model.stream; `step` of the result is what it is rounded to.

  Raises:
    errors.ConfigError: There is too little sound.
  """
  stream = model.stream(beam_size=beam_size, step_seconds=step_seconds)
  size, taken = int(stream.step_seconds * audio_format.SAMPLE_RATE), []
  for start in range(0, len(samples), size):
    before, steps = time.process_time(), stream.steps
    stream.accept(samples[start : start + size], audio_format.SAMPLE_RATE)
    if stream.steps > steps:
      taken.append(time.process_time() - before)
  taken = taken[_WARM_UP:]
  if not taken:
    raise errors.ConfigError(f'--seconds: expected more than {_WARM_UP} steps of {stream.step_seconds:g} s')
  middle, high = (float(np.percentile(taken, share) * 1000) for share in (50, 90))
  return {
    'step': stream.step_seconds * 1000,
    'median': middle,
    '90 %': high,
    'real-time factor': sum(taken) / len(taken) / stream.step_seconds,
    'waits for': stream.latency,
  }


def _Run(args: argparse.Namespace) -> None:
  kept_figures.Start('bench.stream_latency', args)
  if not 0 < args.seconds < math.inf:
    raise errors.ConfigError(f'--seconds={args.seconds:g}: expected > 0 and finite')
  os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # Before TensorFlow counts the cores.
  samples = (np.random.RandomState(0).randn(int(args.seconds * audio_format.SAMPLE_RATE)) * 1000).astype(np.int16)
  if args.audio:
    try:
      samples = audio.Decode(args.audio)
    except audio.Rejected as e:
      raise errors.AudioError(args.audio, e.reason, e.detail) from e
  for beam_size in args.beams:
    with api.load(args.run, search=search_options.Search(beam_size=beam_size)) as model:
      for step_seconds in args.steps:
        measured = Measure(model, samples, beam_size, step_seconds)
        part = f'beam of {beam_size}, steps of {measured.pop("step"):.0f} ms'
        print(f'{part}: ' + ', '.join(f'{name} {value:.3g}' for name, value in measured.items()), flush=True)
        kept_figures.Keep(args, [(_FIGURES[key][0], value, _FIGURES[key][1]) for key, value in measured.items()], part)


def Main(argv: list[str]) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('stream_latency', __doc__)
  parser.add_argument('run', metavar='RUN', type=run_flags.RunFolder, help='folder of a run that can stream')
  parser.add_argument(
    '--beams', type=flag_types.Numbers(int), default=[1, 8], metavar='K,K,...', help='beam sizes (default: 1,8)'
  )
  parser.add_argument(
    '--steps',
    type=flag_types.Numbers(float),
    default=[streaming.STEP_SECONDS],
    metavar='S,S,...',
    help=f'seconds of a step (default: {streaming.STEP_SECONDS:g})',
  )
  parser.add_argument('--seconds', type=float, default=30.0, help='length of the noise (default: 30)')
  parser.add_argument('--audio', type=file_system.ExpandUser, help='a recording instead of noise')
  kept_figures.AddFlags(parser)
  args = parser.parse_args(argv[1:])
  args.given = argv[1:]
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  return exit_codes.Report('stream_latency', lambda: _Run(args))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
