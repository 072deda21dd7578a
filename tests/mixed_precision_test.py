"""Mixed precision: what is bfloat16, what stays float32, and that little changes."""

from unittest import mock

import numpy as np
import pytest
from absl.testing import parameterized
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.config import registry
from fm_lingvo.decoding import existence
from fm_lingvo.layers import conformer_encoder
from fm_lingvo.losses import transducer_lattice
from tests import graph_case
from tests import tiny_data
from tests.graph_case import absltest
from tests.graph_case import py_utils
from tests.graph_case import tf

_EXPERIMENT = 'asr.JustHydra'  # It has every head.
_SLOW_EXPERIMENTS = ('asr.BestRqPretrain', 'asr.AdapterFinetune')
# Relative; bfloat16 has 8 bits of mantissa, so that a product is off by 0.4 %.
_LOSS_TOLERANCE = 0.005
_GRADIENT_TOLERANCE = 0.05
_PRODUCTS = ('MatMul', 'BatchMatMulV2', 'Einsum')
_NEVER_IN_BFLOAT16 = ('Exp', 'Log', 'Log1p', 'Softmax', 'LogSoftmax', 'Rsqrt', 'Sin', 'Cos')


def _Batch(streams):
  """A second of sound, two utterances, for each stream."""
  wave = np.stack([tiny_data.Waveform(1.0, seed) for seed in (0, 1)]) / 32768.0
  stream = py_utils.NestedMap(
    waveforms=tf.constant(wave, tf.float32),
    num_samples=tf.constant([16000, 12000]),
    weights=tf.ones([2]),
    labels=tf.constant([[3, 4, 5], [6, 7, 0]]),
    label_lengths=tf.constant([3, 2]),
    utt_ids=tf.constant(['a', 'b']),
    texts=tf.constant(['a', 'b']),
    domains=tf.constant(['a', 'b']),
  )
  return py_utils.NestedMap({name: stream.copy() for name in streams})


def _DtypesOf(op_types):
  """dict: type of op -> dtypes in this graph and its functions, of those given."""
  graph = tf.get_default_graph().as_graph_def()
  found = {}
  for nodes in (graph.node, *[f.node_def for f in graph.library.function]):
    for node in nodes:
      if node.op in op_types:
        found.setdefault(node.op, set()).add(tf.as_dtype(node.attr['T'].type).name)
  return found


