"""What is fitted to data before the first step: the quantizer's pca projection.

B: utterances, T: log-mel frames, F: mel bins, H: stacked width.
"""

from fm_lingvo import errors
from fm_lingvo import heads
from fm_lingvo import quantizer
from fm_lingvo import session
from lingvo import compat as tf
from lingvo.core import cluster_factory
import numpy as np


def FitQuantizers(task, sess, loaded=()):
  """Fits every `pca` quantizer of a hydra to its first branch's training data.

  Args:
    task: A HydraTask, in whose graph this runs.
    sess: Session that holds its initialised variables; those of the quantizers
      are overwritten.
    loaded: Names of variables that came from another run's checkpoint; a quantizer
      among them keeps the fit that its codes were learnt with.
  """
  for name, branch in task.branches:
    head = task.Head(branch.head)
    if isinstance(head, heads.BestRqHead) and (
        head.params.quantizer.projection == 'pca'):
      q = head.quantizer
      if q.vars.projection.op.name in loaded:
        continue
      frames = _StackedFrames(task, branch.stream, q.params.stack,
                              q.params.pca_batches)
      mean, projection = quantizer.FitPca(frames, q.params.codebook_dim)
      q.vars.mean.load(mean, sess)
      q.vars.projection.load(
          np.tile(projection, [q.params.num_codebooks, 1, 1]), sess)
      print(f'{name}: pca projection fitted on {q.params.pca_batches} batches of '
            f'{branch.stream}', flush=True)


def CheckNothingToFit(task_params):
  """Raises errors.ConfigError if a run of a HydraTask's Params, from random weights, would begin by FitQuantizers.

  Lingvo's own jobs do not.
  """
  if task_params.train.init_from_checkpoint_rules:
    return
  for name, head in task_params.heads.IterParams():
    if issubclass(head.cls, heads.BestRqHead) and head.quantizer.projection == 'pca':
      raise errors.ConfigError(
          f"task.heads.{name}.quantizer.projection = 'pca': only a local run fits it; train one step of this run with "
          '--run_locally=cpu first, or start from another run')


def _StackedFrames(task, stream, stack, num_batches):
  """Yields [frames, H] of unpadded stacked frames, a batch of the stream each."""
  with tf.Graph().as_default(), cluster_factory.Current():
    source = task.params.input.Instantiate()
    frontend = task.params.frontend.Copy().Set(name='frontend').Instantiate()
    batch = source.GetPreprocessedInputBatch()[stream]
    out = frontend.FProp(frontend.theta, batch.waveforms, batch.num_samples)
    stacked, paddings = quantizer.StackFrames(out.features, out.paddings, stack)
    with tf.Session(config=session.Config()) as sess:
      sess.run([tf.global_variables_initializer(), tf.tables_initializer()])
      source.Initialize(sess)
      for _ in range(num_batches):
        frames, pads = sess.run([stacked, paddings])
        yield frames[pads == 0]
