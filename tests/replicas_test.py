"""In-graph replicas, as --run_locally=gpu --worker_gpus=N builds them; without a GPU the session uses the CPU."""

import collections
import os
import re
import tempfile

import numpy as np
from lingvo import model_registry
from lingvo.core import cluster_factory

from fm_lingvo.config import gin_config
from fm_lingvo.run_files import metrics_log
from fm_lingvo.runtime import session
from tests import graph_case
from tests import run_case

tf = graph_case.tf
_STEPS = 3
_UTTERANCES = 4  # In a batch of all replicas.


class ReplicasTest(graph_case.GraphCase):
  _trained = {}  # Number of GPUs -> see _Train.

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.data_dir = os.path.join(folder.name, 'data')
    run_case.WriteData(cls.data_dir, num_utterances=12)
    run_case.Configure('asr.Supervised', cls.data_dir, 'Supervised.augment = False', 'Supervised.spec_augment = False')
    cls.addClassCleanup(gin_config.Reset)

  def _Params(self, gpus):
    """Params of a trainer with so many GPUs; 0: with the CPU alone."""
    p = model_registry.GetParams('asr.Supervised', 'Train')
    p.cluster.Set(mode='sync', job='trainer_client', task=0)
    p.cluster.worker.Set(name='/job:localhost', replicas=1, gpus_per_replica=gpus)
    p.cluster.ps.Set(name='/job:localhost', replicas=1, gpus_per_replica=0)
    stream = p.input.streams.labeled
    stream.bucket_batch_size = [_UTTERANCES // max(1, gpus)] * len(stream.bucket_upper_bound_seconds)
    return p

  def _Train(self, gpus):
    """What _Trained returns for so many GPUs, made once for all tests."""
    if gpus not in self._trained:
      self._trained[gpus] = self._Trained(gpus)
    return self._trained[gpus]

  def _Trained(self, gpus):
    """What _STEPS steps show: (rows of metrics, weights after them, task, graph)."""
    p = self._Params(gpus)
    rows = []
    with self.NewGraph(), cluster_factory.Cluster(p.cluster) as cluster, tf.device(cluster.GetPlacer()):
      model = p.Instantiate()
      model.ConstructFPropBPropGraph()
      task = model.GetTask()
      counts = {k: v for k, v in task.per_example_tensors.items() if k.endswith(('/num_samples', '/weights'))}
      with tf.Session(config=session.Config()) as sess:
        sess.run([tf.global_variables_initializer(), tf.local_variables_initializer(), tf.tables_initializer()])
        task.input.Initialize(sess)
        for _ in range(_STEPS):
          _, metrics, numbers = sess.run([task.train_op, task.eval_metrics, counts])
          rows.append(metrics_log.Aggregate([metrics], [numbers]))
        return rows, sess.run({v.op.name: v for v in task.vars.Flatten()}), task, sess.graph

  def test_two_replicas_of_half_a_batch_train_as_one_does(self):
    one_rows, one, _, _ = self._Train(gpus=0)
    two_rows, two, _, _ = self._Train(gpus=2)
    for a, b in zip(one_rows, two_rows):
      for name in ('loss', 'labeled/rnnt_loss', 'grad_norm', 'labeled/audio_seconds', 'labeled/examples'):
        if name in a:
          np.testing.assert_allclose(b[name], a[name], rtol=1e-4, err_msg=name)
    self.assertGreater(abs(one_rows[0]['loss'] - one_rows[-1]['loss']), 1e-4)  # It does train.
    self.assertEqual(set(one), set(two))
    for name in one:
      np.testing.assert_allclose(two[name], one[name], atol=1e-5, err_msg=name)

  def test_each_replica_has_its_gpu_and_its_share_of_the_batch(self):
    rows, _, task, graph = self._Train(gpus=2)
    # Of forward and backward passes: tower -> device -> how many.
    products = collections.defaultdict(collections.Counter)
    for op in graph.get_operations():
      tower = re.search(r'^(?:gradients/)?fprop/task/(tower_\w+)/', op.name)
      if tower and op.type in ('MatMul', 'BatchMatMulV2', 'Conv2D', 'Einsum'):
        products[tower.group(1)][op.device] += 1
    self.assertEqual(
      {tower: list(found) for tower, found in products.items()},
      {f'tower_0_{i}': [f'/job:localhost/replica:0/task:0/device:GPU:{i}'] for i in range(2)},
    )
    one, two = (sum(found.values()) for found in products.values())
    self.assertEqual(one, two)
    for v in task.vars.Flatten():
      self.assertIn('device:CPU:0', v.device, v.name)
    with graph.as_default(), cluster_factory.Cluster(self._Params(gpus=2).cluster):
      splits = task.input.SplitInputBatch(2)
    self.assertEqual([split.labeled.weights.shape.as_list() for split in splits], [[_UTTERANCES // 2]] * 2)
    self.assertEqual([row['labeled/examples'] for row in rows], [_UTTERANCES] * _STEPS)


if __name__ == '__main__':
  graph_case.absltest.main()