class TaskTest(graph_case.GraphCase, parameterized.TestCase):
  def _Task(self, name, dtype, *bindings):
    """A tiny task of an experiment, from random weights."""
    knobs = name.rpartition('.')[2]
    gin_config.Configure(
      name, (), [*tiny_data.Bindings(registry.Import(name)), f'{knobs}.compute_dtype = {dtype!r}', *bindings]
    )
    self.addCleanup(gin_config.Reset)
    params = model_registry.GetParams(name, 'Train').task.Copy().Set(input=None)
    params.train.init_from_checkpoint_rules = {}
    return params.Instantiate()

  def _Step(self, name, dtype):
    """(loss, gradients by name, task) of the same batch and weights."""
    task = self._Task(name, dtype)
    metrics, _ = task.FPropTower(task.theta, _Batch(sorted({branch.stream for _, branch in task.branches})))
    variables = task.learners[0].GetTrainableVariables(task.vars).Flatten()
    gradients = tf.gradients(metrics['loss'][0], variables)
    return metrics['loss'][0], {v.op.name: tf.convert_to_tensor(g) for v, g in zip(variables, gradients)}, task

  def test_little_changes_but_the_time(self):
    self._CheckLittleChanges(_EXPERIMENT)

  @parameterized.parameters(*_SLOW_EXPERIMENTS)
  @pytest.mark.slow
  def test_little_changes_in_other_experiments(self, name):
    self._CheckLittleChanges(name)

  def _CheckLittleChanges(self, name):
    values = {}
    for dtype in ('float32', 'bfloat16'):
      with self.NewGraph():
        loss, gradients, task = self._Step(name, dtype)
        self.assertEqual({v.dtype.base_dtype for v in task.vars.Flatten()}, {tf.float32})
        self.assertEqual({g.dtype for g in gradients.values()}, {tf.float32})
        self.assertEqual(loss.dtype, tf.float32)
        dtypes = set().union(*_DtypesOf(_PRODUCTS).values())
        self.assertEqual('bfloat16' in dtypes, dtype == 'bfloat16')
        for op, found in _DtypesOf(_NEVER_IN_BFLOAT16).items():
          self.assertNotIn('bfloat16', found, op)
        values[dtype] = self.Eval(loss, gradients)
    (loss, gradients), (other, others) = values['float32'], values['bfloat16']
    np.testing.assert_allclose(other, loss, rtol=_LOSS_TOLERANCE)
    self.assertNotEqual(other, loss)
    norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
    off = np.sqrt(sum(((g - others[key]) ** 2).sum() for key, g in gradients.items()))
    self.assertTrue(np.isfinite(off))
    self.assertLess(off / norm, _GRADIENT_TOLERANCE)

  def test_the_lattice_is_float32(self):
    with mock.patch.object(transducer_lattice, 'FullSum', wraps=transducer_lattice.FullSum) as full_sum:
      task = self._Task('asr.AdapterFinetune', 'bfloat16')
      task.FPropTower(task.theta, _Batch(['labeled']))
    blank, label = full_sum.call_args[0][:2]
    self.assertEqual((blank.dtype, label.dtype), (tf.float32, tf.float32))

  @parameterized.parameters(1, 2)
  def test_decoding_works(self, beam_size):
    with self.EvalMode():
      task = self._Task('asr.JustHydra', 'bfloat16', f'JustHydra.beam_size = {beam_size}')
      found = task.Decode(_Batch(['labeled'])).labeled
    labels, scores = self.Eval(found.labels, found.scores)
    self.assertEqual(labels.shape[:2], (2, beam_size))
    self.assertEqual(scores.dtype, np.float32)
    self.assertTrue(existence.AreFound(scores[:, 0]).all() and np.isfinite(scores).all())
    self.assertBetween(labels.max(), 0, 29)

  def test_another_dtype_is_one_line_with_the_nearest_name(self):
    with self.assertRaises(errors.ConfigError) as raised:
      self._Task('asr.BestRqPretrain', 'bfloat61')
    self.assertIn(
      "BestRqPretrain.compute_dtype = 'bfloat61': expected one of float32, bfloat16; did you mean bfloat16?",
      str(raised.exception),
    )
    self.assertNotIn('\n', str(raised.exception))


class EncoderTest(graph_case.GraphCase, parameterized.TestCase):
  def _Encoder(self, **overrides):
    p = conformer_encoder.ConformerEncoder.Params().Set(
      model_dim=16, num_layers=1, num_heads=2, kernel_size=5, dropout_prob=0.1, fprop_dtype=tf.bfloat16, **overrides
    )
    p.num_bins = 8
    p.subsampling.Set(channels=2, kind='stack' if overrides else 'conv')
    return self.Layer(p)

  @parameterized.parameters(
    {},
    {'atten_left_context': 8, 'atten_right_context': 4},
    {'atten_chunk_size': 4, 'atten_left_context': 4},
    {'use_relative_atten': False},
    {'conv_norm': 'group_norm', 'group_norm_groups': 4},
    {'remat': True},
  )
  def test_products_are_bfloat16_and_what_is_sensitive_is_not(self, **overrides):
    layer = self._Encoder(**overrides)
    features = np.random.RandomState(0).randn(2, 64, 8).astype(np.float32)
    x, _ = layer.FProp(layer.theta, tf.constant(features), tf.zeros([2, 64]))
    gradients = tf.gradients(tf.reduce_sum(x**2), layer.vars.Flatten())
    self.assertEqual(set().union(*_DtypesOf(_PRODUCTS).values()), {'bfloat16'})
    for op, found in _DtypesOf(_NEVER_IN_BFLOAT16).items():
      self.assertEqual(found, {'float32'}, op)
    for value in self.Eval(x, *gradients):
      self.assertTrue(np.isfinite(value).all())

  def test_distant_frames_keep_their_positions(self):
    # 258 is no bfloat16 number; nor is the angle of a distance of 4.
    layer = self._Encoder().blocks[0].trans_atten.atten.pos_emb
    distances = np.arange(-600, 600)[np.newaxis]
    angles = self.Eval(layer.FPropWithPosition(layer.theta, tf.constant(distances)))
    np.testing.assert_allclose(angles[0, :, 0], np.sin(distances[0]), atol=1e-3)


if __name__ == '__main__':
  absltest.main()
