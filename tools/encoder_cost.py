"""What one pass of an encoder costs: time and peak memory, in a process of its own.

  python -m tools.encoder_cost '{"size": "paper", "utterances": 2, "audio_seconds": 16, "backward": true}'

prints JSON. tools.length_scaling and tools.step_memory call it, a process a figure: memory that an earlier pass
left would count otherwise. The encoder is that of asr.BestRqPretrain; features are random, for their values change
no cost.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time

from fm_lingvo import errors

from .common import exit_codes

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
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
  backward: bool = False  # Forward and backward, gradients of all weights; else forward alone.
  warm: bool = True  # Measure the second pass; else the first, which optimises the graph too.


def Run(what):
  """Runs and measures a Pass, here.

  Returns:
    dict: seconds (wall clock) and cpu_seconds (of all threads: what other work on the machine does not change) of the
    pass; peak_gb, the most memory that this process ever had, and idle_gb, what it had before the first pass.
  """
  from absl import flags
  from lingvo import compat as tf
  from lingvo import model_registry
  from lingvo.core import py_utils

  from fm_lingvo.config import gin_config
  from fm_lingvo.runtime import session

  if not flags.FLAGS.is_parsed():  # Lingvo reads its own.
    flags.FLAGS(['encoder_cost'])
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
      idle = _Memory(os.getpid(), 'VmRSS')
      if what.warm:
        sess.run(result)
      wall, cpu = time.time(), time.process_time()
      sess.run(result)
      wall, cpu = time.time() - wall, time.process_time() - cpu
  return {'seconds': wall, 'cpu_seconds': cpu, 'peak_gb': _Memory(os.getpid(), 'VmHWM'), 'idle_gb': idle}


def Measure(what, memory_limit_gb, time_limit_seconds):
  """Runs a Pass in a process of its own.

  Returns:
    dict as Run's, or {'stopped': why} if it was ended at a limit.

  Raises:
    errors.ConfigError: The process failed otherwise.
  """
  process = subprocess.Popen(
    [sys.executable, '-m', 'tools.encoder_cost', json.dumps(dataclasses.asdict(what))],
    cwd=ROOT,
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
      if _Memory(process.pid, 'VmRSS') > memory_limit_gb:
        stopped = f'over {memory_limit_gb:g} GB'
      elif time.time() > deadline:
        stopped = f'over {time_limit_seconds:g} s'
  if stopped:
    process.kill()
    process.communicate()
    return {'stopped': stopped}
  if process.returncode:
    raise errors.ConfigError(f'{what}: {(err.strip().splitlines() or ["exit code %d" % process.returncode])[-1]}')
  return json.loads(out.splitlines()[-1])


def AddLimits(parser):
  """Adds the flags of Measure's limits to an ArgumentParser."""
  parser.add_argument(
    '--memory_limit_gb', type=float, default=12.0, help='a pass that takes more memory is stopped (default: 12)'
  )
  parser.add_argument(
    '--time_limit_seconds',
    type=float,
    default=1800.0,
    help='a pass that takes longer, start-up included, is stopped (default: 1800)',
  )


def _Memory(pid, field):
  """GB that /proc says of a process: VmRSS now, VmHWM at most; 0 if it has ended."""
  try:
    with open(f'/proc/{pid}/status', encoding='utf-8') as f:
      return next((int(line.split()[1]) / 2**20 for line in f if line.startswith(field + ':')), 0.0)
  except OSError:
    return 0.0


def Main(argv):
  """Runs the tool; returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='encoder_cost', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('what', metavar='JSON', help=f'fields {", ".join(f.name for f in dataclasses.fields(Pass))}')
  args = parser.parse_args(argv[1:])
  return exit_codes.Report('encoder_cost', lambda: _Run(args.what))


def _Run(what):
  try:
    print(json.dumps(Run(Pass(**json.loads(what)))))
  except (TypeError, KeyError, json.JSONDecodeError) as e:
    raise errors.ConfigError(e) from e


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  sys.exit(Main(sys.argv))
