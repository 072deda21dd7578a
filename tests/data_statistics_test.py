"""Properties of what is fitted before the first step: statistics of the front end, the quantizer's projection."""

import shutil
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.layers import quantizer
from fm_lingvo.training import data_statistics
from tests import graph_case
from tests import run_case

_GLOBAL = "task.frontend.normalization = 'global'"
_BATCHES = ('task.frontend.global_batches = 1', 'task.heads.best_rq.quantizer.pca_batches = 1')


class FitTest(graph_case.GraphCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.data = tempfile.mkdtemp()
    cls.addClassCleanup(shutil.rmtree, cls.data)
    run_case.WriteData(cls.data)

  def _Params(self, *bindings, model='JustHydra'):
    """Params of a tiny hydra of labeled and unlabeled speech, or of another experiment."""
    self.addCleanup(gin_config.Reset)
    run_case.Configure(f'asr.{model}', self.data, f'{model}.codebook_size = 8', *_BATCHES, *bindings)
    p = model_registry.GetParams(f'asr.{model}', 'Train')
    return p.task.Set(input=p.input)  # As the model does.

  def _Pretraining(self, projection):
    """As _Task, of unlabeled speech alone: fewer operations to build."""
    streams = "BestRqPretrain.unlabeled = ('source',)"
    return self._Task(streams, f'BestRqPretrain.projection = {projection!r}', model='BestRqPretrain')

  def _Task(self, *bindings, model='JustHydra'):
    """The task, with a session of its own whose variables are initialised."""
    task = self._Params(*bindings, model=model).Instantiate()
    sess = self.enter_context(tf.Session())
    sess.run(tf.global_variables_initializer())
    return task, sess

  def test_statistics_are_of_all_streams_and_a_projection_of_the_first_in_normalised_features(
    self,
  ):
    task, sess = self._Task(_GLOBAL, "JustHydra.projection = 'pca'", 'JustHydra.source_best_rq_weight = 0.1')
    seen = []
    batches = data_statistics._Batches

    def _Remember(task, stream, frontend, *args):
      for features, paddings in batches(task, stream, frontend, *args):
        if frontend.normalization == 'none':
          seen.append((stream, features[paddings == 0]))
        yield features, paddings

    with (
      mock.patch.object(data_statistics, '_Batches', _Remember),
      mock.patch.object(data_statistics, '_Normalised', side_effect=data_statistics._Normalised) as read,
    ):
      data_statistics.Fit(task, sess)
    with self.subTest('statistics'):
      self.assertEqual({stream for stream, _ in seen}, {branch.stream for _, branch in task.branches})
      everything = np.concatenate([found for _, found in seen])
      mean, stddev = sess.run([task.frontend.vars.mean, task.frontend.vars.stddev])
      np.testing.assert_allclose(mean, everything.mean(axis=0), rtol=1e-4)
      np.testing.assert_allclose(stddev, everything.std(axis=0), rtol=1e-2)
    with self.subTest('projection'):
      streams = [branch.stream for _, branch in task.branches if branch.head == 'best_rq']
      self.assertLen(set(streams), 2)
      self.assertEqual([call.args[2] for call in read.call_args_list], streams[:1])
      # Of features that are about 0, not of log-mel, whose bins are about 10.
      self.assertLess(np.abs(sess.run(task.Head('best_rq').quantizer.vars.mean)).max(), 2.0)

  def test_what_another_run_has_fitted_stays(self):
    task, sess = self._Task(_GLOBAL, "JustHydra.projection = 'pca'")
    quantizer_vars = task.Head('best_rq').quantizer.vars
    quantizer_vars.mean.load(np.ones(quantizer_vars.mean.shape, np.float32), sess)
    fitted = (task.frontend.vars.mean, quantizer_vars.mean, quantizer_vars.projection)
    before = sess.run(fitted)
    data_statistics.Fit(task, sess, {v.op.name for v in fitted})
    for a, b in zip(before, sess.run(fitted)):
      np.testing.assert_array_equal(a, b)

  def test_codes_of_another_projection_than_the_params_say_are_refused(self):
    for projection, mean, found in (('pca', 0.0, 'xavier'), ('xavier', 1.0, 'pca')):
      with self.subTest(projection), self.NewGraph():
        task, _ = self._Pretraining(projection)
        variable = task.Head('best_rq').quantizer.vars.mean
        task.CheckRestored({variable.op.name: np.full(variable.shape, 1.0 - mean)}, 'ckpt')
        with self.assertRaisesRegex(
          errors.ConfigError, rf"^task.heads.best_rq.quantizer.projection = '{projection}': .* {found};"
        ):
          task.CheckRestored({variable.op.name: np.full(variable.shape, mean)}, 'ckpt')

  def test_a_projection_is_that_of_the_unpadded_stacks(self):
    task, sess = self._Pretraining('pca')
    rng = np.random.RandomState(0)
    features = rng.randn(2, 200, 80).astype(np.float32)
    paddings = (np.arange(200)[None] >= np.array([[200], [98]])).astype(
      np.float32
    )  # Of the second 24 stacks are whole.
    head = task.Head('best_rq')
    head.Fit(sess, lambda number: [(features, paddings)] * number, set())
    with self.NewGraph():
      stacked, pads = self.Eval(*quantizer.StackFrames(tf.constant(features), tf.constant(paddings), 4))
    self.assertEqual(np.sum(pads == 0), 50 + 24)
    mean, _ = quantizer.FitPca([stacked[pads == 0]], head.quantizer.params.codebook_dim)
    np.testing.assert_allclose(sess.run(head.quantizer.vars.mean), mean, atol=1e-5)

  def test_projections_of_few_frames_are_refused(self):
    with self.assertRaisesRegex(errors.ConfigError, '3 frames to fit on'):
      quantizer.FitPca([np.zeros([3, 8])], 4)

  def test_jobs_that_cannot_fit_are_refused(self):
    for binding, named in (
      (_GLOBAL, "task.frontend.normalization = 'global': only a local run"),
      ("JustHydra.projection = 'pca'", "task.heads.best_rq.quantizer.projection = 'pca': only"),
    ):
      with self.assertRaisesRegex(errors.ConfigError, named):
        data_statistics.CheckNothingToFit(self._Params(binding))
    data_statistics.CheckNothingToFit(self._Params())
    handed_over = (_GLOBAL, "JustHydra.init_from = 'runs/other'")
    data_statistics.CheckNothingToFit(self._Params(*handed_over))
    untrained = self._Params("JustHydra.projection = 'pca'")
    untrained.branches.Delete('unlabeled')  # No other branch has the head.
    data_statistics.CheckNothingToFit(untrained)
    with self.assertRaisesRegex(errors.ConfigError, 'only a local run'):
      data_statistics.CheckNothingToFit(self._Params(*handed_over, "task.train.init_from_checkpoint_override = ''"))


if __name__ == '__main__':
  absltest.main()
