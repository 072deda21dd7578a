"""The matrix products of a training step alone, in NumPy: the rate that the processor reaches at the model's shapes.

Sizes as those of tools/bench/ours/step.py.
"""

import numpy as np


def SetUp(sizes):
  """See worker.py. The fact `gflop` is what a call computes."""
  rows, shapes = Rows(sizes), Shapes(sizes)
  rng = np.random.default_rng(0)
  inputs = {k: rng.standard_normal((rows, k), np.float32) for k in {n for shape in shapes for n in shape}}
  weights = {shape: rng.standard_normal(shape, np.float32) for shape in set(shapes)}

  def _Call():
    for shape in shapes:
      x, y, w = inputs[shape[0]], inputs[shape[1]], weights[shape]
      for product in ((x, w), (y, w.T), (x.T, y)):  # Forward; gradients by the inputs and by the weights.
        np.matmul(*product)

  return _Call, {'gflop': GigaFlop(sizes)}


def Rows(sizes):
  """Encoded frames of a batch."""
  return int(25 * sizes['seconds']) * sizes['batch']


def Shapes(sizes):
  """[(K, L)] of the weights: each is multiplied with all frames."""
  width = sizes['width']
  # Two feed-forward modules, four projections of attention, a gated and a plain one of the convolution; the head.
  return sizes['layers'] * (
    [(width, 4 * width), (4 * width, width)] * 2 + [(width, width)] * 4 + [(width, 2 * width), (width, width)]
  ) + [(width, sizes['codes'])]


def GigaFlop(sizes):
  """10^9 operations of the products of a step: forward, gradients by the inputs and by the weights."""
  return 6e-9 * Rows(sizes) * sum(a * b for a, b in Shapes(sizes))
