"""Properties of adapters in the weights, LoRA and biases: the same model at first, merged the same as not merged."""

import contextlib
import functools
import io
import re

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import gin_config
from fm_lingvo.layers import adapter
from fm_lingvo.layers import lora
from fm_lingvo.runtime import session
from tests import adapter_test
from tests import graph_case
from tests import stage_case
from tools import adapters

_KINDS = ('lora', 'bias')


class _Adapted:
  """An encoder with adapters of a kind in all places they may have, in a graph and a session of its own."""

  def __init__(self, kind, **settings):
    with tf.Graph().as_default() as graph:
      tf.random.set_seed(1234)
      p = adapter_test.EncoderParams(adapters=['target', 'other'], active_adapter='target', adapter_kind=kind)
      p.lora_tpl.Set(rank=2, projections=list(lora.PROJECTIONS))
      self.layer = p.Set(name='layer', **settings).Instantiate()
      self.encoded = adapter_test._Encode(self.layer)
      self.variables = {v.op.name: v for v in self.layer.vars.Flatten()}
      self.adapters = [v for v in self.layer.vars.adapters.target.Flatten() if v.trainable]
      self.gradients = tf.gradients(tf.reduce_sum(self.encoded**2), self.adapters)
      self.session = tf.Session(graph=graph, config=session.Config())
      self.session.run(tf.global_variables_initializer())

  def Randomize(self, name='target'):
    rng = np.random.RandomState(5)
    variables = [v for v in self.layer.vars.adapters[name].Flatten() if v.trainable]
    graph_case.Load(self.session, {v: 0.3 * rng.randn(*v.shape) for v in variables})

  def Reset(self):
    self.session.run(tf.variables_initializer(self._All()))
    return self

  def _All(self):
    return [v for name in ('target', 'other') for v in self.layer.vars.adapters[name].Flatten()]


class WeightAdaptersTest(graph_case.GraphCase):
  @classmethod
  @functools.cache
  def _Shared(cls, kind):
    """The _Adapted of a kind, whose graph is built once for all tests."""
    return _Adapted(kind)

  def test_is_the_plain_encoder_bit_for_bit_when_made(self):
    plain = self.Eval(adapter_test._Encode(self.Layer(adapter_test.EncoderParams())))
    for kind in _KINDS:
      with self.subTest(kind):
        shared = self._Shared(kind).Reset()
        found = shared.session.run(shared.encoded)
        with self.NewGraph():
          np.testing.assert_array_equal(found, plain)

  def test_merged_weights_of_a_plain_encoder_give_the_same(self):
    for kind in _KINDS:
      with self.subTest(kind), self.NewGraph():
        shared = self._Shared(kind)
        shared.Randomize()
        expected, values = shared.session.run((shared.encoded, shared.variables))
        merged = shared.layer.Merged(values)
        plain = self.Layer(adapter_test.EncoderParams())
        encoded = adapter_test._Encode(plain)
        self.Eval(tf.constant(0))
        graph_case.Load(self._session, {v: merged[v.op.name] for v in plain.vars.Flatten()})
        np.testing.assert_allclose(self.Eval(encoded), expected, atol=1e-5)
        self.assertTrue(any(not np.array_equal(merged[v.op.name], values[v.op.name]) for v in plain.vars.Flatten()))

  def test_only_the_active_adapters_have_an_effect_and_all_of_them_learn(self):
    for kind in _KINDS:
      with self.subTest(kind):
        shared = self._Shared(kind)
        shared.Randomize()
        before = shared.session.run(shared.encoded)
        shared.Randomize('other')
        np.testing.assert_array_equal(shared.session.run(shared.encoded), before)
        for v, g in zip(shared.adapters, shared.gradients):
          # A key's bias adds the same to all logits of a query.
          if not v.op.name.endswith('atten__key__b/var'):
            self.assertTrue(np.any(shared.session.run(g)), v.op.name)

  def test_remat_and_steps_see_the_same_weights(self):
    shared = self._Shared('lora')
    shared.Randomize()
    expected = shared.session.run(shared.encoded)
    other = _Adapted('lora', remat=True)
    values = shared.session.run(shared.variables)
    graph_case.Load(other.session, {v: values[name] for name, v in other.variables.items()})
    np.testing.assert_allclose(other.session.run(other.encoded), expected, atol=1e-4)
    self.assertTrue(np.any(other.session.run(other.gradients[0])))

  def test_a_checkpoint_says_what_its_adapters_are(self):
    for kind, expected in (
      ('lora', dict(kind='lora', bottleneck_dim=2, projections=list(lora.PROJECTIONS))),
      ('bias', dict(kind='bias', bottleneck_dim=None, projections=None)),
    ):
      shapes = {name: tuple(v.shape.as_list()) for name, v in self._Shared(kind).variables.items()}
      self.assertEqual(adapter.Saved(shapes, 'layer')['target'], expected)

  def test_training_in_bfloat16_which_would_round_small_changes_away_is_refused(self):
    for kind in _KINDS:
      expected = rf'^{kind}.fprop_dtype = bfloat16: expected float32 in training \(compute_dtype\), [^\n]*$'
      with self.subTest(kind), self.NewGraph(), self.assertRaisesRegex(errors.ConfigError, expected):
        self.Layer(
          adapter_test.EncoderParams(
            adapters=['target'], active_adapter='target', adapter_kind=kind, fprop_dtype=tf.bfloat16
          )
        )

  def test_evaluation_in_bfloat16_stays_near_float32(self):
    with self.EvalMode():
      layers = self._Shared('lora').Reset(), _Adapted('lora', fprop_dtype=tf.bfloat16)
    for layer in layers:
      layer.Randomize()
    expected, found = (layer.session.run(layer.encoded) for layer in layers)
    self.assertLess(np.abs(found - expected).mean(), 0.05)

  def test_errors_name_field_value_and_range(self):
    for settings, expected in (
      (dict(rank=0), r'lora.rank = 0: expected >= 1'),
      (dict(alpha=0.0), r'lora.alpha = 0.0: expected > 0'),
      (dict(projections=[]), r'lora.projections = \[\]: expected some of query, key, .*'),
      (dict(projections=['quary']), r"lora.projections = 'quary': expected one of .*; did you mean query\?"),
    ):
      with self.subTest(str(settings)), self.NewGraph():
        p = adapter_test.EncoderParams(adapters=['target'], active_adapter='target', adapter_kind='lora')
        p.lora_tpl.Set(**settings)
        with self.assertRaisesRegex(errors.ConfigError, f'^{expected}$'):
          self.Layer(p)
    with self.assertRaisesRegex(errors.ConfigError, "^layer.adapter_kind = 'lor': expected one of .* mean lora"):
      self.Layer(adapter_test.EncoderParams(adapters=['a'], adapter_kind='lor'))


