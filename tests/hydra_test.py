"""Properties of the hydra: branches, sums, one encoder pass, what is trained."""

from absl.testing import absltest
from fm_lingvo import heads
from fm_lingvo import hydra
from lingvo import compat as tf
from lingvo.core import learner
from lingvo.core import optimizer
import numpy as np
from tests import graph_case


def _TaskParams(branches):
  """A small hydra; branches: dict name -> (stream, head, weight)."""
  p = hydra.HydraTask.Params()
  p.encoder.Set(model_dim=16, num_layers=1, num_heads=2, kernel_size=5,
                dropout_prob=0.0)
  p.encoder.subsampling.channels = 4
  for name in sorted({head for _, head, _ in branches.values()}):
    head = heads.BestRqHead.Params()
    head.quantizer.codebook_size = 16
    head.masker.Set(mask_start_prob=0.05, mask_span_ms=100.0)
    hydra.HydraTask.AddHead(p, name, head)
  for name, (stream, head, weight) in branches.items():
    hydra.HydraTask.AddBranch(p, name, stream, head, weight)
  p.train.learner = learner.Learner.Params().Set(
      name='loss', learning_rate=0.1, optimizer=optimizer.Adam.ParamsB())
  p.random_seed = 1
  return p


def _Batch(seconds, rows=2, seed=0):
  samples = int(seconds * 16000)
  wave = np.random.RandomState(seed).randn(rows, samples) * 0.1
  return graph_case.py_utils.NestedMap(
      waveforms=tf.constant(wave.astype(np.float32)),
      num_samples=tf.fill([rows], samples), weights=tf.ones([rows]),
      dropped=tf.zeros([rows], tf.int64))


class HydraTaskTest(graph_case.GraphCase):

  def _Losses(self, branches, batches):
    with self.EvalMode():
      task = _TaskParams(branches).Instantiate()
    metrics, tensors = task.FPropTower(
        task.theta, graph_case.py_utils.NestedMap(batches))
    return self.Eval({k: v[0] for k, v in metrics.items()}), tensors

  def test_loss_is_the_weighted_sum_of_the_branches(self):
    values, _ = self._Losses(
        {'a': ('s', 'x', 1.0), 'b': ('t', 'x', 0.25)},
        {'s': _Batch(2.0), 't': _Batch(2.0, seed=1)})
    self.assertAlmostEqual(values['loss'],
                           values['a/loss'] + 0.25 * values['b/loss'], places=4)

  def test_a_branch_beside_another_loses_the_same_as_alone(self):
    # Streams of unequal lengths and sizes share one pass of the encoder.
    alone, _ = self._Losses({'a': ('s', 'x', 1.0)}, {'s': _Batch(1.0)})
    with self.NewGraph():
      both, _ = self._Losses(
          {'a': ('s', 'x', 1.0), 'b': ('t', 'y', 1.0)},
          {'s': _Batch(1.0), 't': _Batch(3.0, rows=3, seed=1)})
    self.assertAlmostEqual(alone['a/cross_entropy'], both['a/cross_entropy'],
                           places=3)
    self.assertAlmostEqual(alone['a/masked_fraction'], both['a/masked_fraction'])

  def test_an_empty_batch_adds_nothing(self):
    batch = _Batch(1.0)
    empty = batch.copy()
    empty.num_samples = tf.zeros([2], tf.int32)
    empty.waveforms = tf.zeros_like(batch.waveforms)
    values, _ = self._Losses(
        {'a': ('s', 'x', 1.0), 'b': ('t', 'x', 1.0)}, {'s': batch, 't': empty})
    self.assertEqual(values['b/loss'], 0.0)
    self.assertAlmostEqual(values['loss'], values['a/loss'], places=5)

  def test_quantizer_is_bit_equal_after_training_and_the_rest_moves(self):
    task = _TaskParams({'a': ('s', 'x', 1.0)}).Instantiate()
    metrics, _ = task.FPropTower(
        task.theta, graph_case.py_utils.NestedMap(s=_Batch(2.0)))
    _, update, _ = task.learners[0].Apply(metrics, task.vars)
    frozen = {v.name: v for v in task.Head('x').quantizer.vars.Flatten()}
    moving = {v.name: v for v in task.encoder.vars.Flatten()}
    before = self.Eval({**frozen, **moving})
    for _ in range(3):
      self.Eval(update)
    after = self.Eval({**frozen, **moving})
    self.assertLen(frozen, 3)
    for name in frozen:
      np.testing.assert_array_equal(before[name], after[name])
    moved = [n for n in moving if not np.array_equal(before[n], after[n])]
    self.assertGreater(len(moved), 0.9 * len(moving))
    slots = [v.name for v in tf.global_variables() if 'quantizer' in v.name and
             'Adam' in v.name]
    self.assertEmpty(slots)

  def test_every_component_is_counted_once(self):
    task = _TaskParams({'a': ('s', 'x', 1.0), 'b': ('t', 'y', 1.0)}).Instantiate()
    names = [v.name for layer in task.Components().values()
             for v in layer.vars.Flatten()]
    self.assertCountEqual(names, [v.name for v in task.vars.Flatten()])

  def test_errors_name_field_value_and_choices(self):
    with self.assertRaisesRegex(
        ValueError, r"branches.a.head = 'z': expected one of x"):
      p = _TaskParams({'a': ('s', 'x', 1.0)})
      p.branches.a.head = 'z'
      p.Instantiate()
    with self.assertRaisesRegex(ValueError, r'a.weight = -1.0: expected >= 0'):
      _TaskParams({'a': ('s', 'x', -1.0)}).Instantiate()
    with self.assertRaisesRegex(ValueError, 'branches: expected at least one'):
      hydra.HydraTask.Params().Instantiate()


if __name__ == '__main__':
  absltest.main()
