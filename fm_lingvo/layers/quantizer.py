"""The frozen random-projection quantizer of BEST-RQ: log-mel frames -> target codes.

B: utterances, T: log-mel frames, F: mel bins, S: stacked frames, N = T / S,
H = S * F: stacked width, K: codebook width, V: codes per codebook, G: codebooks.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import base_layer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.utils import ranges
from fm_lingvo.utils import seeds
from fm_lingvo.utils import suggest

PROJECTIONS = ('xavier', 'pca')


def StackFrames(features, paddings, stack):
  """Concatenates every `stack` frames into one.

  Args:
    features: [B, T, F], T a multiple of `stack`.
    paddings: [B, T], 1 on padding.
    stack: Number of frames to concatenate, >= 1.

  Returns:
    (stacked [B, T / stack, stack * F], paddings [B, T / stack]); a stack is
    padding if any of its frames is.
  """
  batch, time, width = py_utils.GetShape(features, 3)
  # [B, T, F] -> [B, T / S, S * F]
  stacked = tf.reshape(features, [batch, time // stack, stack * width])
  # [B, T] -> [B, T / S, S] -> [B, T / S]
  paddings = tf.reshape(paddings, [batch, time // stack, stack])
  return stacked, tf.reduce_max(paddings, axis=2)


class RandomProjectionQuantizer(base_layer.BaseLayer):
  """G frozen projections and codebooks; each assigns a code to every stack of frames.

  BEST-RQ (arXiv 2202.01855, section 3.1, eq. 1): the code is the nearest of V
  l2-normalised codewords to the l2-normalised projection of S stacked frames. On
  the unit sphere this is argmax_v <A x, c_v>. The length of A x does not change the
  argmax, so that no normalisation of the projection is needed. Several codebooks are
  independent of each other, as in USM (arXiv 2303.01037, section 3.1).

  Projections and codebooks are variables, so that they are saved in checkpoints, but
  are never trained. Everything is computed in float32, whatever the compute dtype.
  """

  set_by_owner = {'num_bins': 'since the head sets it to task.frontend.mel.num_bins'}

  @classmethod
  def Params(cls):
    p = super().Params()
    p.fprop_dtype = tf.float32
    p.Define('num_bins', 80, 'Mel bins F of a frame, > 0.')
    p.Define(
      'stack',
      None,
      'Number of frames S stacked before the projection, >= 1; in a best_rq head None: those of an encoded frame, so '
      'that it has one code.',
    )
    p.Define('num_codebooks', 1, 'Number of independent codebooks G, >= 1; 16 in USM.')
    p.Define('codebook_size', 8192, 'Number of codes V per codebook, >= 2.')
    p.Define('codebook_dim', 16, 'Width K of a codeword, >= 1.')
    p.Define(
      'projection',
      'xavier',
      'xavier: random, as in BEST-RQ; pca: the K leading whitened principal '
      'components of stacked frames (arXiv 2606.30671), computed before the '
      'first step of a local run and shared by all codebooks.',
    )
    p.Define('pca_batches', 50, 'Training batches, >= 1, from which the pca projection is computed.')
    p.Define('seed', 1, 'Seed, >= 0, of the projections and codebooks.')
    return p

  @classmethod
  def Idle(cls, p):
    """The params that have no effect with the values of the others; see config/idle.py."""
    return {} if p.projection == 'pca' else {'pca_batches': "without projection = 'pca'"}

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    ranges.AtLeast(p, num_bins=1, stack=1, num_codebooks=1, codebook_size=2, codebook_dim=1, pca_batches=1)
    seeds.Check(f'{p.name}.seed', p.seed, none=False)
    suggest.CheckChoice(f'{p.name}.projection', p.projection, PROJECTIONS)
    if p.projection == 'pca' and p.codebook_dim > self.stacked_dim:
      raise errors.ConfigError(
        f'{p.name}.codebook_dim = {p.codebook_dim}: expected at most '
        f"{self.stacked_dim} (stack * num_bins) with projection = 'pca'"
      )

  @property
  def stacked_dim(self):
    """Width H of the stacked frames."""
    return self.params.stack * self.params.num_bins

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    limit = np.sqrt(6.0 / (self.stacked_dim + p.codebook_dim))

    def _Xavier(shape, dtype=tf.float32, **unused):
      return tf.random.stateless_uniform(shape, [p.seed, 1], minval=-limit, maxval=limit, dtype=dtype)

    def _UnitVectors(shape, dtype=tf.float32, **unused):
      return tf.math.l2_normalize(tf.random.stateless_normal(shape, [p.seed, 2], dtype=dtype), axis=-1)

    def _Create(name, shape, init):
      self.CreateVariable(
        name,
        py_utils.WeightParams(shape, init=init, dtype=tf.float32, collections=[py_utils.SKIP_LP_REGULARIZATION]),
        trainable=False,
      )

    custom = py_utils.WeightInit.CustomVarInit
    _Create('projection', [p.num_codebooks, self.stacked_dim, p.codebook_dim], custom(_Xavier))
    _Create('mean', [self.stacked_dim], py_utils.WeightInit.Constant(0.0))
    _Create('codebook', [p.num_codebooks, p.codebook_size, p.codebook_dim], custom(_UnitVectors))

  def FProp(self, theta, features, paddings):
    """Computes the target codes of a batch.

    Args:
      theta: This layer's variables.
      features: [B, T, F], normalised log-mel before any masking.
      paddings: float32 [B, T], 1 on padding.

    Returns:
      (codes int32 [B, N, G], paddings float32 [B, N]); codes are 0 on padding.
    """
    stacked, paddings = StackFrames(tf.cast(features, tf.float32), paddings, self.params.stack)
    stacked -= tf.cast(theta.mean, tf.float32)
    codes = []
    for g in range(self.params.num_codebooks):
      # Codebooks are computed one after another, so that only one [B, N, V] of scores is in memory.
      with tf.control_dependencies(codes[-1:]):
        projection = tf.cast(theta.projection[g], tf.float32)
        codebook = tf.cast(theta.codebook[g], tf.float32)
        projected = tf.einsum('BNH,HK->BNK', stacked, projection)
        scores = tf.einsum('BNK,VK->BNV', projected, codebook)
        codes.append(tf.argmax(scores, axis=-1, output_type=tf.int32))
    codes = tf.stack(codes, axis=-1)  # G x [B, N] -> [B, N, G]
    codes *= tf.cast(1.0 - paddings, tf.int32)[:, :, tf.newaxis]
    return tf.stop_gradient(codes), paddings


def FitPca(batches, codebook_dim):
  """Computes the pca projection (arXiv 2606.30671) from stacked frames.

  Args:
    batches: Iterable of float arrays [frames, H], unpadded stacked frames.
    codebook_dim: Number of components K to keep.

  Returns:
    (mean [H], projection [H, K]), float32: the K leading eigenvectors of the
    covariance, each divided by the standard deviation along it, so that projections
    have unit variance. This whitening is our addition; it makes the use of codes more even.

  Raises:
    errors.ConfigError: There are fewer than K + 1 frames.
  """
  count, total, outer = 0, 0.0, 0.0
  for frames in batches:
    frames = np.asarray(frames, np.float64)
    count += len(frames)
    total = total + frames.sum(axis=0)
    outer = outer + frames.T @ frames
  if count <= codebook_dim:
    raise errors.ConfigError(
      f"projection = 'pca': {count} frames to fit on, expected more than codebook_dim = {codebook_dim}"
    )
  mean = total / count
  values, vectors = np.linalg.eigh(outer / count - np.outer(mean, mean))
  leading = np.argsort(values)[::-1][:codebook_dim]
  scale = np.sqrt(np.maximum(values[leading], 1e-8))
  return mean.astype(np.float32), (vectors[:, leading] / scale).astype(np.float32)
