"""Session options that every graph of ours runs under.

TensorFlow 2.13's oneDNN fusions (the graph optimiser's remapper) give a forward pass
without gradients other values than the same pass in a training graph: a Conformer
that predicts held-out codes at 4.35 nats evaluated at 5.27. TensorFlow 2.21 gave 4.35 with
the remapper on; it is off on both stacks all the same, so that both run one way. What
it would buy in speed has not been measured.
"""

import os

from fm_lingvo import batch_parts
from fm_lingvo import errors
from lingvo import compat as tf
from lingvo.core import py_utils

_REMAPPING_OFF = 2  # RewriterConfig.OFF.
_ONE_PASS = 1  # RewriterConfig.ONE.
_NO_MEMORY_OPTIMIZATION = 1  # RewriterConfig.NO_MEM_OPT.
_deterministic = False  # See MakeDeterministic.
_on_cpu = False  # See ComputeOnCpu.
_operation_threads = 0  # See ComputeInParts; 0: TensorFlow's choice.


def Config():
  """A ConfigProto without the remapper."""
  return _WithoutRemapper(py_utils.SessionConfig())


def _WithoutRemapper(config):
  rewrite = config.graph_options.rewrite_options
  rewrite.remapping = _REMAPPING_OFF
  # A second pass over a training graph took seconds and removed one operation in three hundred.
  rewrite.meta_optimizer_iterations = _ONE_PASS
  if _on_cpu:
    rewrite.memory_optimization = _NO_MEMORY_OPTIMIZATION
  if _deterministic:
    config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 1
  elif _operation_threads:
    config.intra_op_parallelism_threads = _operation_threads
  return config


def MakeDeterministic():
  """Makes the operations of later sessions give the same bits each time, on the CPU.

  A thread alone: sums of several parts then have one order.
  """
  global _deterministic
  _deterministic = True
  tf.config.experimental.enable_op_determinism()


def ComputeOnCpu():
  """Spares later sessions the optimiser's search for tensors to move from a GPU's memory, a sixth of the first step's time."""
  global _on_cpu
  _on_cpu = True


def Cores():
  """Cores that this process computes on: so many as TensorFlow's own TF_NUM_INTEROP_THREADS says, or all that it may use.

  Raises:
    errors.ConfigError: It says no number.
  """
  text = os.environ.get('TF_NUM_INTEROP_THREADS', '0')
  if not text.isdecimal():
    raise errors.ConfigError(f'TF_NUM_INTEROP_THREADS={text} in the environment: expected a number of threads, 0 or more')
  return int(text) or len(os.sched_getaffinity(0))


def ComputeInParts(parts, cores):
  """Makes graphs built from now on compute batches in parts, side by side; see batch_parts.py.

  To be called before anything of TensorFlow runs: the first of a process, be it tf.data's functions, decides how many
  threads share an operation.

  Args:
    parts: Of a batch, >= 1.
    cores: That the parts share.
  """
  global _operation_threads
  batch_parts.Use(parts)
  if parts > 1:
    _operation_threads = max(1, cores // parts)
    tf.config.threading.set_intra_op_parallelism_threads(_operation_threads)


def PatchLingvo():
  """Makes Lingvo's own runners use the same options; calling it again is harmless."""
  if not hasattr(py_utils.SessionConfig, 'without_remapper'):
    original = py_utils.SessionConfig

    def SessionConfig(*args, **kwargs):
      return _WithoutRemapper(original(*args, **kwargs))

    SessionConfig.without_remapper = True
    py_utils.SessionConfig = SessionConfig
