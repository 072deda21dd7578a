"""What is fitted to data before the first step: statistics of global normalization, the quantizer's pca projection.

B: utterances, T: log-mel frames, F: mel bins, H: stacked width.
"""

import numpy as np
from lingvo import compat as tf
from lingvo.core import cluster_factory

from fm_lingvo import errors
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.heads import base_head
from fm_lingvo.layers import quantizer
from fm_lingvo.runtime import session


def Fit(task, sess, loaded=()):
  """Fits the front end of a hydra to all its streams, then every `pca` quantizer to its first branch's.

  Args:
    task: A HydraTask, in whose graph this runs.
    sess: Session that holds its initialised variables; those that are fitted are
      overwritten.
    loaded: Names of variables that came from another run's checkpoint; they keep the
      fit that its weights were learnt with.

  Raises:
    errors.ConfigError: Too few frames, or a projection that was loaded is of another kind than the params say.
  """
  if task.params.frontend.normalization == 'global' and task.frontend.vars.mean.op.name not in loaded:
    _FitFrontend(task, sess)
  done = set()
  for name, branch in task.branches:
    head = task.Head(branch.head)
    if branch.head in done or not isinstance(head, base_head.BestRqHead):
      continue
    done.add(branch.head)
    if head.quantizer.vars.projection.op.name in loaded:
      _CheckProjection(f'task.heads.{branch.head}.quantizer', head.quantizer, sess)
    elif head.params.quantizer.projection == 'pca':
      _FitQuantizer(task, sess, head.quantizer, branch.stream)
      print(
        f'{name}: pca projection fitted on {head.quantizer.params.pca_batches} batches of {branch.stream}', flush=True
      )


def CheckNothingToFit(task_params):
  """Raises errors.ConfigError if a run of a HydraTask's Params, from random weights, would begin by Fit.

  Lingvo's own jobs do not.
  """
  if warm_start.Sources(task_params.train):
    return
  fits = [("task.frontend.normalization = 'global'", task_params.frontend.normalization == 'global')]
  fits += [
    (f"task.heads.{name}.quantizer.projection = 'pca'", head.quantizer.projection == 'pca')
    for name, head in task_params.heads.IterParams()
    if issubclass(head.cls, base_head.BestRqHead)
  ]
  for param, needs_fit in fits:
    if needs_fit:
      raise errors.ConfigError(
        f'{param}: only a local run fits it; train one step of this run with --run_locally=cpu first, or '
        'start from another run'
      )


def _CheckProjection(path, layer, sess):
  """Raises ConfigError if the loaded projection of a quantizer is not of the kind that its params at `path` say."""
  found = 'pca' if sess.run(layer.vars.mean).any() else 'xavier'  # Only a fit takes a mean off.
  if layer.params.projection != found:
    raise errors.ConfigError(
      f'{path}.projection = {layer.params.projection!r}: the run that this one starts from learnt the codes '
      f'of {found}; expected the same'
    )


def _FitFrontend(task, sess):
  p = task.params.frontend
  streams = sorted({branch.stream for _, branch in task.branches})
  count, total, squares = 0, 0.0, 0.0
  for stream in streams:
    for frames in _Frames(task, stream, p.Copy().Set(normalization='none'), {}, 1, p.global_batches):
      frames = frames.astype(np.float64)
      count += len(frames)
      total = total + frames.sum(axis=0)
      squares = squares + np.square(frames).sum(axis=0)
  if not count:
    raise errors.ConfigError(
      f"{p.name}.normalization = 'global': no frames in {p.global_batches} batches of {', '.join(streams)}"
    )
  mean = total / count
  task.frontend.vars.mean.load(mean, sess)
  task.frontend.vars.stddev.load(np.sqrt(squares / count - mean**2 + p.variance_floor), sess)
  print(
    f'global normalization fitted on {p.global_batches} batches of {", ".join(streams)}: {count:,} frames', flush=True
  )


def _FitQuantizer(task, sess, layer, stream):
  p = layer.params
  front = task.frontend.vars
  statistics = {name: sess.run(front[name]) for name in ('mean', 'stddev') if name in front}
  frames = _Frames(task, stream, task.params.frontend, statistics, p.stack, p.pca_batches)
  mean, projection = quantizer.FitPca(frames, p.codebook_dim)
  layer.vars.mean.load(mean, sess)
  layer.vars.projection.load(np.tile(projection, [p.num_codebooks, 1, 1]), sess)


def _Frames(task, stream, frontend_params, statistics, stack, num_batches):
  """Yields float32 [frames, H] for each of some batches: unpadded frames, `stack` of them joined.

  Args:
    task: A HydraTask.
    stream: Name of the stream that is read.
    frontend_params: Params of the front end.
    statistics: dict: name of a variable of this front end -> its value.
    stack: Frames to join, >= 1.
    num_batches: Batches to read, > 0.
  """
  with tf.Graph().as_default(), cluster_factory.Current():
    source = task.params.input.Instantiate()
    frontend = frontend_params.Copy().Set(name='frontend').Instantiate()
    batch = source.GetPreprocessedInputBatch()[stream]
    out = frontend.FProp(frontend.theta, batch.waveforms, batch.num_samples)
    stacked, paddings = quantizer.StackFrames(out.features, out.paddings, stack)
    with tf.Session(config=session.Config()) as sess:
      sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
      for name, value in statistics.items():
        frontend.vars[name].load(value, sess)
      source.Initialize(sess)
      for _ in range(num_batches):
        frames, pads = sess.run([stacked, paddings])
        yield frames[pads == 0]
