"""Our quantizer, timed: features in, codes out.

Sizes: batch, seconds, codebooks, codes; `xla`.
"""

from lingvo import compat as tf

from fm_lingvo.layers import quantizer

from .. import inputs
from . import graph


def SetUp(sizes):
  """See worker.py. The fact `codes` is how many differ: a quantizer gives more than one."""
  features = inputs.Features(sizes)
  layer = (
    quantizer.RandomProjectionQuantizer.Params()
    .Set(name='quantizer', stack=4, num_codebooks=sizes['codebooks'], codebook_size=sizes['codes'])
    .Instantiate()
  )
  paddings = tf.zeros(features.shape[:2])
  variables = [graph.Variable(features), layer.vars.projection, layer.vars.codebook, layer.vars.mean]
  graph.Session().run(tf.variables_initializer(layer.vars.Flatten()))

  def _Codes(features, projection, codebook, mean):
    theta = layer.theta.copy()
    theta.update(projection=projection, codebook=codebook, mean=mean)
    return [layer.FProp(theta, features, paddings)[0]]

  run, fetch = graph.Step(_Codes, variables, sizes)
  return run, {'codes': lambda: len(set(fetch(0).ravel().tolist()))}
