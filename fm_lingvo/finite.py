"""Steps whose loss or gradient has a NaN or an Inf: they change no weight, are counted, and end the run past a limit.

B: utterances in a batch of a stream.
"""

import os
import time

from fm_lingvo import dataset
from fm_lingvo import errors
from fm_lingvo import metrics_log
from lingvo import compat as tf
from lingvo.core import learner
from lingvo.core import optimizer
from lingvo.core import py_utils
from lingvo.core import summary_utils
import numpy as np

_SKIPPED = 'skipped'
_SHOWN = 8  # Utterance ids on the terminal; the file has all.


class Learner(learner.Learner):
  """Lingvo's, which skips a step with a loss or gradient that is not finite.

  Neither variables nor the optimizer's slots change in it; under gradient accumulation it adds nothing. Moving averages of the
  weights (task.train.ema_decay) come a step nearer to them. The metric `skipped` is then 1, else 0.
  """

  def __init__(self, params):
    params = params.Copy()
    params.optimizer.add_summary_in_apply = False  # Not possible in the branches of a tf.cond.
    super().__init__(params)
    self._finite = None
    self._norm = None  # (gradients, their norm), see _GradientNorm.

  @property
  def optimizer(self):
    """The optimizer, whose Apply does nothing in a step that is skipped."""
    return _Gated(self.children['optimizer'], lambda: self._finite)

  def _ComputeLossesAndGradients(self, metrics, vmap):
    losses, var_grads, weight, eval_metrics = super()._ComputeLossesAndGradients(metrics, vmap)
    # A gradient that is not finite shows in the norm of all.
    self._finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(x)) for x in (*losses, self._GradientNorm(var_grads))])
    zero_if_bad = tf.cast(self._finite, tf.float32)
    # An Accumulator would add the gradients of a bad step.
    if isinstance(self.children['optimizer'], optimizer.Accumulator):
      var_grads = py_utils.ApplyGradMultiplier(var_grads, zero_if_bad)
    eval_metrics = {**eval_metrics, _SKIPPED: (1.0 - zero_if_bad, tf.constant(1.0))}
    return losses, var_grads, weight, eval_metrics

  def ScaleGradients(self, var_grads, gradient_adjuster=None):
    """Clips by the norm of all gradients, see the base class.

    Lingvo's looks for NaN and Inf in each gradient and zeroes it where there is one, three passes and five operations a
    variable; here no step with one is applied.
    """
    if self.params.clip_gradient_single_norm_to_value:
      return super().ScaleGradients(var_grads, gradient_adjuster)
    norm = self._GradientNorm(var_grads)
    if gradient_adjuster is not None:
      var_grads = gradient_adjuster(var_grads)
    scale = self._GetGlobalGradScale(norm, tf.logical_not(tf.math.is_finite(norm)))
    if self.cluster.add_summary:  # The norms are made whether a summary takes them or not.
      for name, var_grad in var_grads.FlattenItems():
        summary_utils.AddNormSummary(f'{py_utils.SanitizeScopeKey(name)}/{self.params.name}', var_grad)
    summary_utils.scalar(f'grad_norm/all/{self.params.name}', norm)
    var_norm = tf.sqrt(py_utils.SumSquared([item.var for item in py_utils.Flatten(var_grads)]))
    for name, value in (('grad_norm/all', norm), ('var_norm/all', var_norm), ('grad_scale_all', scale)):
      self._AddEvalMetric(name, value, tf.constant(1.0))
    return py_utils.NestedMap(
        final_var_grads=var_grads.Transform(lambda item: _Scaled(item, scale)), grad_scale=scale)

  def _GradientNorm(self, var_grads):
    """L2 norm of all gradients together, float32 []; the same tensor where the gradients are the same."""
    grads = [item.grad for item in py_utils.Flatten(var_grads)]
    known, norm = self._norm or ((), None)
    if len(known) != len(grads) or any(a is not b for a, b in zip(known, grads)):
      norm = tf.sqrt(py_utils.SumSquared(grads))
      self._norm = grads, norm
    return norm


