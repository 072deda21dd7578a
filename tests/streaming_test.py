"""A causal encoder gives in steps what it gives at once, and sees no future."""

import functools

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import cluster_factory

from fm_lingvo.layers import conformer_encoder
from fm_lingvo.layers import subsampling
from fm_lingvo.runtime import session
from tests import graph_case

_BATCH, _TIME, _BINS = 3, 80, 16
_LENGTHS = (80, 43, 8)
_GROUP_NORM = dict(kind='stack', conv_norm='group_norm', group_norm_groups=4, num_layers=1)
_SETTINGS = (
  dict(kind='conv'),
  dict(kind='stack'),
  dict(kind='conv', factor=8, num_layers=1),
  dict(kind='stack', factor=8, num_layers=1),
  # What differs is inside a block: one will do.
  _GROUP_NORM,
  dict(kind='stack', use_relative_atten=False, num_layers=1),
  dict(kind='stack', kernel_size=1, atten_left_context=1, num_layers=1),
  dict(kind='conv', kernel_size=8, atten_left_context=40, num_layers=1),
)


def _Params(**overrides):
  p = conformer_encoder.ConformerEncoder.Params().Set(
    model_dim=16,
    num_layers=2,
    num_heads=2,
    kernel_size=5,
    random_seed=3,
    causal=True,
    atten_left_context=6,
    atten_right_context=0,
  )
  p.num_bins = _BINS
  p.subsampling.Set(channels=4, kind=overrides.pop('kind', 'conv'), factor=overrides.pop('factor', 4))
  return p.Set(name='layer', **overrides)


def _Features(seed=0):
  return np.random.RandomState(seed).randn(_BATCH, _TIME, _BINS).astype(np.float32)


def _Paddings(lengths=_LENGTHS):
  return (np.arange(_TIME)[None] >= np.array(lengths)[:, None]).astype(np.float32)


class _Streaming:
  """A causal encoder in a graph and a session of its own: encodes a batch at once and in steps."""

  def __init__(self, **overrides):
    self.graph = tf.Graph()
    with self.graph.as_default(), cluster_factory.SetEval(True):
      tf.random.set_seed(1234)
      self.layer = _Params(**overrides).Instantiate()
      self._inputs = tf.placeholder(tf.float32, [_BATCH, _TIME, _BINS]), tf.placeholder(tf.float32, [_BATCH, _TIME])
      self._encoded = self.layer.FProp(self.layer.theta, *self._inputs)
      self._zero = self.layer.zero_state(_BATCH)
      self._step_inputs = tf.placeholder(tf.float32, [_BATCH, None, _BINS]), tf.placeholder(tf.float32, [_BATCH, None])
      self._state = self._zero.Transform(lambda t: tf.placeholder(t.dtype, t.shape))
      *self._step, self._next_state = self.layer.StreamStep(self.layer.theta, *self._step_inputs, self._state)
      self.session = tf.Session(graph=self.graph, config=session.Config())
      self.session.run(tf.global_variables_initializer())
    assert self._state.IsCompatible(self._next_state)

  def Batch(self, features, paddings):
    """(encoded, paddings) of a batch at once."""
    return self.session.run(self._encoded, dict(zip(self._inputs, (features, paddings))))

  def ZeroState(self):
    """Values of the state before the first step."""
    return self.session.run(self._zero.Flatten())

  def Step(self, features, paddings, state):
    """(encoded, paddings, state) of one step, which gets the state alone of those before it."""
    feeds = dict(zip((*self._step_inputs, *self._state.Flatten()), (features, paddings, *state)))
    return self.session.run((*self._step, self._next_state.Flatten()), feeds)

  def Steps(self, features, paddings, sizes):
    """(encoded, paddings) of a batch in steps of so many frames."""
    state, outputs, start = self.ZeroState(), [], 0
    for size in sizes:
      *output, state = self.Step(features[:, start : start + size], paddings[:, start : start + size], state)
      outputs.append(output)
      start += size
    assert start == _TIME
    return [np.concatenate(parts, axis=1) for parts in zip(*outputs)]


