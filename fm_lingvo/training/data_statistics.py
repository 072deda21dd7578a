"""Fits the front end's global normalisation and the heads to training data before the first step.

B: utterances, T: log-mel frames, F: mel bins.
"""

import functools
from collections.abc import Collection
from collections.abc import Iterator

import numpy as np
from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import hyperparams

from fm_lingvo import errors
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.runtime import session


def Fit(task, sess, loaded: Collection[str] = ()) -> None:
  """Fits a task's front end to all its streams, then each head to the stream of its first branch.

  Args:
    task: A HydraTask, in whose graph this runs.
    sess: Session with the task's initialised variables; fitted variables are overwritten.
    loaded: Names of variables that a warm start loaded; they are not fitted.

  Raises:
    errors.ConfigError: There are too few frames, or loaded variables contradict the params.
  """
  if task.params.frontend.normalization == 'global' and task.frontend.vars.mean.op.name not in loaded:
    _FitFrontend(task, sess)
  done = set()
  for name, branch in task.branches:
    if branch.head in done:
      continue
    done.add(branch.head)
    fitted = task.Head(branch.head).Fit(sess, functools.partial(_Normalised, task, sess, branch.stream), set(loaded))
    if fitted:
      print(f'{name}: {fitted} of {branch.stream}', flush=True)


def CheckNothingToFit(task_params: hyperparams.Params) -> None:
  """Raises errors.ConfigError if a run with a HydraTask's Params would need Fit; Lingvo's cluster jobs cannot do it.

  Runs with a warm start need no Fit.
  """
  if warm_start.Sources(task_params.train):
    return
  reasons = []
  if task_params.frontend.normalization == 'global':
    reasons.append("task.frontend.normalization = 'global'")
  for name in dict.fromkeys(branch.head for _, branch in task_params.branches.IterParams()):
    head = task_params.heads.Get(name)
    if head.cls.FitReason(head):
      reasons.append(f'task.heads.{name}.{head.cls.FitReason(head)}')
  if reasons:
    raise errors.ConfigError(
      f'{reasons[0]}: only a local run fits it; train one step of this run with --run_locally=cpu first, or '
      'start from another run'
    )


def _FitFrontend(task, sess):
  p = task.params.frontend
  streams = sorted({branch.stream for _, branch in task.branches})
  count, total, squares = 0, 0.0, 0.0
  for stream in streams:
    for features, paddings in _Batches(task, stream, p.Copy().Set(normalization='none'), {}, p.global_batches):
      frames = features[paddings == 0].astype(np.float64)  # [.., F]
      count += len(frames)
      total = total + frames.sum(axis=0)
      squares = squares + np.square(frames).sum(axis=0)
  if not count:
    raise errors.ConfigError(
      f"task.frontend.normalization = 'global': no frames in {p.global_batches} batches of {', '.join(streams)}"
    )
  mean = total / count
  task.frontend.vars.mean.load(mean, sess)
  task.frontend.vars.stddev.load(np.sqrt(squares / count - mean**2 + p.variance_floor), sess)
  print(
    f'global normalization fitted on {p.global_batches} batches of {", ".join(streams)}: {count:,} frames', flush=True
  )


def _Normalised(task, sess, stream, num_batches):
  """Yields batches of a stream as _Batches does, normalised with the session's statistics."""
  front = task.frontend.vars
  statistics = {name: sess.run(front[name]) for name in ('mean', 'stddev') if name in front}
  yield from _Batches(task, stream, task.params.frontend, statistics, num_batches)


def _Batches(task, stream, frontend_params, statistics, num_batches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields (features float32 [B, T, F], paddings [B, T]) of the first batches of a stream.

  Args:
    task: A HydraTask.
    stream: Name of the stream.
    frontend_params: Params of the front end.
    statistics: dict: name of a variable of the front end -> its value.
    num_batches: Number of batches to read, > 0.
  """
  source_params = task.params.input.Copy()
  for other in [name for name, _ in source_params.streams.IterParams() if name != stream]:
    source_params.streams.Delete(other)  # Its pipeline would take seconds to start.
  with tf.Graph().as_default(), cluster_factory.Current():
    source = source_params.Instantiate()
    frontend = frontend_params.Copy().Set(name='frontend').Instantiate()
    batch = source.GetPreprocessedInputBatch()[stream]
    out = frontend.FProp(frontend.theta, batch.waveforms, batch.num_samples)
    with tf.Session(config=session.Config()) as sess:
      sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
      for name, value in statistics.items():
        frontend.vars[name].load(value, sess)
      source.Initialize(sess)
      for _ in range(num_batches):
        yield tuple(sess.run([out.features, out.paddings]))
