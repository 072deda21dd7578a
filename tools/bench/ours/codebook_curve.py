"""Our quantizer with 1, 2, 4, ... codebooks, timed.

Sizes: those of ours/quantizer.py, but for `codebooks`: `points`, a list of numbers of codebooks.
"""

from lingvo import compat as tf

from . import curve
from . import quantizer


def SetUp(sizes):
  """See worker.py and curve.Call."""
  points = {}
  for codebooks in sizes['points']:
    with tf.variable_scope(f'with_{codebooks}'):
      points[codebooks], _ = quantizer.SetUp({**sizes, 'codebooks': codebooks})
  return curve.Call(points), {}
