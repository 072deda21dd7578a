"""Splits a batch into parts that are computed in parallel, each on its own CPU cores.

If all cores share every matrix product, they synchronise after each of several thousand operations. If each core
computes its own utterances, they synchronise once, at the end. docs/speed.md has the measured gain.

B: utterances in a batch.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.runtime import computing

_MAX_PARTS = 8  # Small batches have no more utterances.
# Step seeds reserved for one call of Apply, and for one part of it: more than either has random operations.
_LAYER_SEEDS, _PART_SEEDS = 2**20, 2**40


def Suitable(cores):
  """Returns the number of parts to use on a number of cores: one per core, at most 8."""
  return min(_MAX_PARTS, cores)


def Use(parts):
  """Sets the number of parts, >= 1, of graphs built from now on; session.ComputeInParts also sets the threads."""
  computing.SETTINGS.parts = parts


def Apply(function, theta, *inputs, is_random=False):
  """Computes `function(theta, *inputs)` in parts of the batch.

  The function is traced once and copied in the executed graph for each part. Each part draws its own dropout.

  Args:
    function: (theta, *inputs) -> list of tensors [B, ...], in which each row depends only on the same row of the
      inputs. It must not use other tensors.
    theta: NestedMap of the values of variables.
    *inputs: Tensors [B, ...], B >= 1. B may be dynamic, and less than the number of parts.
    is_random: Whether the function draws random numbers, such as dropout.

  Returns:
    The list of tensors [B, ...] that the function returns.
  """
  batch = py_utils.GetShape(inputs[0])[0]
  known = isinstance(batch, int)
  parts = computing.SETTINGS.parts
  parts = min(parts, batch) if known else parts
  seed = py_utils.GetStepSeed()
  if parts < 2:
    outputs = function(theta, *inputs)
    _AdvanceStepSeed(seed, is_random)
    return outputs

  @tf.function(autograph=False)
  def _Part(seed, flat, *rows):
    py_utils.ResetStepSeed(seed)
    return function(theta.Pack(flat), *rows)

  bounds = [batch * i // parts for i in range(parts + 1)]
  outputs = []
  for i, (start, end) in enumerate(zip(bounds, bounds[1:])):
    rows = slice(start, end)
    if not known:  # Some layers fail on empty batches: an empty part computes one row and drops it.
      first = tf.minimum(start, batch - 1)
      rows = slice(first, tf.maximum(end, first + 1))
    part_outputs = _Part(seed + i * _PART_SEEDS, theta.Flatten(), *[x[rows] for x in inputs])
    outputs.append(part_outputs if known else [y[: end - start] for y in part_outputs])
  _AdvanceStepSeed(seed, is_random)
  return [tf.concat(pieces, axis=0) for pieces in zip(*outputs)]


def _AdvanceStepSeed(seed, is_random):
  """Makes random numbers after Apply independent of the number of parts."""
  if is_random and not py_utils.use_tpu():  # TPU seeds have 32 bits only.
    py_utils.ResetStepSeed(seed + _LAYER_SEEDS)
