"""Properties of residual adapters, alone and in the encoder."""

import functools

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.layers import adapter
from fm_lingvo.layers import conformer_encoder
from fm_lingvo.runtime import session
from tests import graph_case

_FEATURES = np.random.RandomState(0).randn(2, 32, 80).astype(np.float32)


def EncoderParams(**overrides):
  """A small encoder."""
  p = conformer_encoder.ConformerEncoder.Params().Set(
    model_dim=16, num_layers=1, num_heads=2, kernel_size=5, dropout_prob=0.0, random_seed=3
  )
  p.num_bins = 80
  p.subsampling.kind = 'stack'  # Fewer operations to build; adapters are in the blocks.
  p.adapter_tpl.bottleneck_dim = 4
  return p.Set(**overrides)


class ResidualAdapterTest(graph_case.GraphCase):
  def test_is_the_identity_bit_for_bit_when_made(self):
    layer = self.Layer(adapter.ResidualAdapter.Params(), input_dim=16)
    x = 100 * _FEATURES[:, :, :16]
    y = self.Eval(layer.FProp(layer.theta, tf.constant(x)))
    np.testing.assert_array_equal(y, x)

  def test_equals_its_formula(self):
    layer = self.Layer(adapter.ResidualAdapter.Params(), input_dim=16, bottleneck_dim=4)
    rng = np.random.RandomState(1)
    values = layer.vars.Transform(lambda v: rng.randn(*v.shape))
    x = _FEATURES[:, :, :16].astype(np.float64)
    y = self.Eval(layer.FProp(values.Transform(lambda v: tf.constant(v, tf.float32)), tf.constant(x, tf.float32)))
    centered = x - x.mean(-1, keepdims=True)
    normed = centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-6)
    normed = normed * (1 + values.ln.scale) + values.ln.bias
    hidden = np.maximum(normed @ values.down.w + values.down.b, 0)
    np.testing.assert_allclose(y, x + hidden @ values.up.w + values.up.b, atol=1e-4)

  def test_compiles_under_xla(self):
    layer = self.Layer(adapter.ResidualAdapter.Params(), input_dim=16)
    x = tf.constant(_FEATURES[:, :, :16])
    values = layer.theta.Transform(lambda v: tf.ones_like(v) * 0.3)
    compiled = tf.function(lambda: layer.FProp(values, x), jit_compile=True, autograph=False)()
    a, b = self.Eval(layer.FProp(values, x), compiled)
    np.testing.assert_allclose(a, b, atol=1e-4)

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('bottleneck_dim', 0, 'layer.bottleneck_dim = 0: expected >= 1'),
      (
        'activation',
        'RELUU',
        r"layer.activation = 'RELUU': expected one of RELU, "
        r'GELU, SWISH, TANH, NONE; did you mean RELU\?',
      ),
    ):
      with self.subTest(field), self.assertRaisesRegex(errors.ConfigError, f'^{expected}$'):
        self.Layer(adapter.ResidualAdapter.Params(), input_dim=16, **{field: value})


def _Encode(layer, lengths=(32, 32)):
  paddings = (np.arange(32) >= np.asarray(lengths)[:, None]).astype(np.float32)
  return layer.FProp(layer.theta, tf.constant(_FEATURES), tf.constant(paddings))[0]


class _Adapted:
  """An encoder with adapters `target`, which are active, and `other`, in a graph and a session of its own."""

  def __init__(self, position):
    with tf.Graph().as_default() as graph:
      tf.random.set_seed(1234)
      p = EncoderParams(adapters=['target', 'other'], active_adapter='target', adapter_position=position)
      self.layer = p.Set(name='layer').Instantiate()
      self.encoded = _Encode(self.layer)
      self.variables = self.layer.vars.adapters.target.Flatten()
      wanted = np.random.RandomState(7).randn(2, 8, 16).astype(np.float32)
      self.gradients = tf.gradients(tf.reduce_sum((self.encoded - wanted) ** 2), self.variables)
      self.session = tf.Session(graph=graph, config=session.Config())
      self.session.run(tf.global_variables_initializer())
      self._made = self.session.run({v: v for v in self.layer.vars.adapters.Flatten()})

  def Load(self, values):
    """Sets variables of the adapters; values: dict variable -> value."""
    graph_case.Load(self.session, values)

  def Reset(self):
    """Makes all adapters as they were made; returns self."""
    self.Load(self._made)
    return self

  def Randomize(self, name):
    """Gives the adapters `name` random values."""
    rng = np.random.RandomState(5)
    self.Load({v: 0.3 * rng.randn(*v.shape) for v in self.layer.vars.adapters[name].Flatten()})


