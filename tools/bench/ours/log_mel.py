"""Log-mel frames, timed: samples in, features out.

Sizes: batch, seconds; `lingvo`: whether Lingvo's layer computes them; `xla`.
"""

from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo.layers import frontend

from .. import inputs
from . import graph


def SetUp(sizes):
  """See worker.py. The fact `mean` is that of the features."""
  graph.ParseFlags()
  layer = frontend.LogMelFrontend.Params().Set(name='frontend', normalization='none').Instantiate()
  samples = graph.Variable(inputs.Samples(sizes) / 32768.0)

  def _Features(samples):
    if sizes['lingvo']:
      scaled = 32768.0 * tf.pad(samples, [[0, 0], [0, layer.overlap_samples]])
      found = layer.mel.FProp(layer.mel.theta, py_utils.NestedMap(src_inputs=scaled, paddings=tf.zeros_like(scaled)))
      return [found.src_inputs]
    return [layer.FProp(layer.theta, samples, tf.fill(samples.shape[:1], samples.shape[1])).features]

  run, fetch = graph.Step(_Features, [samples], sizes)
  # The last two frames reach beyond the samples: FProp has zeros there.
  return run, {'mean': lambda: float(fetch(0)[:, :-2].mean())}
