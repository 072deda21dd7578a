"""TensorFlow session options for all graphs: passes of the graph optimiser, threads, determinism.

With TensorFlow 2.13's oneDNN fusions (the graph optimiser's remapper), a forward pass
without gradients gives different values than the same pass in a training graph: a Conformer
that predicts held-out codes at 4.35 nats evaluated at 5.27. TensorFlow 2.21 gave 4.35 with
the remapper on; it is off in both versions, so that both compute in the same way. Its effect
on speed has not been measured.
"""

import contextlib
import os

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.runtime import batch_split
from fm_lingvo.runtime import computing

_OFF = 2  # RewriterConfig.OFF.
# Passes of the graph optimiser that took a quarter of the first step and did not make the next ones faster; arithmetic
# optimisation, which stays, makes later steps a quarter faster.
_WITHOUT = (
  'constant_folding',
  'shape_optimization',
  'dependency_optimization',
  'loop_optimization',
  'layout_optimizer',
  'implementation_selector',
  'debug_stripper',
  'scoped_allocator_optimization',
  'pin_to_host_optimization',
)
_ONE_PASS = 1  # RewriterConfig.ONE.
_NO_MEMORY_OPTIMIZATION = 1  # RewriterConfig.NO_MEM_OPT.


def Config():
  """Returns a ConfigProto with the options that this module has chosen."""
  return _WithOptions(py_utils.SessionConfig())


def _WithOptions(config):
  settings = computing.SETTINGS
  rewrite = config.graph_options.rewrite_options
  rewrite.remapping = _OFF
  # A second pass over a training graph took seconds and removed one operation in three hundred.
  rewrite.meta_optimizer_iterations = _ONE_PASS
  if settings.on_cpu:
    for name in _WITHOUT:
      setattr(rewrite, name, _OFF)
    rewrite.memory_optimization = _NO_MEMORY_OPTIMIZATION
  if settings.deterministic:
    config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 1
  elif settings.operation_threads:
    config.intra_op_parallelism_threads = settings.operation_threads
  return config


def MakeDeterministic():
  """Makes later sessions give bit-identical results on the CPU.

  Uses a single thread, so that sums are always computed in the same order.
  """
  computing.SETTINGS.deterministic = True
  tf.config.experimental.enable_op_determinism()


def ComputeOnCpu():
  """Turns off what costs the first step time and gains nothing on a CPU.

  That is the passes in _WITHOUT, and the search for tensors to swap out of GPU memory, which took a sixth of the step.
  """
  computing.SETTINGS.on_cpu = True


def Cores():
  """Returns the number of cores to compute on: TF_NUM_INTEROP_THREADS if set, else all cores available to the process.

  Raises:
    errors.ConfigError: TF_NUM_INTEROP_THREADS is not a number >= 0.
  """
  text = os.environ.get('TF_NUM_INTEROP_THREADS', '0')
  if not text.isdecimal():
    raise errors.ConfigError(
      f'TF_NUM_INTEROP_THREADS={text} in the environment: expected a number of threads, 0 or more'
    )
  return int(text) or len(os.sched_getaffinity(0))


def ComputeInParts(parts, cores):
  """Makes graphs built from now on compute batches in parallel parts; see batch_split.py.

  Must be called before any TensorFlow operation runs: the first one, including those of tf.data, fixes the number of
  intra-op threads of the process. A later call changes only the parts.

  Args:
    parts: Parts of a batch, >= 1.
    cores: Cores that the parts share.
  """
  batch_split.Use(parts)
  threads = computing.SETTINGS.operation_threads = max(1, cores // parts) if parts > 1 else 0
  if threads:
    with contextlib.suppress(RuntimeError):  # Operations have run: an earlier run of this process.
      tf.config.threading.set_intra_op_parallelism_threads(threads)


def PatchLingvo():
  """Makes Lingvo's own runners use the same session options; idempotent."""
  if not hasattr(py_utils.SessionConfig, 'has_options'):
    original = py_utils.SessionConfig

    def SessionConfig(*args, **kwargs):
      return _WithOptions(original(*args, **kwargs))

    SessionConfig.has_options = True
    py_utils.SessionConfig = SessionConfig