class AdaptedEncoderTest(graph_case.GraphCase):
  @classmethod
  @functools.cache
  def _Shared(cls, position):
    """The _Adapted of a position, whose graph is built once for all tests."""
    return _Adapted(position)

  def _Randomize(self, layer, name):
    """Gives the adapters `name` random values."""
    rng = np.random.RandomState(5)
    self.Eval(*[tf.assign(v, 0.3 * rng.randn(*v.shape)) for v in layer.vars.adapters[name].Flatten()])

  def test_is_the_plain_encoder_bit_for_bit_when_made(self):
    plain = self.Eval(_Encode(self.Layer(EncoderParams())))
    for position in adapter.POSITIONS:
      with self.subTest(position):
        shared = self._Shared(position).Reset()
        np.testing.assert_array_equal(shared.session.run(shared.encoded), plain)

  def test_without_an_active_adapter_the_graph_is_the_same(self):
    graphs = []
    for settings in ({}, dict(adapters=['target']), dict(adapters=['target'], active_adapter='target')):
      with self.NewGraph():
        layer = self.Layer(EncoderParams(**settings))
        before = len(tf.get_default_graph().get_operations())
        _Encode(layer)
        graphs.append([(op.type, len(op.inputs)) for op in tf.get_default_graph().get_operations()[before:]])
    self.assertEqual(graphs[0], graphs[1])
    self.assertGreater(len(graphs[2]), len(graphs[0]))

  def test_variables_of_the_blocks_keep_their_names(self):
    plain = {v.name for v in self.Layer(EncoderParams()).vars.Flatten()}
    for position, places in (
      ('after_block', {'after_block'}),
      ('parallel', {'parallel'}),
      ('after_ff', {'fflayer_start', 'fflayer_end'}),
    ):
      with self.subTest(position):
        names = {v.name for v in self._Shared(position).layer.vars.Flatten()}
        self.assertTrue(plain <= names)
        self.assertEqual(
          {tuple(n.split('/')[1:5]) for n in names - plain},
          {('adapters', name, 'block_0', place) for place in places for name in ('target', 'other')},
        )

  def test_only_the_active_adapters_have_an_effect(self):
    for position in adapter.POSITIONS:
      with self.subTest(position):
        shared = self._Shared(position).Reset()
        plain = shared.session.run(shared.encoded)
        shared.Randomize('other')
        np.testing.assert_array_equal(shared.session.run(shared.encoded), plain)
        shared.Randomize('target')
        self.assertGreater(np.abs(shared.session.run(shared.encoded) - plain).mean(), 0.01)

  def test_remat_and_padding_change_nothing(self):
    for position in adapter.POSITIONS:
      outputs = []
      for remat in (False, True):
        with self.NewGraph():
          layer = self.Layer(
            EncoderParams(adapters=['target'], active_adapter='target', remat=remat, adapter_position=position)
          )
          variables = layer.vars.adapters.target.block_0.Flatten()
          features, paddings = tf.placeholder(tf.float32, [None, None, 80]), tf.placeholder(tf.float32, [None, None])
          encoded = layer.FProp(layer.theta, features, paddings)[0][:, :5]
          grads = tf.gradients(tf.reduce_sum(encoded**2), variables)
          self._Randomize(layer, 'target')
          padded = {features: _FEATURES, paddings: np.arange(32) >= np.array([[20], [32]])}
          outputs.append(self._session.run([encoded, *grads], padded))
          alone = self._session.run(encoded, {features: _FEATURES[:1, :20], paddings: np.zeros([1, 20])})
          np.testing.assert_allclose(alone[0], outputs[-1][0][0], atol=2e-4)
      with self.subTest(position):
        for a, b in zip(*outputs):
          np.testing.assert_allclose(a, b, atol=1e-3)

  def test_gradient_reaches_every_adapter_at_the_second_step(self):
    for position in adapter.POSITIONS:
      with self.subTest(position):
        shared = self._Shared(position).Reset()
        first, before = shared.session.run((shared.gradients, shared.variables))
        for v, g in zip(shared.variables, first):
          self.assertEqual(np.any(g), '/up/' in v.name, v.name)
        shared.Load({v: x - 1e-3 * g for v, x, g in zip(shared.variables, before, first)})
        for v, g in zip(shared.variables, shared.session.run(shared.gradients)):
          self.assertTrue(np.any(g), v.name)

  def test_bfloat16_stays_near_float32(self):
    layer = self.Layer(
      EncoderParams(adapters=['target'], active_adapter='target', fprop_dtype=tf.bfloat16, adapter_position='after_ff')
    )
    encoded = _Encode(layer)
    self._Randomize(layer, 'target')
    shared = self._Shared('after_ff').Reset()
    plain = shared.session.run(shared.encoded)
    shared.Randomize('target')
    expected = shared.session.run(shared.encoded)
    off = np.abs(self.Eval(encoded) - expected).mean()
    self.assertLess(off, 0.05)
    self.assertLess(off, 0.2 * np.abs(plain - expected).mean())  # The adapters are applied, too.

  def test_errors_name_field_value_and_nearest(self):
    for settings, expected in (
      (
        dict(adapters=['target', 'other'], active_adapter='targt'),
        "layer.active_adapter = 'targt': expected one of target, other; did you mean "
        r'target\?',
      ),
      (dict(active_adapter='target'), "layer.active_adapter = 'target': expected None"),
      (
        dict(adapters=['target'], adapter_position='after_blok'),
        "layer.adapter_position = 'after_blok': expected one of after_block, "
        r'parallel, after_ff; did you mean after_block\?',
      ),
      (dict(adapters=['a', 'b', 'a']), 'layer.adapters: a is named twice'),
      (dict(adapters=['none']), "layer.adapters: 'none' is not a valid name, .*, and not none"),
      (
        dict(adapters=['a/b']),
        "layer.adapters: 'a/b' is not a valid name, "
        'expected lower-case letters, digits and _, starting with a letter, and not none',
      ),
    ):
      with self.subTest(str(settings)), self.NewGraph(), self.assertRaisesRegex(errors.ConfigError, f'^{expected}$'):
        self.Layer(EncoderParams(**settings))


if __name__ == '__main__':
  absltest.main()
