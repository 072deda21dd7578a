"""Parts of a batch side by side, each on a core of its own.

Cores that share out every product wait for one another after each of some thousand operations; cores that have
utterances of their own meet at the end. docs/speed.md has what it saves.

B: utterances.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

_MOST = 8  # Parts of a batch: small batches have no more utterances.
_LAYER_SEEDS, _PART_SEEDS = (
  2**20,
  2**40,
)  # From one call of Apply, or part, to the next: more than it has random operations.
_parts = 1  # See Use.


def Suitable(cores):
  """How many parts suit so many cores: one for each, up to 8."""
  return min(_MOST, cores)


def Use(parts):
  """Graphs built from now on compute batches in so many parts, >= 1; session.ComputeInParts sets threads to match."""
  global _parts
  _parts = parts


def Apply(function, theta, *inputs, is_random=False):
  """`function(theta, *inputs)`, by parts of the batch.

  The function is traced once, however many parts there are; the graph that runs has a copy of it for each. Each part
  has dropout of its own.

  Args:
    function: (theta, *inputs) -> list of tensors [B, ...], whose rows depend on the same rows of the inputs only.
      Uses no other tensors.
    theta: NestedMap of variables' values.
    *inputs: Tensors [B, ...], B >= 1. It may be unknown, and less than the parts.
    is_random: Whether the function draws random numbers, as dropout does.

  Returns:
    List of what the function returns.
  """
  batch = py_utils.GetShape(inputs[0])[0]
  known = isinstance(batch, int)
  parts = min(_parts, batch) if known else _parts
  seed = py_utils.GetStepSeed()
  if parts < 2:
    outputs = function(theta, *inputs)
    _GoOn(seed, is_random)
    return outputs

  @tf.function(autograph=False)
  def _Part(seed, flat, *rows):
    py_utils.ResetStepSeed(seed)
    return function(theta.Pack(flat), *rows)

  bounds = [batch * i // parts for i in range(parts + 1)]
  outputs = []
  for i, (start, end) in enumerate(zip(bounds, bounds[1:])):
    rows = slice(start, end)
    if not known:  # Not every layer takes no row at all: an empty part computes one, and gives none.
      first = tf.minimum(start, batch - 1)
      rows = slice(first, tf.maximum(end, first + 1))
    found = _Part(seed + i * _PART_SEEDS, theta.Flatten(), *[x[rows] for x in inputs])
    outputs.append(found if known else [y[: end - start] for y in found])
  _GoOn(seed, is_random)
  return [tf.concat(pieces, axis=0) for pieces in zip(*outputs)]


def _GoOn(seed, is_random):
  """What is random behind Apply does not depend on the number of parts."""
  if is_random and not py_utils.use_tpu():  # Whose seeds are of 32 bits.
    py_utils.ResetStepSeed(seed + _LAYER_SEEDS)
