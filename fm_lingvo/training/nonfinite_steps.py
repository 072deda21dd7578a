"""Skips and counts training steps whose loss or gradient is NaN or Inf; too many of them end the run.

B: utterances in a batch of a stream.
"""

import os
import time

import numpy as np
from lingvo import compat as tf
from lingvo.core import learner
from lingvo.core import optimizer
from lingvo.core import py_utils
from lingvo.core import summary_utils

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.training import adam
from fm_lingvo.training import rate_groups
from fm_lingvo.utils import files
from fm_lingvo.utils import own_names

_RATE_OF = 'learning_rate_of'
_SHOWN = 8  # Utterance ids that the terminal shows; the file has all.


class Learner(learner.Learner):
  """Lingvo's Learner, but it skips a step whose loss or gradient is not finite.

  A skipped step changes neither variables nor optimizer slots, and adds nothing to accumulated gradients. Moving
  averages of the weights (task.train.ema_decay) are updated as in any step. The metric `skipped` is 1 in a skipped step
  and 0 otherwise.

  Groups of variables may have multiples of the learning rate (training/rate_groups.py); each has the metric
  `learning_rate_of/GROUP`.
  """

  @classmethod
  def Params(cls):
    p = super().Params()
    p.Define(
      'rate_groups',
      [],
      'List of (name, regular expression, factor): groups of trained variables, found by a search in their names, '
      'whose learning rate is the factor, > 0, times that of the others.',
    )
    return p

  def __init__(self, params):
    params = params.Copy()
    params.optimizer.add_summary_in_apply = False  # Summaries cannot be made in the branches of a tf.cond.
    adam.Use(params)
    super().__init__(params)
    self._finite = None
    self._norm = None  # (gradients, their norm), see _GradientNorm.

  @property
  def optimizer(self):
    """The optimizer, wrapped so that Apply does nothing in a skipped step."""
    return _Gated(self.children['optimizer'], lambda: self._finite, self.params.rate_groups)

  def CheckTrained(self, variables):
    """Checks which variables are trained.

    Args:
      variables: NestedMap of a task's variables, or of declarations of them (run_dir.DeclaredTask).

    Raises:
      errors.ConfigError: The filter leaves none, or a group of learning rates has none or one of another group.
    """
    p = self.params
    trained = self.GetTrainableVariables(variables).Flatten()
    if not trained:
      raise errors.ConfigError(
        f'task.train.learner.bprop_variable_filter = {p.bprop_variable_filter!r}: no variable is left to train; '
        'expected a regular expression that is found in the names of some'
      )
    rate_groups.Split(p.rate_groups, trained)

  def Apply(self, metrics, vmap, *args, **kwargs):
    """See the base class; adds the rates of the groups to the metrics."""
    self.CheckTrained(vmap)
    losses, op, metrics = super().Apply(metrics, vmap, *args, **kwargs)
    rate, weight = metrics['learning_rate']
    metrics.update({f'{_RATE_OF}/{name}': (rate * factor, weight) for name, _, factor in self.params.rate_groups})
    return losses, op, metrics

  def _ComputeLossesAndGradients(self, metrics, vmap):
    losses, var_grads, weight, eval_metrics = super()._ComputeLossesAndGradients(metrics, vmap)
    # One non-finite gradient makes the norm of all of them non-finite.
    self._finite = tf.reduce_all(
      [tf.reduce_all(tf.math.is_finite(x)) for x in (*losses, self._GradientNorm(var_grads))]
    )
    zero_if_bad = tf.cast(self._finite, tf.float32)
    # An Accumulator would add the gradients of the skipped step.
    if isinstance(self.children['optimizer'], optimizer.Accumulator):
      var_grads = py_utils.ApplyGradMultiplier(var_grads, zero_if_bad)
    eval_metrics = {**eval_metrics, own_names.SKIPPED: (1.0 - zero_if_bad, tf.constant(1.0))}
    return losses, var_grads, weight, eval_metrics

  def ScaleGradients(self, var_grads, gradient_adjuster=None):
    """Clips by the norm of all gradients, see the base class.

    The base class checks each gradient for NaN and Inf and zeroes it, at the cost of three passes and five ops per
    variable. That is unnecessary here because a step with a non-finite gradient is never applied.
    """
    if self.params.clip_gradient_single_norm_to_value:
      return super().ScaleGradients(var_grads, gradient_adjuster)
    norm = self._GradientNorm(var_grads)
    if gradient_adjuster is not None:
      var_grads = gradient_adjuster(var_grads)
    scale = self._GetGlobalGradScale(norm, tf.logical_not(tf.math.is_finite(norm)))
    if self.cluster.add_summary:  # AddNormSummary computes the norms even if no summary is written.
      for name, var_grad in var_grads.FlattenItems():
        summary_utils.AddNormSummary(f'{py_utils.SanitizeScopeKey(name)}/{self.params.name}', var_grad)
    summary_utils.scalar(f'grad_norm/all/{self.params.name}', norm)
    var_norm = Norm([item.var for item in py_utils.Flatten(var_grads)])
    for name, value in (('grad_norm/all', norm), ('var_norm/all', var_norm), ('grad_scale_all', scale)):
      self._AddEvalMetric(name, value, tf.constant(1.0))
    return py_utils.NestedMap(final_var_grads=var_grads.Transform(lambda item: _Scaled(item, scale)), grad_scale=scale)

  def _GradientNorm(self, var_grads):
    """Returns the L2 norm of all gradients together, float32 []; reuses the tensor if the gradients are the same."""
    grads = [item.grad for item in py_utils.Flatten(var_grads)]
    known, norm = self._norm or ((), None)
    if len(known) != len(grads) or any(a is not b for a, b in zip(known, grads)):
      norm = Norm(grads)
      self._norm = grads, norm
    return norm


