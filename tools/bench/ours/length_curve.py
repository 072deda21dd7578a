"""A training step of asr.BestRqPretrain on one utterance of 1, 2, 5, ... s, timed.

Sizes: those of ours/step.py, but for `batch` and `seconds`: `points`, a list of seconds; `attention`, one of
ATTENTIONS.
"""

import functools
import tempfile

from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import py_utils

from .. import inputs
from . import curve
from . import graph
from . import step

# Attention -> params of the encoder; 200 frames are USM's 8 s (arXiv 2303.01037).
ATTENTIONS = {
  'full': {},
  'chunk-wise': {'atten_chunk_size': 200},
  'streaming': {'causal': True, 'atten_left_context': 128, 'atten_right_context': 0},
}


def SetUp(sizes):
  """See worker.py and curve.Call."""
  with tempfile.NamedTemporaryFile(suffix='.tfrecord') as empty:
    params = step.Params(sizes, empty.name)
    params.task.encoder.Set(**ATTENTIONS[sizes['attention']])
    with tf.Graph().as_default(), cluster_factory.Cluster(params.cluster):
      model = params.Instantiate()
      features = tf.placeholder(tf.float32, [1, None, 80])
      batch = py_utils.NestedMap(waveforms=features, num_samples=160 * tf.shape(features)[1:2], weights=tf.ones([1]))
      train_op, _ = step.Plain(model, model.GetTask(), py_utils.NestedMap(unlabeled=batch))
      sess = graph.Session()
      sess.run(tf.global_variables_initializer())
  return curve.Call(
    {
      seconds: functools.partial(sess.run, train_op, {features: inputs.Features({'batch': 1, 'seconds': seconds})})
      for seconds in sizes['points']
    }
  ), {}
