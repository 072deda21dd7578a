"""BEST-RQ: predicts the random-projection codes of masked frames.

B: utterances, T: log-mel frames, N: encoded frames, F: mel bins, S: frames of an encoded frame, D: model width,
H = S * F: stacked width, V: codes a codebook, G: codebooks.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.heads import base_head
from fm_lingvo.layers import mixed_precision
from fm_lingvo.layers import quantizer
from fm_lingvo.layers import span_masking
from fm_lingvo.utils import ranges


class BestRqHead(base_head.BaseHead):
  """Predicts the codes of masked frames from their context.

  BEST-RQ (arXiv 2202.01855, section 3): the codes are computed from the clean
  features, then spans of frames are replaced by noise; the loss is the
  cross-entropy of a softmax over the codes on masked frames, the mean over G
  codebooks (USM, arXiv 2303.01037, equal weights).

  An encoded frame counts as masked where at least `min_coverage` of its stacked
  frames are, padding excluded. A batch without any gives loss 0 with weight 0.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define('masker', span_masking.SpanMasker.Params(), 'Which frames are hidden.')
    p.Define('quantizer', quantizer.RandomProjectionQuantizer.Params(), 'Frames -> target codes.')
    p.Define(
      'min_coverage',
      1.0,
      "Share, in (0, 1], of an encoded frame's log-mel frames that must be masked for it to enter the loss.",
    )
    p.Define(
      'kl_weight',
      0.0,
      'Weight, >= 0, of KL(mean predicted distribution || uniform) in '
      'nats, the mean over masked frames; keeps predictions from '
      "collapsing to few codes. The idea is arXiv 2501.16131's, this form "
      'ours.',
    )
    return p

  def __init__(self, params):
    super().__init__(params)
    p = self.params
    if not 0 < p.min_coverage <= 1:
      raise errors.ConfigError(f'{p.name}.min_coverage = {p.min_coverage}: expected a share in (0, 1]')
    ranges.AtLeast(p, kl_weight=0)
    if p.quantizer.stack not in (None, p.downsample_factor):
      raise errors.ConfigError(
        f'{p.name}.quantizer.stack = {p.quantizer.stack}: expected None or {p.downsample_factor}, the '
        "encoder's downsample_factor"
      )
    self.CreateChild('masker', p.masker)
    self.CreateChild('quantizer', p.quantizer.Copy().Set(num_bins=p.num_bins, stack=p.downsample_factor))

  def _CreateLayerVariables(self):
    super()._CreateLayerVariables()
    p = self.params
    q = p.quantizer
    self.CreateVariable(
      'w',
      py_utils.WeightParams(
        [q.num_codebooks, p.input_dim, q.codebook_size], init=py_utils.WeightInit.Gaussian(0.02), dtype=tf.float32
      ),
    )
    self.CreateVariable(
      'b',
      py_utils.WeightParams(
        [q.num_codebooks, q.codebook_size], init=py_utils.WeightInit.Constant(0.0), dtype=tf.float32
      ),
    )

  def Corrupt(self, theta, features, paddings):
    """Labels the clean features, then masks them; see the base class."""
    codes, _ = self.quantizer.FProp(theta.quantizer, features, paddings)
    masked, mask = self.masker.FProp(theta.masker, features, paddings)
    return py_utils.NestedMap(features=masked, mask=mask, codes=codes)

  def Loss(self, theta, encoded, paddings, corrupted, batch):
    """Cross-entropy on masked frames; see the base class.

    Metrics of codebook g of several carry `_g`: masked_accuracy (share of masked
    frames whose most probable code is right), cross_entropy (nats a masked
    frame). `code_counts` and `masked_code_counts` [1, G, V] count the codes of
    unpadded and of masked frames; their sum over replicas and batches is what
    perplexity, coverage, unigram entropy and the most frequent code's share are
    computed from (fm_lingvo/run_files/codebook_stats.py).
    """
    p = self.params
    weights = self._LossWeights(corrupted.mask, paddings)  # [B, N]
    total = tf.reduce_sum(weights)
    metrics, counts, masked_counts, predictions = {}, [], [], []
    losses = []
    # Not theta.w[g]: the gradient of each slice would be as large as the whole [G, D, V].
    w, b = tf.unstack(theta.w), tf.unstack(theta.b)  # G x [D, V], G x [V]
    for g in range(p.quantizer.num_codebooks):
      codes = corrupted.codes[:, :, g]  # [B, N]
      logits = mixed_precision.Product(encoded, w[g]) + tf.cast(b[g], tf.float32)  # [B, N, V]
      log_probs = tf.nn.log_softmax(logits)  # [B, N, V]
      nll = -tf.squeeze(  # [B, N, 1] -> [B, N]
        tf.gather(log_probs, codes[:, :, tf.newaxis], batch_dims=2), -1
      )
      predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
      cross_entropy = _Mean(nll, weights, total)
      loss = cross_entropy
      if p.kl_weight:
        loss += p.kl_weight * self._KlToUniform(log_probs, weights, total)
      losses.append(loss)
      predictions.append(predicted)
      suffix = f'_{g}' if p.quantizer.num_codebooks > 1 else ''
      metrics[f'cross_entropy{suffix}'] = cross_entropy, total
      metrics[f'masked_accuracy{suffix}'] = (
        _Mean(tf.cast(tf.equal(predicted, codes), tf.float32), weights, total),
        total,
      )
      counts.append(_CountCodes(codes, 1.0 - paddings, p.quantizer.codebook_size))
      masked_counts.append(_CountCodes(codes, weights, p.quantizer.codebook_size))

    if p.quantizer.num_codebooks > 1:
      for name in ('cross_entropy', 'masked_accuracy'):
        metrics[name] = (
          tf.add_n([metrics[f'{name}_{g}'][0] for g in range(p.quantizer.num_codebooks)]) / p.quantizer.num_codebooks,
          total,
        )
    frames = tf.reduce_sum(1.0 - paddings)
    metrics['loss'] = tf.add_n(losses) / p.quantizer.num_codebooks, total
    metrics['masked_fraction'] = _Mean(weights, 1.0 - paddings, frames), frames
    tensors = {
      'code_counts': tf.stack(counts)[tf.newaxis],  # [1, G, V]
      'masked_code_counts': tf.stack(masked_counts)[tf.newaxis],
      'mask': corrupted.mask[:1],  # [1, T]
      'codes': corrupted.codes[:1],  # [1, N, G]
      'predictions': tf.stack(predictions, -1)[:1],  # [1, N, G]
      'loss_weights': weights[:1],  # [1, N]
    }
    return metrics, tensors

  @property
  def record(self):
    """Marks the kind of projection: the mean is all zeros for xavier and not for pca (see CheckRecord)."""
    return self.quantizer.vars.mean

  def CheckRecord(self, value, source):
    """Raises errors.ConfigError if the codes in a checkpoint are of another projection than the params say."""
    found = 'pca' if np.any(value) else 'xavier'
    projection = self.params.quantizer.projection
    if projection != found:
      raise errors.ConfigError(
        f'task.heads.{self.params.name}.quantizer.projection = {projection!r}: {source} learnt the codes of {found}; '
        'expected the same'
      )

  @classmethod
  def FitReason(cls, p):
    """A projection by principal components; see the base class."""
    return "quantizer.projection = 'pca'" if p.quantizer.projection == 'pca' else ''

  def Fit(self, sess, batches, loaded):
    """Fits a `pca` projection; see the base class."""
    p = self.params.quantizer
    variables = self.quantizer.vars
    if p.projection != 'pca' or variables.projection.op.name in loaded:
      return ''
    mean, projection = quantizer.FitPca(
      (_UnpaddedStacks(*batch, self.params.downsample_factor) for batch in batches(p.pca_batches)), p.codebook_dim
    )
    variables.mean.load(mean, sess)
    variables.projection.load(np.tile(projection, [p.num_codebooks, 1, 1]), sess)
    return f'pca projection fitted on {p.pca_batches} batches'

  def _LossWeights(self, mask, paddings):
    """1 on encoded frames that enter the loss. [B, T], [B, N] -> [B, N]."""
    stack = self.params.downsample_factor
    batch, time = py_utils.GetShape(mask, 2)
    # [B, T] -> [B, N, S] -> [B, N]
    coverage = tf.reduce_mean(tf.reshape(mask, [batch, time // stack, stack]), 2)
    covered = (coverage >= self.params.min_coverage - 1e-4) & (coverage > 0)
    return tf.cast(covered, tf.float32) * (1.0 - paddings)

  def _KlToUniform(self, log_probs, weights, total):
    """KL(mean prediction || uniform) in nats; log_probs [B, N, V] -> scalar."""
    mean = tf.einsum('BNV,BN->V', tf.exp(log_probs), weights) / tf.maximum(total, 1.0)
    entropy = -tf.reduce_sum(mean * tf.math.log(mean + 1e-10))
    uniform = tf.math.log(float(self.params.quantizer.codebook_size))
    return tf.where(total > 0, uniform - entropy, 0.0)


def _Mean(values, weights, total):
  """Weighted mean; 0, never NaN, where nothing counts."""
  return tf.reduce_sum(values * weights) / tf.maximum(total, 1.0)


def _CountCodes(codes, weights, size):
  """Histogram [V] of codes [B, N] under weights [B, N]."""
  return tf.math.unsorted_segment_sum(tf.reshape(weights, [-1]), tf.reshape(codes, [-1]), size)


def _UnpaddedStacks(features, paddings, stack):
  """Frames [.., H]: every `stack` frames of [B, T, F] joined, those with padding [B, T] left out; in NumPy."""
  batch, time, width = features.shape
  stacked = features.reshape([batch, time // stack, stack * width])
  return stacked[paddings.reshape([batch, time // stack, stack]).max(axis=2) == 0]