class TrainedTest(stage_case.StageCase):
  def test_training_changes_the_adapters_and_the_decoder_alone(self):
    run, _ = self.MakeRun('hydra')
    task = stage_case.TaskParams(
      init_from=run,
      fresh=['encoder/adapters/target/'],
      trained=stage_case.FILTER,
      adapters=['target'],
      active_adapter='target',
      adapter_kind='lora',
    ).Instantiate()
    metrics, _ = task.FPropTower(task.theta, stage_case.Batch())
    _, update, _ = task.learners[0].Apply(metrics, task.vars)
    variables = {v.op.name: v for v in task.vars.Flatten()}
    warm_start.Restore(task, self.session)
    before = self.Eval(variables)
    self.Eval(update)
    self.Eval(update)
    after = self.Eval(variables)
    for name in variables:
      changes = bool(re.search(stage_case.FILTER, name)) and not re.search('record|/scale/', name)
      self.assertEqual(changes, not np.array_equal(before[name], after[name]), name)

  def test_the_tool_of_adapters_says_what_they_are_and_copies_them(self):
    run, values = self.MakeRun('low_rank', adapters=['target'], active_adapter='target', adapter_kind='lora')
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
      for args in (
        ['list', run],
        ['extract', run, '--adapter=target', f'--output={self.folder}/small'],
        ['remove', run, '--adapter=target', f'--output={self.folder}/plain'],
        ['inject', f'{self.folder}/small', f'{self.folder}/plain', f'--output={self.folder}/again'],
      ):
        self.assertEqual(adapters.Main(['adapters', *args]), 0)
    self.assertIn('adapters target: lora of query, value, feed_forward, rank 8, 1 blocks', out.getvalue())
    again = reader.Checkpoint(f'{self.folder}/again')
    for name, value in values.items():
      np.testing.assert_array_equal(again.Read(name), value, name)

  def test_the_experiment_chooses_the_kind_by_a_knob(self):
    self.addCleanup(gin_config.Reset)
    knobs = {'adapter_kind': 'lora', 'adapter_dim': 3, 'lora_alpha': 6.0, 'lora_projections': ('key',)}
    bindings = [f'AdapterFinetune.{name} = {value!r}' for name, value in knobs.items()]
    gin_config.Configure('asr.AdapterFinetune', (), bindings)
    p = model_registry.GetParams('asr.AdapterFinetune', 'Train').task.encoder
    self.assertEqual((p.adapter_kind, p.active_adapter), ('lora', 'target'))
    self.assertEqual((p.lora_tpl.rank, p.lora_tpl.alpha, p.lora_tpl.projections), (3, 6.0, ['key']))
    gin_config.Configure('asr.AdapterFinetune', (), [*bindings, 'AdapterFinetune.adapter_dim = 0'])
    p = model_registry.GetParams('asr.AdapterFinetune', 'Train').task.encoder
    self.assertEqual(p.lora_tpl.rank, 0)  # The layer refuses it.
    with self.assertRaisesRegex(errors.ConfigError, 'adapter_kind'):
      gin_config.Configure('asr.AdapterFinetune', (), ["AdapterFinetune.adapter_kind = 'lorra'"])
      model_registry.GetParams('asr.AdapterFinetune', 'Train').task.Instantiate()


if __name__ == '__main__':
  absltest.main()