def Norm(tensors):
  """Returns the L2 norm of tensors together, float32 []; Lingvo's SumSquared stores a power of each."""
  values = [x.values if isinstance(x, tf.IndexedSlices) else x for x in tensors]
  halves = []
  for x in values:
    with tf.device(x.device):
      halves.append(tf.nn.l2_loss(x))  # Half of the sum of squares.
  return tf.sqrt(2.0 * tf.add_n(halves))


def _Scaled(var_grad, scale):
  """Returns a py_utils.VarGrad with the gradient times `scale`, a whole table for an embedding.

  An optimizer would sum a sparse gradient by its distinct labels, whose number is no static shape. It sets the whole
  table's slots anyway.
  """
  var, grad = var_grad
  if isinstance(grad, tf.IndexedSlices):
    grad = tf.math.unsorted_segment_sum(grad.values, grad.indices, var.shape[0])
  return py_utils.VarGrad(var, grad * scale)


class _Gated:
  """An optimizer that applies gradients only in steps that are not skipped, with the rate of each group."""

  def __init__(self, wrapped, finite, rate_groups):
    self._wrapped = wrapped
    self._is_finite = finite
    self._rate_groups = rate_groups

  def __getattr__(self, name):
    return getattr(self._wrapped, name)

  def Apply(self, lr, var_grad, weight=None):
    """See optimizer.Base.Apply."""

    def Apply():
      if not self._rate_groups:
        return self._wrapped.Apply(lr, var_grad, weight)
      groups = rate_groups.Split(self._rate_groups, [vg.var for vg in py_utils.Flatten(var_grad)])
      return tf.group(
        *[
          self._wrapped.Apply(lr * factor, var_grad.Filter(lambda vg, members=members: vg.var.name in members), weight)
          for _, factor, members in groups
        ]
      )

    # An Accumulator counts steps itself; the gradients of a skipped step are already 0, see Learner.
    if isinstance(self._wrapped, optimizer.Accumulator):
      return Apply()
    return tf.cond(self._is_finite(), lambda: tf.group(Apply()), tf.no_op)


def RowTensors(task):
  """Returns the tensors of a built task that show which utterances made a step non-finite.

  Returns:
    dict: STREAM/utt_ids, string [B], and STREAM/finite, bool [B].
  """
  return {
    key: tensor for key, tensor in task.per_example_tensors.items() if key.rpartition('/')[2] in ('utt_ids', 'finite')
  }


def Suspects(rows):
  """Returns dict: stream -> ids of the utterances whose waveform is not finite; if there are none, of all utterances.

  Args:
    rows: Fetched values of RowTensors.
  """
  ids = {
    key.rpartition('/')[0]: [i.decode(errors='replace') for i in value.tolist() if i]
    for key, value in rows.items()
    if key.endswith('/utt_ids')
  }
  bad = {
    stream: [i.decode(errors='replace') for i in rows[f'{stream}/utt_ids'][~rows[f'{stream}/finite']].tolist()]
    for stream in ids
    if f'{stream}/finite' in rows
  }
  bad = {stream: found for stream, found in bad.items() if found}
  return bad or ids


class SkippedSteps:
  """Writes RUN/skipped.jsonl: a JSON object for each skipped step with step, time, loss and utt_ids by stream."""

  def __init__(self, logdir, limit):
    """Constructor.

    Args:
      logdir: Folder of the run.
      limit: Number of steps that a run may skip, including those before it was resumed.
    """
    self._path = os.path.join(logdir, 'skipped.jsonl')
    self._limit = limit
    self.total = 0

  def DropAfter(self, step):
    """Removes the skipped steps after `step`, which a resumed run repeats."""
    if files.Exists(self._path):
      rows = [row for row in metrics_log.ReadMetrics(self._path) if row['step'] <= step]
      metrics_log.WriteRows(self._path, rows)
      self.total = len(rows)

  def Add(self, step, metrics, rows):
    """Records a skipped step.

    Args:
      step: Number of the step.
      metrics: Fetched metrics of the step: dict name -> (value, weight).
      rows: Fetched values of RowTensors.

    Returns:
      A line for the terminal.

    Raises:
      errors.RunError: The file cannot be written.
    """
    self.total += 1
    suspects = Suspects(rows)
    loss = float(metrics['loss'][0])
    metrics_log.AppendRow(
      self._path,
      {
        'step': int(step),
        'time': round(time.time(), 3),
        'loss': loss if np.isfinite(loss) else str(loss),
        'utt_ids': suspects,
      },
    )
    ids = [f'{stream}: {i}' for stream, found in suspects.items() for i in found]
    more = f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''
    return (
      f'step {step}: skipped, loss {loss:.4g} or its gradient is not finite ({self.total} of at most {self._limit}); '
      f'{", ".join(ids[:_SHOWN])}{more}'
    )

  @property
  def exceeded(self):
    """Whether more steps were skipped than the limit allows."""
    return self.total > self._limit

  def Error(self):
    """Returns the errors.RunError that ends the run once `exceeded` is true."""
    return errors.RunError(
      f'task.train.max_skipped_steps = {self._limit}: {self.total} steps had a NaN or an Inf; '
      f'{self._path} lists their utterances'
    )
