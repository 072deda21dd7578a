"""Properties of the language model, of its file, and of fusion in a head."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.data import tokenizer
from fm_lingvo.decoding import language_model
from params import base
from tests import graph_case
from tests import language_model_case

_VOCAB = 9


class LanguageModelTest(graph_case.GraphCase):
  def _Layer(self):
    return language_model.Params(_VOCAB, embedding_dim=5, hidden_dim=7, num_layers=2).Instantiate()

  def _Labels(self, *shape):
    return np.random.RandomState(0).randint(1, _VOCAB, shape).astype(np.int32)

  def test_probabilities_of_labels_without_blank_sum_to_1(self):
    layer = self._Layer()
    log_probs = self.Eval(layer.FProp(layer.theta, tf.constant(self._Labels(3, 6))))
    self.assertEqual(log_probs.shape, (3, 7, _VOCAB))
    np.testing.assert_allclose(np.exp(log_probs[..., 1:]).sum(-1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(log_probs[..., 0], 0.0)

  def test_step_by_step_equals_fprop(self):
    layer, labels = self._Layer(), self._Labels(3, 6)
    state, steps = layer.ZeroState(layer.theta, 3), []
    for ids in np.pad(labels, [[0, 0], [1, 0]]).T:
      step, state = layer.Step(layer.theta, tf.constant(ids), state)
      steps.append(step)
    whole, steps = self.Eval(layer.FProp(layer.theta, tf.constant(labels)), tf.stack(steps, 1))
    np.testing.assert_allclose(steps, whole, atol=1e-5)

  def test_computes_in_bfloat16_too(self):
    layer, labels = self._Layer(), tf.constant(self._Labels(3, 6))
    p = layer.params.Copy().Set(name='half', fprop_dtype=tf.bfloat16)
    half = p.Instantiate()
    theta = half.theta.Pack([tf.cast(x, tf.bfloat16) for x in layer.theta.Flatten()])
    expected, found = self.Eval(layer.FProp(layer.theta, labels), half.FProp(theta, labels))
    np.testing.assert_allclose(found, expected, atol=0.05)

  def test_loss_is_the_mean_of_labels_in_use_whatever_the_padding(self):
    layer, labels, lengths = self._Layer(), self._Labels(2, 6), [6, 3]
    labels[1, 3:] = 0
    losses = []
    for pad in (0, 4):
      padded = tf.constant(np.pad(labels, [[0, 0], [0, pad]]))
      losses.append(layer.Loss(layer.theta, padded, tf.constant(lengths)))
    log_probs, *losses = self.Eval(layer.FProp(layer.theta, tf.constant(labels)), *losses)
    expected = -np.mean([log_probs[i, u, labels[i, u]] for i, n in enumerate(lengths) for u in range(n)])
    for loss, count in losses:
      self.assertAlmostEqual(loss, expected, places=5)
      self.assertEqual(count, 9)


class FrozenTest(graph_case.GraphCase):
  def setUp(self):
    super().setUp()
    self._tokenizer = tokenizer.Tokenizer(base.GRAPHEMES_EN)
    self._path = self.create_tempfile('lm.npz').full_path

  def test_a_file_gives_the_scores_of_the_layer_that_it_was_written_from(self):
    for network in ({}, {'kind': 'stateless', 'context_size': 3}):
      with self.subTest(network), self.NewGraph():
        self._CheckScores(*language_model_case.Write(self._path, self._tokenizer, **network))

  def _CheckScores(self, params, weights):
    frozen = language_model.Frozen(self._path, self._tokenizer).InGraph()
    layer = params.Instantiate()
    theta = weights.Transform(tf.constant)
    labels = np.array([[3, 9, 2, 4]], np.int32)
    state, steps = frozen.ZeroState(1), []
    for ids in np.pad(labels, [[0, 0], [1, 0]]).T:
      step, state = frozen.Step(tf.constant(ids), state)
      steps.append(step)
    expected, found = self.Eval(layer.FProp(theta, tf.constant(labels)), tf.stack(steps, 1))
    np.testing.assert_allclose(found, expected, atol=5e-3)  # float16 in the file.

  def test_it_makes_no_variable(self):
    language_model_case.Write(self._path, self._tokenizer)
    before = tf.global_variables()
    frozen = language_model.Frozen(self._path, self._tokenizer).InGraph()
    frozen.Step(tf.zeros([2], tf.int32), frozen.ZeroState(2))
    self.assertEqual(tf.global_variables(), before)

  def test_what_is_no_language_model_of_these_labels_is_refused_in_a_line(self):
    language_model_case.Write(self._path, self._tokenizer)
    other = tokenizer.Tokenizer('params/tokenizers/wordpieces_en_1024.model')
    text = self.create_tempfile('text.npz', 'no archive').full_path
    arrays = self.create_tempfile('arrays.npz').full_path
    np.savez(arrays, x=np.zeros(3))
    for path, labels, message in (
      (
        'nowhere.npz',
        self._tokenizer,
        'nowhere.npz: no such language model in .*; train one with: python -m tools.train_lm',
      ),
      (text, self._tokenizer, r'text.npz: not a language model \(10 bytes\)'),
      (arrays, self._tokenizer, 'arrays.npz: not a language model'),
      (self._path, other, r'lm.npz: a language model of another tokenizer.s labels \(sha256 [0-9a-f]{12}...\) than '),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message) as e:
        language_model.Frozen(path, labels)
      self.assertNotIn('\n', str(e.exception))


if __name__ == '__main__':
  absltest.main()
