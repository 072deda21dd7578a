"""Properties of the task that trains a language model: its loss, its metrics, the tokenizer's record."""

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.tasks import language_model_task
from params import base
from params import text
from tests import graph_case


class LanguageModelTaskTest(graph_case.GraphCase):
  def _Task(self, **fields):
    p = text.LanguageModel(embedding_dim=3, hidden_dim=5, num_layers=2).Task().Set(input=None, **fields)
    return p.Instantiate()

  def _Batch(self, pad=0):
    labels = np.pad([[3, 9, 1, 4], [2, 7, 0, 0], [0, 0, 0, 0]], [[0, 0], [0, pad]]).astype(np.int32)
    return py_utils.NestedMap(
      labels=tf.constant(labels),
      lengths=tf.constant([4, 2, 0]),
      num_chars=tf.constant([5, 2, 0]),
      weights=tf.constant([1.0, 1.0, 0.0]),
      dropped=tf.constant([2.0] * 3),
    )

  def test_metrics_are_means_whatever_the_padding(self):
    task = self._Task()
    found = []
    for pad in (0, 3):
      batch = self._Batch(pad)
      metrics, tensors = task.ComputeLoss(task.theta, task.ComputePredictions(task.theta, batch), batch)
      found.append(metrics)
    log_probs = task.lm.FProp(task.theta.lm, self._Batch().labels)
    log_probs, found, tensors, labels = self.Eval(log_probs, found, tensors, self._Batch().labels)
    nats = -sum(log_probs[b, u, labels[b, u]] for b, u in np.argwhere(labels))
    for metrics in found:
      np.testing.assert_allclose(metrics['loss'], (nats / 6, 6), rtol=1e-5)
      np.testing.assert_allclose(metrics['bits_per_character'], (nats / 7 / np.log(2), 7), rtol=1e-5)
      np.testing.assert_allclose(metrics['unknown_labels'], (1 / 6, 6), rtol=1e-6)  # Label 1.
    np.testing.assert_array_equal(tensors['text/num_labels'], [4, 2, 0])
    np.testing.assert_array_equal(tensors['text/weights'], [1, 1, 0])

  def test_the_perplexity_is_that_of_the_mean(self):
    task = self._Task()
    self.assertAlmostEqual(task.DerivedMetrics({'loss': 2.0})['perplexity'], np.exp(2.0))
    self.assertEqual(task.DerivedMetrics({}), {})

  def test_all_is_trained_but_the_record(self):
    task = self._Task()
    self.assertEqual([v.op.name for v in task.vars.Flatten() if not v.trainable], ['task/tokenizer_record/var'])
    self.assertEqual(task.Components(), {'lm': task.lm})

  def test_another_tokenizers_checkpoint_is_refused(self):
    task = self._Task()
    with tf.Session() as sess:
      sess.run(tf.global_variables_initializer())
      record = task.vars.tokenizer_record
      task.CheckRestored({record.op.name: sess.run(record)}, 'ckpt')
    task.CheckRestored({}, 'ckpt')  # Without its record.
    with self.assertRaisesRegex(errors.ConfigError, f'ckpt: made with another tokenizer than {base.GRAPHEMES_EN} '):
      task.CheckRestored({record.op.name: np.zeros(16)}, 'ckpt')

  def test_the_inputs_tokenizer_is_the_tasks(self):
    p = text.LanguageModel().Task().Set(tokenizer_file=base.WORDPIECES_EN, input=text.LanguageModel().Train())
    with self.assertRaisesRegex(errors.ConfigError, "task.tokenizer_file = .*: expected the same model as the input's"):
      p.Instantiate()

  def test_its_params_read_a_runs_own_tokenizer(self):
    params = py_utils.NestedMap(task=text.LanguageModel().Task(), input=text.LanguageModel().Train())
    language_model_task.LanguageModelTask.UseKeptTokenizers(params, lambda name: f'run/{name}.model')
    self.assertEqual(params.task.tokenizer_file, 'run/lm.model')
    self.assertEqual(params.input.tokenizer_file, 'run/lm.model')


if __name__ == '__main__':
  absltest.main()
