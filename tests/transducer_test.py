"""Properties of the prediction network and the joint."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo.layers import transducer
from tests import graph_case

_KINDS = ('lstm', 'lstm x 3', 'stateless')
_FACTORIZATIONS = ('rnnt', 'hat')


class PredictionNetworkTest(graph_case.GraphCase):
  def _Network(self, kind, **overrides):
    kind, _, num_layers = kind.partition(' x ')
    return self.Layer(
      transducer.PredictionNetwork.Params(),
      **{
        'kind': kind,
        'num_layers': int(num_layers or 1),
        'vocab_size': 9,
        'embedding_dim': 5,
        'hidden_dim': 7,
        **overrides,
      },
    )

  def _Predict(self, layer, labels):
    return self.Eval(layer.FProp(layer.theta, tf.constant(labels, tf.int32)))

  def _Labels(self, *shape):
    return np.random.RandomState(0).randint(1, 9, shape)

  def test_step_by_step_equals_fprop(self):
    for kind in _KINDS:
      for context_size in (1, 2, 4):
        with self.subTest(kind, context_size=context_size), self.NewGraph():
          layer = self._Network(kind, context_size=context_size)
          labels = self._Labels(3, 6)
          whole = self._Predict(layer, labels)
          self.assertEqual(whole.shape, (3, 7, layer.output_dim))
          state = layer.ZeroState(layer.theta, 3)
          steps = []
          for ids in np.pad(labels, [[0, 0], [1, 0]]).T:
            step, state = layer.Step(layer.theta, tf.constant(ids, tf.int32), state)
            steps.append(step)
          np.testing.assert_allclose(self.Eval(tf.stack(steps, 1)), whole, atol=1e-6)

  def test_lstm_equals_a_numpy_reference(self):
    layer = self._Network('lstm')
    labels = self._Labels(1, 5)
    whole = self._Predict(layer, labels)[0]
    embedding, w_input, w_recurrent = self.Eval(
      layer.vars.embedding, layer.vars.lstm.w_input, layer.vars.lstm.w_recurrent
    )
    self.assertEqual(self.Eval(layer.vars.lstm.b).tolist(), [0.0] * 28)

    def _Sigmoid(x):
      return 1 / (1 + np.exp(-x))

    m, c = np.zeros(7), np.zeros(7)
    for u, label in enumerate([0, *labels[0]]):
      i, f, o, a = np.split(embedding[label] @ w_input + m @ w_recurrent, 4)
      c = _Sigmoid(f + 1) * c + _Sigmoid(i) * np.tanh(a)
      m = _Sigmoid(o) * np.tanh(c)
      np.testing.assert_allclose(whole[u], m, atol=1e-5)

  def test_a_prediction_depends_on_earlier_labels_only(self):
    for kind in _KINDS:
      with self.subTest(kind), self.NewGraph():
        layer = self._Network(kind)
        labels = self._Labels(1, 6)
        changed = labels.copy()
        changed[0, 3] = labels[0, 3] % 8 + 1
        before, after = self._Predict(layer, labels), self._Predict(layer, changed)
        np.testing.assert_array_equal(before[0, :4], after[0, :4])
        self.assertGreater(np.abs(before[0, 4] - after[0, 4]).max(), 1e-3)

  def test_predictions_do_not_depend_on_padding_or_batch(self):
    for kind in _KINDS:
      with self.subTest(kind), self.NewGraph():
        layer = self._Network(kind)
        labels = self._Labels(3, 8)
        alone = self._Predict(layer, labels[1:2, :4])
        together = self._Predict(layer, labels)
        np.testing.assert_allclose(together[1, :5], alone[0], atol=1e-6)

  def test_stateless_sees_context_size_labels_and_lstm_all(self):
    first = self._Labels(1, 8)
    second = first.copy()
    second[0, 2] = first[0, 2] % 8 + 1
    for kind, differ in (('stateless', [3, 4, 5]), ('lstm', [3, 4, 5, 6, 7, 8])):
      with self.subTest(kind), self.NewGraph():
        layer = self._Network(kind, context_size=3, hidden_dim=32)
        change = np.abs(self._Predict(layer, first) - self._Predict(layer, second))
        self.assertEqual(np.flatnonzero(change[0].max(axis=1)).tolist(), differ)

  def test_unknown_shapes_and_empty_transcripts(self):
    for kind in _KINDS:
      with self.subTest(kind), self.NewGraph():
        layer = self._Network(kind)
        labels = tf.placeholder(tf.int32, [None, None])
        predicted = layer.FProp(layer.theta, labels)
        whole = self._Predict(layer, self._Labels(2, 5))
        for width in (5, 0):
          out = self._session.run(predicted, {labels: self._Labels(2, 5)[:, :width]})
          np.testing.assert_allclose(out, whole[:, : width + 1], atol=1e-6)

  def test_dropout_in_training_only_and_not_in_steps(self):
    for kind in _KINDS:
      with self.subTest(kind):
        plain, plain_step = self._WithDropout(kind, 0.0)
        dropped, step = self._WithDropout(kind, 0.5)
        self.assertGreater(np.mean(dropped == 0), np.mean(plain == 0))
        np.testing.assert_array_equal(step, plain_step)
        with self.EvalMode():
          evaluated, _ = self._WithDropout(kind, 0.5)
        np.testing.assert_array_equal(evaluated, plain)

  def _WithDropout(self, kind, dropout_prob):
    """FProp of some labels and the first Step, in a graph of their own."""
    with self.NewGraph():
      layer = self._Network(kind, dropout_prob=dropout_prob, random_seed=5)
      step, _ = layer.Step(layer.theta, tf.zeros([2], tf.int32), layer.ZeroState(layer.theta, 2))
      labels = tf.constant(self._Labels(2, 6), tf.int32)
      return self.Eval(layer.FProp(layer.theta, labels), step)

  def test_fprop_and_its_gradient_compile_under_xla(self):
    for kind in _KINDS:
      with self.subTest(kind), self.NewGraph():
        layer = self._Network(kind)
        labels = tf.constant(self._Labels(2, 6), tf.int32)
        variables = layer.vars.Flatten()

        def Gradients():
          predicted = layer.FProp(layer.theta, labels)
          grads = tf.gradients(tf.reduce_sum(predicted**2), variables)
          return [predicted] + [tf.convert_to_tensor(g) for g in grads]

        compiled = tf.function(Gradients, jit_compile=True)()
        for a, b in zip(self.Eval(*compiled), self.Eval(*Gradients())):
          self.assertGreater(np.abs(a).max(), 0)
          np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

  def test_names_of_variables_are_those_of_checkpoints(self):
    for kind, names in (
      ('lstm', ['embedding', 'lstm/b', 'lstm/w_input', 'lstm/w_recurrent']),
      ('stateless', ['embedding', 'stateless/b', 'stateless/w']),
    ):
      with self.subTest(kind), self.NewGraph():
        layer = self._Network(kind)
        self.assertEqual(sorted(v.name for v in layer.vars.Flatten()), [f'layer/{name}/var:0' for name in names])

  def test_bfloat16_stays_near_float32_and_steps_equal_fprop(self):
    for kind in _KINDS:
      with self.subTest(kind):
        predicted = {}
        for dtype in (tf.float32, tf.bfloat16):
          with self.NewGraph():
            layer = self._Network(kind, fprop_dtype=dtype, random_seed=5)
            labels = self._Labels(2, 6)
            whole = layer.FProp(layer.theta, tf.constant(labels, tf.int32))
            self.assertEqual(whole.dtype, dtype)
            state = layer.ZeroState(layer.theta, 2)
            for ids in np.pad(labels, [[0, 0], [1, 0]]).T:
              step, state = layer.Step(layer.theta, tf.constant(ids, tf.int32), state)
            if kind == 'lstm':
              self.assertEqual(state.c.dtype, tf.float32)
            predicted[dtype], last = self.Eval(tf.cast(whole, tf.float32), tf.cast(step, tf.float32))
            np.testing.assert_allclose(last, predicted[dtype][:, -1], atol=1e-2)
        np.testing.assert_allclose(predicted[tf.bfloat16], predicted[tf.float32], atol=0.05)

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('kind', 'gru', "kind = 'gru': expected one of lstm, stateless"),
      ('vocab_size', None, 'vocab_size = None: expected >= 2'),
      ('embedding_dim', 0, 'embedding_dim = 0: expected >= 1'),
      ('context_size', 0, 'context_size = 0: expected >= 1'),
      ('dropout_prob', 1.0, r'dropout_prob = 1.0: expected a share in \[0, 1\)'),
    ):
      with self.subTest(field), self.assertRaisesRegex(ValueError, expected):
        self._Network(**{'kind': 'stateless', field: value})


class JointTest(graph_case.GraphCase):
  def _Joint(self, **overrides):
    return self.Layer(
      transducer.Joint.Params(), **{'input_dim': 6, 'predicted_dim': 5, 'vocab_size': 4, 'joint_dim': 8, **overrides}
    )

  def _Randn(self, *shape):
    return np.random.RandomState(0).randn(*shape).astype(np.float32)

  def _Lattice(self, layer, encoded, predicted):
    """Log-probabilities of all nodes, [T, U + 1, V]."""
    enc = layer.ProjectEncoded(layer.theta, tf.constant(encoded))
    pred = layer.ProjectPredicted(layer.theta, tf.constant(predicted))
    return self.Eval(
      tf.stack(
        [layer.LogProbs(layer.theta, tf.tile(enc[t : t + 1], [len(predicted), 1]), pred) for t in range(len(encoded))]
      )
    )

  def test_log_probs_are_normalised(self):
    for factorization in _FACTORIZATIONS:
      with self.subTest(factorization), self.NewGraph():
        layer = self._Joint(factorization=factorization)
        lattice = self._Lattice(layer, 5 * self._Randn(7, 6), 5 * self._Randn(3, 5))
        np.testing.assert_allclose(np.exp(lattice).sum(axis=-1), 1, rtol=1e-5)
        self.assertGreater(lattice.std(), 0.1)

  def test_blank_of_hat_is_a_sigmoid_and_labels_share_the_rest(self):
    layer = self._Joint(factorization='hat')
    enc, pred = self._Randn(3, 8), self._Randn(3, 8)[::-1]
    out = self.Eval(layer.LogProbs(layer.theta, tf.constant(enc), tf.constant(pred)))
    w, b = self.Eval(layer.vars.w, layer.vars.b)
    logits = np.tanh(enc + pred) @ w + b
    blank = 1 / (1 + np.exp(-logits[:, 0]))
    np.testing.assert_allclose(np.exp(out[:, 0]), blank, rtol=1e-5)
    shares = np.exp(logits[:, 1:])
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(out[:, 1:]), (1 - blank)[:, None] * shares, rtol=1e-5)

  def test_the_internal_language_model_is_the_labels_posterior_at_a_frame_of_zeros(self):
    for factorization in _FACTORIZATIONS:
      with self.subTest(factorization), self.NewGraph():
        layer = self._Joint(factorization=factorization)
        pred = tf.constant(self._Randn(5, layer.params.joint_dim))
        silence = layer.ProjectEncoded(layer.theta, tf.zeros([5, layer.params.input_dim]))
        self.Eval(pred)  # Initialises the variables.
        graph_case.Load(self._session, {layer.vars.b_encoded: self._Randn(layer.params.joint_dim)})
        node, internal = self.Eval(
          layer.LogProbs(layer.theta, silence, pred), layer.InternalLogProbs(layer.theta, pred)
        )
        labels = node[:, 1:]
        np.testing.assert_allclose(
          internal[:, 1:], labels - np.logaddexp.reduce(labels, axis=1, keepdims=True), atol=1e-5
        )
        np.testing.assert_array_equal(internal[:, 0], 0.0)

  def test_loss_equals_the_sum_over_alignments_of_log_probs(self):
    encoded, predicted = self._Randn(2, 4, 6), self._Randn(2, 3, 5)
    labels, lengths, label_lengths = np.array([[2, 3], [1, 0]]), [4, 3], [2, 1]
    for factorization in _FACTORIZATIONS:
      with self.subTest(factorization), self.NewGraph():
        layer = self._Joint(factorization=factorization)
        loss = self.Eval(
          layer.Loss(
            layer.theta,
            tf.constant(encoded),
            tf.constant(predicted),
            tf.constant(labels, tf.int32),
            tf.constant(lengths),
            tf.constant(label_lengths),
          )
        )
        for i in range(2):
          lattice = self._Lattice(layer, encoded[i], predicted[i])
          np.testing.assert_allclose(
            loss[i], _BruteForceLoss(lattice, labels[i][: label_lengths[i]], lengths[i]), rtol=1e-5
          )

  def test_options_reach_the_loss(self):
    encoded, predicted = self._Randn(1, 4, 6), self._Randn(1, 3, 5)
    results = {}
    for name, value in (('vocab_size', 4), ('label_smoothing', 0.2), ('fastemit_lambda', 0.5)):
      with self.NewGraph():
        layer = self._Joint(**{name: value})
        loss = layer.Loss(
          layer.theta,
          tf.constant(encoded),
          tf.constant(predicted),
          tf.constant([[2, 3]]),
          tf.constant([4]),
          tf.constant([2]),
        )
        results[name] = self.Eval(loss, tf.gradients(loss, layer.vars.b)[0])
    plain, smooth, early = results.values()
    self.assertGreater(abs(smooth[0] - plain[0])[0], 1e-3)
    np.testing.assert_array_equal(early[0], plain[0])
    self.assertGreater(np.abs(early[1] - plain[1]).max(), 1e-3)

  def test_evaluation_s_loss_is_the_likelihood_whatever_training_adds(self):
    encoded, predicted = self._Randn(1, 4, 6), self._Randn(1, 3, 5)
    losses = []
    for smoothing in (0.0, 0.2):
      with self.NewGraph(), self.EvalMode():
        layer = self._Joint(label_smoothing=smoothing)
        losses.append(
          self.Eval(
            layer.Loss(
              layer.theta,
              tf.constant(encoded),
              tf.constant(predicted),
              tf.constant([[2, 3]]),
              tf.constant([4]),
              tf.constant([2]),
            )
          )
        )
    np.testing.assert_array_equal(*losses)

  def test_every_variable_is_trained(self):
    layer = self._Joint()
    loss = layer.Loss(
      layer.theta,
      tf.constant(self._Randn(1, 4, 6)),
      tf.constant(self._Randn(1, 3, 5)),
      tf.constant([[2, 3]]),
      tf.constant([4]),
      tf.constant([2]),
    )
    names = {v.name: v for v in layer.vars.Flatten()}
    self.assertEqual(
      sorted(names), [f'layer/{name}/var:0' for name in ('b', 'b_encoded', 'w', 'w_encoded', 'w_predicted')]
    )
    for grad in self.Eval(*tf.gradients(loss, list(names.values()))):
      self.assertGreater(np.abs(grad).max(), 0)

  def test_errors_name_field_value_and_range(self):
    for field, value, expected in (
      ('factorization', 'mbr', "factorization = 'mbr': expected one of rnnt, hat"),
      ('input_dim', None, 'input_dim = None: expected >= 1'),
      ('vocab_size', 1, 'vocab_size = 1: expected >= 2'),
      ('joint_dim', 0, 'joint_dim = 0: expected >= 1'),
      ('label_smoothing', 1, r'label_smoothing = 1: expected a share in \[0, 1\)'),
      ('fastemit_lambda', -1, 'fastemit_lambda = -1: expected >= 0'),
    ):
      with self.subTest(field), self.assertRaisesRegex(ValueError, expected):
        self._Joint(**{field: value})


def _BruteForceLoss(lattice, labels, frames):
  """Minus the log of the sum over paths, each walked on its own; [T, U + 1, V]."""

  def _Paths(t, u):
    blank = lattice[t, u, 0]
    if t == frames - 1 and u == len(labels):
      return [blank]
    paths = []
    if t < frames - 1:
      paths += [blank + rest for rest in _Paths(t + 1, u)]
    if u < len(labels):
      paths += [lattice[t, u, labels[u]] + rest for rest in _Paths(t, u + 1)]
    return paths

  return -np.logaddexp.reduce(np.array(_Paths(0, 0), np.float64))


if __name__ == '__main__':
  absltest.main()
