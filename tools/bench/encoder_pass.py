"""Time and peak memory of one pass of an encoder, in a process of its own.

  python -m tools.bench.encoder_pass '{"size": "paper", "utterances": 2, "audio_seconds": 16, "backward": true}'

prints JSON. Every pass has its own process, because memory that an earlier pass left would count otherwise. The encoder
is that of asr.BestRqPretrain; features are random, for their values do not change the cost.
"""

import argparse
import dataclasses
import json
import os
import shlex
import subprocess
import sys
import time

from fm_lingvo import errors

from ..common import command_line
from ..common import exit_codes
from ..common import flag_types
from . import results
from . import tables
from . import worker

_FRAMES_PER_SECOND = 100
_POLL_SECONDS = 0.2
# Attention -> params of the encoder; 200 frames are USM's 8 s (arXiv 2303.01037).
ATTENTIONS = {
  'full': {},
  'chunk-wise': {'atten_chunk_size': 200},
  'streaming': {'causal': True, 'atten_left_context': 128, 'atten_right_context': 0},
}


@dataclasses.dataclass
class Pass:
  """What is measured."""

  size: str  # File of sizes, params/gin/SIZE.gin.
  audio_seconds: int  # Of each utterance.
  utterances: int = 1
  attention: str = 'full'  # One of ATTENTIONS.
  remat: bool = False
  backward: bool = False  # Forward and backward, with gradients of all weights; else forward alone.
  warm: bool = True  # Measure the second pass; else the first, in which TensorFlow also optimises the graph.


def Run(what: Pass) -> dict[str, float]:
  """Runs and measures a Pass in this process.

  Returns:
    seconds (wall clock) and cpu_seconds (processor time of all threads, which other work on the machine changes less)
    of the pass; peak_gb, the most memory that this process ever had, and idle_gb, its memory before the first pass.
  """
  from absl import flags
  from lingvo import compat as tf
  from lingvo import model_registry
  from lingvo.core import py_utils

  from fm_lingvo.config import gin_config
  from fm_lingvo.runtime import session

  if not flags.FLAGS.is_parsed():  # Lingvo reads its own.
    flags.FLAGS(['encoder_pass'])
  py_utils.SetEagerMode(False)
  gin_config.Configure('asr.BestRqPretrain', (), [f'BestRqPretrain.size = {what.size!r}'])
  task = model_registry.GetParams('asr.BestRqPretrain', 'Train').task
  p = task.encoder.Copy().Set(name='encoder', remat=what.remat, random_seed=1, **ATTENTIONS[what.attention])
  p.num_bins = task.frontend.mel.num_bins
  with tf.Graph().as_default():
    py_utils.GetOrCreateGlobalStepVar()
    layer = p.Instantiate()
    shape = [what.utterances, what.audio_seconds * _FRAMES_PER_SECOND]
    features = tf.random.stateless_normal([*shape, p.num_bins], [1, 2])
    encoded, _ = layer.FProp(layer.theta, features, tf.zeros(shape))
    result = tf.reduce_mean(encoded**2)
    if what.backward:
      result = tf.linalg.global_norm(tf.gradients(result, layer.vars.Flatten()))
    with tf.Session(config=session.Config()) as sess:
      sess.run(tf.global_variables_initializer())
      idle = worker.Memory('VmRSS')
      if what.warm:
        sess.run(result)
      timed = worker.Timed(lambda: sess.run(result), 1)
  return {
    'seconds': timed['seconds'],
    'cpu_seconds': timed['cpu_seconds'],
    'peak_gb': worker.Memory('VmHWM'),
    'idle_gb': idle,
  }


def Measure(what: Pass, memory_limit_gb: float, time_limit_seconds: float) -> dict:
  """Runs a Pass in a process of its own.

  Returns:
    As Run's, or {'stopped': why} if it was ended at a limit.

  Raises:
    errors.ConfigError: The process failed otherwise.
  """
  process = subprocess.Popen(
    [sys.executable, '-m', __spec__.name, json.dumps(dataclasses.asdict(what))],
    cwd=results.ROOT,
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
  )
  deadline, stopped = time.time() + time_limit_seconds, ''
  while not stopped:
    try:
      out, err = process.communicate(timeout=_POLL_SECONDS)
      break
    except subprocess.TimeoutExpired:
      if worker.Memory('VmRSS', process.pid) > memory_limit_gb:
        stopped = f'over {memory_limit_gb:g} GB'
      elif time.time() > deadline:
        stopped = f'over {time_limit_seconds:g} s'
  if stopped:
    process.kill()
    process.communicate()
    return {'stopped': stopped}
  if process.returncode:
    raise errors.ConfigError(f'{what}: {exit_codes.Why(err, process.returncode)}')
  return json.loads(out.splitlines()[-1])


def AddFlags(parser: argparse.ArgumentParser, size: str, result: str) -> None:
  """Adds the flags of a tool that measures passes of a size and writes docs/results/RESULT.json."""
  parser.add_argument('--size', default=size, help=f'file of sizes, params/gin/SIZE.gin (default: {size})')
  parser.add_argument(
    '--output',
    type=flag_types.LocalPath,
    default=results.Path(result),
    metavar='FILE',
    help=f'default: docs/results/{result}.json',
  )
  parser.add_argument(
    '--memory_limit_gb', type=float, default=12.0, help='a pass that takes more memory is stopped (default: 12)'
  )
  parser.add_argument(
    '--time_limit_seconds',
    type=float,
    default=1800.0,
    help='a pass that takes longer, start-up included, is stopped (default: 1800)',
  )


def MeasureAll(passes: list[tuple[str, str, Pass]], args: argparse.Namespace, argv: list[str]) -> None:
  """Measures passes, writes each as soon as it is measured, and prints the table.

  Args:
    passes: (row, column of the table, Pass).
    args: Of a parser with AddFlags.
    argv: Of the tool.
  """
  rows, origin = [], results.Origin(shlex.join(['python', '-m', f'tools.{argv[0]}', *argv[1:]]))
  for name, label, what in passes:
    measured = Measure(what, args.memory_limit_gb, args.time_limit_seconds)
    print(f'{label}, {name}: {measured}', file=sys.stderr, flush=True)
    rows.append(
      {
        'name': name,
        'label': label,
        **dataclasses.asdict(what),
        **origin,
        **{k: v if isinstance(v, str) else float(f'{v:.4g}') for k, v in measured.items()},
      }
    )
    result = results.Write(args.output, 'cost', rows)
  print(tables.Table(result))


def Main(argv: list[str]) -> int:
  """Runs one pass and prints JSON; returns the exit code."""
  parser = command_line.Parser('encoder_pass', __doc__)
  parser.add_argument('what', metavar='JSON', help=f'fields {", ".join(f.name for f in dataclasses.fields(Pass))}')
  args = parser.parse_args(argv[1:])

  def _Run():
    try:
      print(json.dumps(Run(Pass(**json.loads(args.what)))))
    except (TypeError, KeyError, json.JSONDecodeError) as e:
      raise errors.ConfigError(e) from e

  return exit_codes.Report('encoder_pass', _Run)


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