def _Scaled(var_grad, scale):
  """A py_utils.VarGrad with the gradient times `scale`."""
  var, grad = var_grad
  if isinstance(grad, tf.IndexedSlices):
    return py_utils.VarGrad(var, tf.IndexedSlices(grad.values * scale, grad.indices, grad.dense_shape))
  return py_utils.VarGrad(var, grad * scale)


class _Gated:
  """An optimizer that applies gradients in finite steps only."""

  def __init__(self, wrapped, finite):
    self._wrapped = wrapped
    self._is_finite = finite

  def __getattr__(self, name):
    return getattr(self._wrapped, name)

  def Apply(self, lr, var_grad, weight=None):
    """As optimizer.Base.Apply."""
    def Apply():
      return self._wrapped.Apply(lr, var_grad, weight)

    # It counts steps itself; the gradients of a bad step are 0 by now, see Learner.
    if isinstance(self._wrapped, optimizer.Accumulator):
      return Apply()
    return tf.cond(self._is_finite(), lambda: tf.group(Apply()), tf.no_op)


def IsSkipped(metrics):
  """Whether a step was skipped, by its fetched metrics: dict name -> (value, weight)."""
  return any(name.partition('/')[0] == _SKIPPED and value > 0 for name, (value, _) in metrics.items())


def RowTensors(task):
  """dict: tensors of a built task that tell which utterances of a step are to blame: utt_ids, finite [B]."""
  return {key: tensor for key, tensor in task.per_example_tensors.items()
          if key.rpartition('/')[2] in ('utt_ids', 'finite')}


def Suspects(rows):
  """dict: stream -> ids of the utterances whose waveform is not finite; of all in the step, if there is none.

  Args:
    rows: What RowTensors fetched.
  """
  ids = {key.rpartition('/')[0]: [i.decode(errors='replace') for i in value.tolist() if i]
         for key, value in rows.items() if key.endswith('/utt_ids')}
  bad = {stream: [i.decode(errors='replace') for i in rows[f'{stream}/utt_ids'][~rows[f'{stream}/finite']].tolist()]
         for stream in ids if f'{stream}/finite' in rows}
  bad = {stream: found for stream, found in bad.items() if found}
  return bad or ids


class SkippedSteps:
  """RUN/skipped.jsonl: a JSON object for each skipped step: step, time, loss, utt_ids by stream."""

  def __init__(self, logdir, limit):
    """Constructor.

    Args:
      logdir: Folder of the run.
      limit: Steps that a run may skip, those before a resumption included.
    """
    self._path = os.path.join(logdir, 'skipped.jsonl')
    self._limit = limit
    self.total = 0

  def DropAfter(self, step):
    """Forgets the steps past `step`, which a resumed run takes again."""
    if dataset.Exists(self._path):
      rows = [row for row in metrics_log.ReadMetrics(self._path) if row['step'] <= step]
      metrics_log.WriteRows(self._path, rows)
      self.total = len(rows)

  def Add(self, step, metrics, rows):
    """Writes down a skipped step.

    Args:
      step: Its number.
      metrics: As IsSkipped.
      rows: What RowTensors fetched.

    Returns:
      A line for the terminal.
    """
    self.total += 1
    suspects = Suspects(rows)
    loss = float(metrics['loss'][0])
    metrics_log.AppendRow(self._path, {'step': int(step), 'time': round(time.time(), 3),
                                       'loss': loss if np.isfinite(loss) else str(loss), 'utt_ids': suspects})
    ids = [f'{stream}: {i}' for stream, found in suspects.items() for i in found]
    more = f' and {len(ids) - _SHOWN} more' if len(ids) > _SHOWN else ''
    return (f'step {step}: skipped, loss {loss:.4g} or its gradient is not finite ({self.total} of at most {self._limit}); '
            f'{", ".join(ids[:_SHOWN])}{more}')

  @property
  def exceeded(self):
    """Whether there are more than the limit."""
    return self.total > self._limit

  def Error(self):
    """The errors.RunError that ends a run past the limit."""
    return errors.RunError(f'task.train.max_skipped_steps = {self._limit}: {self.total} steps had a NaN or an Inf; '
                           f'{self._path} names their utterances')