class StreamingTest(graph_case.GraphCase):
  """Graphs of the encoders of _SETTINGS are built once, by _Shared."""

  def setUp(self):
    super().setUp()
    self.enter_context(self.EvalMode())

  @classmethod
  @functools.cache
  def _Shared(cls, **settings):
    return _Streaming(**settings)

  def _Encoder(self, **overrides):
    return _Params(**overrides).Instantiate()

  def _Batch(self, layer, features, paddings):
    return layer.FProp(layer.theta, tf.constant(features), tf.constant(paddings))

  def _AssertStepsEqualBatch(self, encoder, step_sizes):
    features, paddings = _Features(), _Paddings()
    batch, batch_pads = encoder.Batch(features, paddings)
    valid = 1.0 - batch_pads[:, :, None]
    self.assertGreater(np.abs(batch * valid).max(), 0.1)
    for sizes in step_sizes:
      x, pads = encoder.Steps(features, paddings, sizes)
      np.testing.assert_array_equal(pads, batch_pads)
      np.testing.assert_allclose(x * valid, batch * valid, atol=1e-5)

  def test_steps_equal_the_batch(self):
    for settings in _SETTINGS:
      with self.subTest(**settings):
        steps = [[8] * 10, [40, 40], [_TIME]]
        if 'factor' not in settings:
          steps += [[4] * 20, [4, 32, 12, 8, 24]]
        self._AssertStepsEqualBatch(self._Shared(**settings), steps)

  def test_steps_equal_the_batch_with_adapters(self):
    positions = [dict(adapter_position=position) for position in ('after_block', 'parallel', 'after_ff')]
    for settings in (*positions, dict(adapter_kind='lora'), dict(adapter_kind='bias')):
      with self.subTest(**settings):
        encoder = _Streaming(kind='stack', adapters=['a', 'b'], active_adapter='b', num_layers=1, **settings)
        # Adapters are the identity when made: give those of `b` something to do; LoRA is a product of two of them.
        scale = 0.3 if settings.get('adapter_kind') == 'lora' else 0.1
        inputs = _Features(), _Paddings()
        before = encoder.Batch(*inputs)[0]
        with encoder.graph.as_default():
          for v in encoder.layer.adapters.b.vars.Flatten():
            encoder.session.run(v.assign(scale * tf.random.stateless_normal(v.shape, [1, 2])))
        self.assertGreater(np.abs(encoder.Batch(*inputs)[0] - before).max(), 0.1)
        self._AssertStepsEqualBatch(encoder, ([4] * 20, [16] * 5))

  def test_steps_of_whole_chunks_equal_the_batch(self):
    """Chunks of 4 frames; those of an encoder without left context know nothing of each other but for convolutions."""
    for settings in (dict(), dict(use_relative_atten=False, num_layers=1), dict(atten_left_context=1, num_layers=1)):
      with self.subTest(**settings):
        encoder = _Streaming(kind='stack', atten_chunk_size=4, **settings)
        self.assertEqual(encoder.layer.stream_frames, 4)
        self._AssertStepsEqualBatch(encoder, ([16] * 5, [32, 48], [_TIME]))
        features, other = _Features(), _Features()
        other[:, 32:48] = _Features(seed=1)[:, 32:48]  # The frames 8 to 11, which are a chunk.
        a, b = (encoder.Batch(x, _Paddings([_TIME] * _BATCH))[0] for x in (features, other))
        np.testing.assert_allclose(a[:, :8], b[:, :8], atol=1e-6)
        self.assertGreater(np.abs(a[:, 8] - b[:, 8]).max(), 1e-3)

  def test_future_frames_change_no_past_output(self):
    for settings in _SETTINGS:
      with self.subTest(**settings):
        features, paddings = _Features(), _Paddings([_TIME] * _BATCH)
        other = features.copy()
        other[:, 48:] = _Features(seed=1)[:, 48:]
        a, b = (self._Shared(**settings).Batch(x, paddings)[0] for x in (features, other))
        same = 48 // settings.get('factor', 4)
        np.testing.assert_allclose(a[:, :same], b[:, :same], atol=1e-6)
        self.assertGreater(np.abs(a[:, same] - b[:, same]).max(), 1e-3)

  def test_an_encoder_that_is_not_causal_sees_the_future(self):
    layer = self._Encoder(causal=False)  # Through its convolutions.
    features, paddings = _Features(), _Paddings([_TIME] * _BATCH)
    other = features.copy()
    other[:, 44:] = _Features(seed=1)[:, 44:]
    a, b = self.Eval(self._Batch(layer, features, paddings)[0], self._Batch(layer, other, paddings)[0])
    self.assertGreater(np.abs(a[:, :11] - b[:, :11]).max(), 1e-3)

  def test_the_state_keeps_its_shape(self):
    for settings in (dict(kind='conv'), _GROUP_NORM):
      with self.subTest(**settings):
        encoder = self._Shared(**settings)
        before = encoder.ZeroState()
        *_, after = encoder.Step(_Features(), _Paddings(), before)
        self.assertEqual([(v.shape, v.dtype) for v in before], [(v.shape, v.dtype) for v in after])

  def test_causal_or_not_the_variables_are_the_same(self):
    names = []
    for overrides in (dict(), dict(causal=False, atten_left_context=None, atten_right_context=None)):
      with self.NewGraph():
        layer = self._Encoder(**overrides)
        names.append([(v.name, v.shape) for v in layer.vars.Flatten()])
    self.assertEqual(*names)

  def test_gradients_reach_every_variable(self):
    layer = self._Encoder()
    x, _ = self._Batch(layer, _Features(), _Paddings())
    variables = layer.vars.Flatten()
    for v, grad in zip(variables, tf.gradients(tf.reduce_sum(x**2), variables)):
      self.assertIsNotNone(grad, v.name)

  def test_errors_name_field_value_and_what_is_expected(self):
    for overrides, expected in (
      (dict(atten_left_context=None), r'layer.atten_left_context = None: expected >= 1 with causal = True'),
      (dict(atten_left_context=0), 'atten_left_context = 0: expected None or an integer >= 1'),
      (dict(atten_right_context=2), 'atten_right_context = 2: expected 0 with causal = True'),
      (dict(atten_right_context=None), 'atten_right_context = None: expected 0 with causal = True'),
      (dict(causal=False, atten_right_context=-1), 'atten_right_context = -1: expected None or an integer >= 0'),
      (
        dict(causal=False, atten_left_context=None),
        'atten_left_context = None: expected a number of frames, since atten_right_context = 0',
      ),
      (dict(causal=False, atten_chunk_size=0), 'atten_chunk_size = 0: expected None or an integer >= 1'),
    ):
      with self.subTest(expected), self.assertRaisesRegex(ValueError, expected) as e:
        self._Encoder(**overrides)
      self.assertNotIn('\n', str(e.exception))

  def test_what_cannot_stream_says_why(self):
    for overrides, expected in (
      (dict(causal=False), 'causal = False: expected True for streaming'),
      (dict(remat=True), 'remat = True: expected False for streaming'),
      (dict(fprop_dtype=tf.bfloat16), 'fprop_dtype = bfloat16: expected float32 for streaming'),
    ):
      with self.subTest(expected), self.NewGraph():
        layer = self._Encoder(**overrides)
        with self.assertRaisesRegex(ValueError, expected):
          layer.zero_state(1)

  def test_causal_convolution_pads_bins_as_the_other(self):
    for bins in (7, 8):
      with self.subTest(bins), self.NewGraph():
        p = subsampling.CausalConv.Params().Set(
          filter_shape=(3, 3, 1, 2), filter_stride=(2, 2), bias=True, num_bins=bins
        )
        layer = self.Layer(p)
        x = np.random.RandomState(0).randn(1, 8, bins, 1).astype(np.float32)
        out, _ = layer.FProp(layer.theta, tf.constant(x), tf.zeros([1, 8]))
        # Moved one frame later, SAME's frames are those that a causal output sees.
        same = tf.nn.conv2d(np.pad(x, [[0, 0], [1, 1], [0, 0], [0, 0]]), layer.theta.w, strides=2, padding='SAME')
        out, same = self.Eval(out, same)
        np.testing.assert_allclose(out, same[:, :4], atol=1e-6)


if __name__ == '__main__':
  absltest.main()
