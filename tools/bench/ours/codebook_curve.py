"""Our quantizer with more and more codebooks, timed. Sizes: those of ours/quantizer.py but codebooks; `points`, its numbers."""

from lingvo import compat as tf

from .. import worker
from . import curve
from . import quantizer


def SetUp(sizes):
  """See worker.Serve and curve.Call."""
  points = {}
  for codebooks in sizes['points']:
    with tf.variable_scope(f'with_{codebooks}'):
      points[codebooks], _ = quantizer.SetUp({**sizes, 'codebooks': codebooks})
  return curve.Call(points), {}


if __name__ == '__main__':
  worker.Serve(SetUp)
