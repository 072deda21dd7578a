"""Steps with a NaN or an Inf: nothing changes in them, they are counted, and their utterances are named."""

import os

import numpy as np
from absl.testing import flagsaver
from absl.testing import parameterized
from lingvo import compat as tf
from lingvo.core import cluster_factory
from lingvo.core import learner as lingvo_learner
from lingvo.core import optimizer
from lingvo.core import py_utils

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from fm_lingvo.tasks import base_task
from fm_lingvo.training import nonfinite_steps
from fm_lingvo.utils import own_names
from tests import graph_case


class LearnerTest(graph_case.GraphCase, parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.enter_context(flagsaver.flagsaver(enable_check_numerics=False))  # As fm_lingvo/training/launch.py does.

  def _Train(
    self, factors, optimizer_tpl=None, in_gradient=False, in_loss=False, cls=nonfinite_steps.Learner, **clipping
  ):
    """Per step: values of all variables after it, and whether it was skipped; its loss is multiplied by a factor."""
    with self.NewGraph():
      factor = tf.placeholder(tf.float32, [])
      w = py_utils.CreateVariable('w', py_utils.WeightParams([3], init=py_utils.WeightInit.Constant(1.0)))
      learner = (
        cls.Params()
        .Set(
          name='loss',
          learning_rate=0.1,
          optimizer=optimizer_tpl or optimizer.Adam.ParamsB(),
          **(clipping or {'clip_gradient_norm_to_value': 1.0}),
        )
        .Instantiate()
      )
      loss = tf.reduce_sum(w * w) * factor
      if in_gradient:  # The loss is finite; the slope of its second term is `factor`.

        @tf.custom_gradient
        def _Second(x):
          return tf.zeros([]), lambda grad: grad * factor * tf.ones_like(x)

        loss = tf.reduce_sum(w * w) + _Second(w)
      if in_loss:  # The slope is finite whatever the loss is.

        @tf.custom_gradient
        def _Alone(x):
          return tf.reduce_sum(x * x) * factor, lambda grad: 2.0 * x

        loss = _Alone(w)
      _, update, metrics = learner.Apply({'loss': (loss, tf.constant(1.0))}, py_utils.NestedMap(w=w))
      with tf.control_dependencies([update]):
        step = tf.assign_add(py_utils.GetGlobalStep(), 1)
      variables = {v.op.name: v for v in tf.global_variables() if 'global_step' not in v.op.name}
      states, skipped = [], []
      with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        for value in factors:
          fetched, _ = sess.run([metrics, step], {factor: value})
          states.append(sess.run(variables))
          skipped.append(own_names.IsSkipped(fetched))
    return states, skipped

  def _AssertSame(self, a, b):
    self.assertEqual(set(a), set(b))
    for name in a:
      np.testing.assert_array_equal(a[name], b[name], name)

  # The squares of the last one's gradient are too large for float32.
  @parameterized.parameters(
    (np.nan, False), (np.inf, False), (-np.inf, False), (np.nan, True), (np.inf, True), (1e30, True)
  )
  def test_a_bad_step_is_as_if_it_had_not_been(self, bad, in_gradient):
    states, skipped = self._Train([1.0, bad, 1.0, bad], in_gradient=in_gradient)
    whole, _ = self._Train([1.0, 1.0], in_gradient=in_gradient)
    self.assertEqual(skipped, [False, True, False, True])
    self._AssertSame(states[1], states[0])
    self._AssertSame(states[2], whole[1])
    self._AssertSame(states[3], states[2])
    self.assertTrue(any(not np.array_equal(states[2][n], states[1][n]) for n in states[2]))

  @parameterized.parameters(
    {'clip_gradient_norm_to_value': 1.0},
    {'clip_gradient_norm_to_value': 1e4},
    {'grad_norm_to_clip_to_zero': 8.0},
    {'clip_gradient_single_norm_to_value': 0.5},
  )
  def test_gradients_are_clipped_as_in_lingvo(self, **clipping):
    sgd = optimizer.SGD.Params()
    ours, _ = self._Train([1.0, 5.0, 0.1], sgd, **clipping)
    lingvos, _ = self._Train([1.0, 5.0, 0.1], sgd, cls=lingvo_learner.Learner, **clipping)
    for a, b in zip(ours, lingvos):
      self._AssertSame(a, b)

  def test_norms_of_single_gradients_are_built_for_summaries_only(self):
    def _Norms(add_summary):
      with self.NewGraph(), cluster_factory.ForTestingWorker(add_summary=add_summary):
        ws = py_utils.NestedMap(
          {f'w{i}': py_utils.CreateVariable(f'w{i}', py_utils.WeightParams([3])) for i in range(8)}
        )
        learner = (
          nonfinite_steps.Learner.Params()
          .Set(name='loss', learning_rate=0.1, optimizer=optimizer.SGD.Params(), clip_gradient_norm_to_value=1.0)
          .Instantiate()
        )
        loss = tf.add_n([tf.reduce_sum(w * w) for w in ws.Flatten()])
        learner.Apply({'loss': (loss, tf.constant(1.0))}, ws)
        return sum(op.type == 'Sqrt' for op in tf.get_default_graph().get_operations())

    self.assertEqual(_Norms(False), 2)  # Of all gradients, and of all weights.
    self.assertEqual(_Norms(True), 2 + 2 * 8)

  def test_under_accumulation_a_bad_step_adds_nothing(self):
    adam = optimizer.Accumulator.Params().Set(optimizer_tpl=optimizer.Adam.ParamsB(), accum_steps=4, dtype=tf.float32)
    for in_loss in (False, True):
      with self.subTest(in_loss=in_loss):
        states, skipped = self._Train([1.0, np.nan, 1.0, 1.0], adam, in_loss=in_loss)
        self.assertEqual(skipped, [False, True, False, False])
        added = [name for name in states[0] if 'grad_accumulator' in name]
        self.assertNotEmpty(added)
        for name in added:
          self.assertTrue(states[0][name].any(), name)
          np.testing.assert_array_equal(states[1][name], states[0][name], name)
        for state in states:
          for name, value in state.items():
            self.assertTrue(np.all(np.isfinite(value)), name)


class SkippedStepsTest(graph_case.absltest.TestCase):
  def _Rows(self, **bad):
    ids = {'a': [b'a0', b'a1', b''], 'b': [b'b0', b'b1', b'b2']}
    rows = {f'{stream}/utt_ids': np.array(found, object) for stream, found in ids.items()}
    rows.update({f'{stream}/finite': np.array([i not in bad.get(stream, ()) for i in range(3)]) for stream in ids})
    return rows

  def test_the_utterances_whose_sound_is_bad_are_named_else_all_of_the_step(self):
    self.assertEqual(nonfinite_steps.Suspects(self._Rows(b=[1])), {'b': ['b1']})
    self.assertEqual(nonfinite_steps.Suspects(self._Rows()), {'a': ['a0', 'a1'], 'b': ['b0', 'b1', 'b2']})

  def test_steps_are_counted_over_resumptions_until_there_are_too_many(self):
    folder = self.create_tempdir().full_path
    skipped = nonfinite_steps.SkippedSteps(folder, limit=2)
    for step in (3, 7, 9):
      self.assertFalse(skipped.exceeded)
      line = skipped.Add(step, {'loss': (np.nan, 1.0)}, self._Rows(a=[0]))
      self.assertIn('a: a0', line)
    self.assertTrue(skipped.exceeded)
    self.assertIsInstance(skipped.Error(), errors.RunError)
    resumed = nonfinite_steps.SkippedSteps(folder, limit=2)
    resumed.DropAfter(8)  # Of the checkpoint that the run goes on from.
    self.assertEqual(resumed.total, 2)
    rows = metrics_log.ReadMetrics(os.path.join(folder, 'skipped.jsonl'))
    self.assertEqual(
      [(row['step'], row['loss'], row['utt_ids']) for row in rows],
      [(3, 'nan', {'a': ['a0']}), (7, 'nan', {'a': ['a0']})],
    )

  def test_a_job_of_a_cluster_ends_after_as_many_as_it_may_skip(self):
    p = base_task.BaseTask.Params()
    p.train.max_skipped_steps = 2
    task = p.Instantiate()
    bad, good = ({'skipped/loss': (skipped, 1.0)} for skipped in (1.0, 0.0))
    for step, metrics in enumerate((bad, good, bad, good), 1):
      task.ProcessFPropResults(None, step, metrics, {})
    with self.assertRaisesRegex(errors.RunError, 'max_skipped_steps = 2: this job skipped 3 steps up to step 5 '):
      task.ProcessFPropResults(None, 5, bad, {})


if __name__ == '__main__':
  graph_case.absltest.main()
