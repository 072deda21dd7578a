"""Properties of a start from another run: all that is asked for is loaded, or one line says why not."""

import contextlib
import io
import json
import os
import re
from unittest import mock

import numpy as np
from absl.testing import absltest
from lingvo import compat as tf
from lingvo import model_registry
from lingvo.core import checkpointer as lingvo_checkpointer
from lingvo.core import optimizer

from fm_lingvo import errors
from fm_lingvo.checkpoints import checkpointer
from fm_lingvo.checkpoints import reader
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import gin_config
from fm_lingvo.run_files import run_dir
from tests import stage_case

_FRESH = ('encoder/adapters/target/',)
_ADAPTED = dict(adapters=['target'], active_adapter='target')


class WarmStartTest(stage_case.StageCase):
  def _Restore(self, **kwargs):
    """A new task that starts from a run; returns (values by name, lines, loaded)."""
    task = stage_case.TaskParams(**kwargs).Instantiate()
    lines, loaded = warm_start.Restore(task, self.session)
    return self.Eval({v.op.name: v for v in task.vars.Flatten()}), lines, loaded

  def _Error(self, **kwargs):
    """The one line by which a start fails."""
    with self.NewGraph(), self.assertRaises(errors.ConfigError) as caught:
      self._Restore(**kwargs)
    self.assertNotIn('\n', str(caught.exception))
    return str(caught.exception)

  def test_without_init_from_nothing_happens(self):
    _, lines, loaded = self._Restore()
    self.assertEmpty(lines)
    self.assertEmpty(loaded)

  def test_values_come_in_steps_of_a_bounded_size(self):
    run, values = self.MakeRun('hydra')
    with mock.patch.object(reader, '_LOADED_BYTES', 1000):
      found, _, loaded = self._Restore(init_from=run)
    self.assertEqual(loaded, set(values))
    for name, value in values.items():
      np.testing.assert_array_equal(found[name], value, name)

  def test_an_empty_override_means_none(self):
    p = stage_case.TaskParams(init_from=os.path.join(self.folder, 'gone'))
    p.train.init_from_checkpoint_override = ''
    warm_start.CheckSources(p.train)
    task = p.Instantiate()
    self.assertEqual(list(task.params.train.init_from_checkpoint_rules), [''])
    self.assertEqual(warm_start.Restore(task, self.session), ([], set()))

  def test_an_encoder_without_adapters_loads_into_one_with_them(self):
    run, values = self.MakeRun('hydra')
    found, lines, loaded = self._Restore(init_from=run, fresh=_FRESH, **_ADAPTED)
    new = {n for n in found if '/adapters/' in n}
    self.assertLen(new, 6)
    self.assertEqual(loaded, set(values))
    self.assertEqual(set(found) - new, set(values))
    for name, value in values.items():
      np.testing.assert_array_equal(found[name], value, name)
    for name in new:
      self.assertEqual(np.any(found[name]), name.endswith('down/w/var'), name)
    self.assertRegex(
      lines[0],
      r'^started from .*/hydra/train/ckpt-10: encoder \(\d+ '
      r'variables, [\d,]+ values\), frontend \(1 variables, 7 values\), '
      r'transducer \(',
    )
    self.assertEqual(lines[1:], ['left unused in it: nothing'])

  def test_what_is_left_unused_is_named_by_component(self):
    run, values = self.MakeRun('pretrain', head='best_rq')
    found, lines, _ = self._Restore(init_from=run, fresh=['transducer/'])
    np.testing.assert_array_equal(
      found['task/encoder/subsampling/proj/w/var'], values['task/encoder/subsampling/proj/w/var']
    )
    self.assertRegex(
      lines[1],
      r'^left unused in it: best_rq \(5 variables, [\d,]+ '
      r'values\)$',
    )

  def test_the_newest_checkpoint_of_a_run_or_a_prefix(self):
    run, first = self.MakeRun('run')
    with self.NewGraph():
      second = self.Randomized(stage_case.TaskParams().Instantiate(), seed=1)
      prefix = self.Save('run', step=20)
    name = 'task/encoder/subsampling/proj/w/var'
    for init_from, expected in (
      (run, second),
      (run + '/', second),
      (prefix, second),
      (prefix.replace('20', '10'), first),
    ):
      with self.subTest(init_from), self.NewGraph():
        found, _, _ = self._Restore(init_from=init_from)
        np.testing.assert_array_equal(found[name], expected[name])

  def test_missing_variables_end_the_run_and_are_named(self):
    run, _ = self.MakeRun('pretrain', head='best_rq')
    self.assertRegex(
      self._Error(init_from=run),
      r'^.*/pretrain/train/ckpt-10: of another model: \d+ of the \d+ variables that are '
      r'needed are not in it: task/transducer/\S+/var, .*, \.\.\. \(\d+ in all\); left '
      r'unused in it: best_rq \(5 variables, [\d,]+ values\); init_decoder = False of the experiment makes new ones$',
    )

  def test_adapters_of_another_name_or_position_are_missing(self):
    run, _ = self.MakeRun('adapted', **_ADAPTED)
    for settings in (dict(adapters=['other'], active_adapter='other'), dict(_ADAPTED, adapter_position='parallel')):
      with self.subTest(str(settings)):
        self.assertIn('left unused in it: encoder/adapters/target (6 variables', self._Error(init_from=run, **settings))

  def test_another_shape_is_refused(self):
    run, _ = self.MakeRun('hydra')
    self.assertRegex(
      self._Error(init_from=run, kernel_size=7),
      r'^.*/ckpt-10: of another model: task/encoder/block_0/\S+ is float32 \[5, .*\] there and float32 '
      r'\[7, .*\] in this model; set the same sizes, or take another '
      r'checkpoint$',
    )
    with open(os.path.join(run, 'config.gin'), 'w') as f:
      f.write("X.size = 'small'\nX.seed = 1\ntask.encoder.kernel_size = 5\ntask.train.ema_decay = 0.9\n")
    self.assertIn(
      "; set the same sizes (there: size = 'small', task.encoder.kernel_size = 5), or take another checkpoint",
      self._Error(init_from=run, kernel_size=7),
    )

  def test_another_front_end_or_tokenizer_is_refused(self):
    with self.NewGraph():
      task = stage_case.TaskParams().Instantiate()
      self.Eval(tf.assign_add(task.frontend.vars.record, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0]))
      self.Save('frontend')
    with self.NewGraph():
      task = stage_case.TaskParams().Instantiate()
      self.Eval(tf.assign_add(task.Head('transducer').vars.tokenizer_record, tf.ones([16])))
      self.Save('tokenizer')
    self.assertRegex(
      self._Error(init_from=os.path.join(self.folder, 'frontend')),
      r'^.*/frontend/train/ckpt-10: made with frontend lower_edge_hertz',
    )
    run = os.path.join(self.folder, 'tokenizer')
    self.assertRegex(self._Error(init_from=run), r'^.*/tokenizer/train/ckpt-10: made with another tokenizer')
    # A new transducer does not care which tokenizer the old one had.
    self._Restore(init_from=run, fresh=['transducer/'])

  def test_paths_that_are_no_checkpoint(self):
    run, _ = self.MakeRun('hydra')
    os.makedirs(os.path.join(self.folder, 'empty'))
    broken = os.path.join(self.folder, 'broken')
    with open(broken + '.index', 'w', encoding='utf-8') as f:
      f.write('text')
    for path, expected in (
      (os.path.join(self.folder, 'hydar'), f'{self.folder}/hydar: no such run or checkpoint; did you mean {run}?'),
      (
        os.path.join(self.folder, 'empty'),
        f'{self.folder}/empty: no checkpoint in {self.folder}/empty/train; expected a run that has saved one',
      ),
      (broken, f'{broken}: not a readable TensorFlow checkpoint ('),
      ('s9://bucket/run', 's9://bucket/run/model.safetensors: cannot be read (File system scheme'),
    ):
      with self.subTest(path):
        p = stage_case.TaskParams(init_from=path)  # The path is looked up later.
        with self.assertRaisesRegex(errors.ConfigError, '^' + re.escape(expected)):
          warm_start.CheckSources(p.train)
        self.assertStartsWith(self._Error(init_from=path), expected)

  def test_rules_that_cover_no_variable_or_load_two_from_one_name_are_refused(self):
    run, _ = self.MakeRun('hydra')
    p = stage_case.TaskParams()
    p.train.init_from_checkpoint_rules = {run: ([('task/.*/(w/var):0$', 'task/encoder/subsampling/proj/%s')], [])}
    with self.assertRaisesRegex(
      errors.ConfigError, 'rules: task/.* and task/.* would both be loaded from .*/proj/w/var'
    ):
      warm_start.Check(p.Instantiate())
    p.train.init_from_checkpoint_rules = {run: ([('tsak/(.*):0$', '%s')], [])}
    with self.NewGraph(), self.assertRaisesRegex(errors.ConfigError, 'rules: the rules of .*/hydra cover no variable'):
      warm_start.Check(p.Instantiate())

  def test_checkpointer_starts_new_runs_and_leaves_resumed_ones_alone(self):
    run, values = self.MakeRun('hydra')
    name = 'task/encoder/subsampling/proj/w/var'
    train = os.path.join(self.folder, 'next', 'train')
    os.makedirs(train)

    def _Start():
      """Restores, and saves a change if the run is new."""
      p = stage_case.TaskParams(init_from=run)
      task = p.Instantiate()
      out = io.StringIO()
      with tf.Session() as sess, contextlib.redirect_stdout(out):
        saver = checkpointer.Checkpointer(train, stage_case.Model(task), train_params=p.train)
        path = saver.Restore(sess, force_reinitialize=True)
        v = {v.op.name: v for v in task.vars.Flatten()}[name]
        value, step = sess.run([v, stage_case.graph_case.py_utils.GetGlobalStep()])
        if not path:
          sess.run(tf.assign_add(v, tf.ones_like(v)))
          saver.Save(sess, 0)
      return path, value, step, out.getvalue(), saver.loaded

    with self.NewGraph():
      path, value, step, out, loaded = _Start()
    self.assertIsNone(path)
    self.assertEqual(step, 0)
    self.assertIn(name, loaded)
    self.assertRegex(out, r'^started from .*\nleft unused in it: nothing\n$')
    np.testing.assert_array_equal(value, values[name])
    os.rename(run, run + '_gone')  # A resumed run does not need it.
    with self.NewGraph():
      path, value, _, out, loaded = _Start()
    self.assertStartsWith(path, train)
    self.assertEmpty(out)
    self.assertEmpty(loaded)
    np.testing.assert_array_equal(value, values[name] + 1)

  def test_checkpointer_refuses_another_tokenizer_whenever_it_restores(self):
    train = os.path.join(self.folder, 'run', 'train')
    record = stage_case.TaskParams().Instantiate().Head('transducer').vars.tokenizer_record
    p = stage_case.TaskParams()
    with self.NewGraph():  # One for all restorations.
      graph, model = tf.get_default_graph(), stage_case.Model(p.Instantiate())
    for change in (0.0, 1.0):
      self.Eval(tf.assign_add(record, change * tf.ones([16])))
      prefix = self.Save('run', step=int(10 + change))
      for restore in (
        lambda saver, sess: saver.Restore(sess, True),  # A resumed run.
        lambda saver, sess: saver.RestoreIfNeeded(sess),
        lambda saver, sess: saver.RestoreFromPath(sess, prefix),
      ):
        with graph.as_default(), tf.Session() as sess:
          saver = checkpointer.Checkpointer(train, model, train_params=p.train)
          if not change:
            self.assertEqual(restore(saver, sess), prefix)
            continue
          with self.assertRaisesRegex(errors.ConfigError, f'^{prefix}: made with another tokenizer'):
            restore(saver, sess)

  def test_a_start_and_a_resumption_say_in_the_same_words_what_does_not_fit(self):
    run, _ = self.MakeRun('hydra')
    for encoder in (dict(kernel_size=7), dict(num_layers=2)):
      with self.subTest(str(encoder)):
        message = self._Error(init_from=run, **encoder)
        with self.NewGraph(), tf.Session() as sess:
          p = stage_case.TaskParams(**encoder)
          saver = checkpointer.Checkpointer(run + '/train', stage_case.Model(p.Instantiate()), train_params=p.train)
          with self.assertRaises(reader.Unusable) as caught:
            saver.RestoreFromPath(sess, reader.Resolve(run))
        if 'kernel_size' in encoder:
          self.assertEqual(str(caught.exception), message)
        else:  # A resumption needs the step, too.
          self.assertIn(message.partition(' are not in it: ')[2], str(caught.exception))

  def test_lingvo_uses_it_once_patched(self):
    original = lingvo_checkpointer.Checkpointer
    self.addCleanup(setattr, lingvo_checkpointer, 'Checkpointer', original)
    checkpointer.PatchLingvo()
    checkpointer.PatchLingvo()
    self.assertIs(lingvo_checkpointer.Checkpointer, checkpointer.Checkpointer)
    self.assertTrue(issubclass(checkpointer.Checkpointer, original))


class AccumulationTest(stage_case.StageCase):
  def test_accumulated_gradients_are_no_weights(self):
    p = stage_case.TaskParams()
    p.train.learner.optimizer = optimizer.Accumulator.Params().Set(
      optimizer_tpl=p.train.learner.optimizer, accum_steps=2
    )
    task = p.Instantiate()
    metrics, _ = task.FPropTower(task.theta, stage_case.Batch())
    task.learners[0].Apply(metrics, task.vars)
    self.Eval(tf.global_variables_initializer())
    found = reader.Checkpoint(self.Save('accumulated'))
    self.assertEqual(set(found.weights), {v.op.name for v in task.vars.Flatten()})
    self.assertTrue(any('grad_accumulator' in name for name in found.others))


class FrozenTest(stage_case.StageCase):
  def test_frozen_variables_stay_bit_equal_and_have_no_slots(self):
    run, _ = self.MakeRun('hydra')
    task = stage_case.TaskParams(
      init_from=run, fresh=_FRESH, trained=stage_case.FILTER, adapters=['target', 'other'], active_adapter='target'
    ).Instantiate()
    metrics, _ = task.FPropTower(task.theta, stage_case.Batch())
    _, update, _ = task.learners[0].Apply(metrics, task.vars)
    variables = {v.op.name: v for v in task.vars.Flatten()}
    trained = {n for n in variables if '/transducer/' in n and 'record' not in n or '/adapters/target/' in n}
    self.assertGreater(len(trained), 6)
    with self.assertRaisesRegex(errors.ConfigError, 'adapters/other/'):
      warm_start.Restore(task, self.session)
    before = self.Eval(variables)
    self.Eval(update)
    self.Eval(update)
    after = self.Eval(variables)
    for name in variables:
      self.assertEqual(name in trained, not np.array_equal(before[name], after[name]), name)
    slots = {v.op.name.rpartition('/Adam')[0] for v in tf.global_variables() if re.search('/Adam(_1)?$', v.op.name)}
    self.assertEqual(slots, trained)
    self._CheckTable(task, variables, trained)
    # A later stage gets the weights, and neither slots nor step.
    prefix = reader.Checkpoint(self.Save('adapted'))
    self.assertEqual(set(prefix.weights), set(variables))
    self.assertTrue({f'{n}/Adam' for n in trained} <= set(prefix.others))

  def _CheckTable(self, task, variables, trained):
    """The table of parameters counts what is trained and frozen."""

    def _Count(pattern, names=variables):
      return sum(variables[n].shape.num_elements() for n in names if re.search(pattern, n))

    rows, total, num_trained = run_dir.TaskParameterTable(task)
    table = {name: (size, part) for name, size, part in rows}
    self.assertEqual(total, _Count(''))
    self.assertEqual(num_trained, _Count('', trained))
    adapters = _Count('/adapters/target/')
    self.assertEqual(table['encoder adapters target'], (adapters, adapters))
    self.assertEqual(table['encoder adapters other'], (adapters, 0))
    self.assertEqual(table['encoder'], (_Count('/encoder/(?!adapters)'), 0))
    joint = _Count('/transducer/joint/')
    self.assertEqual(table['heads.transducer joint'], (joint, joint))
    self.assertEqual(rows[-1], ('constants', _Count('record'), 0))
    text = run_dir.FormatParameterTable(rows, total, num_trained)
    self.assertRegex(
      text,
      r'encoder +[\d,]+ +0 +[\d,]+\n(.*\n)*parameters '
      r'total=\d+ trained=\d+$',
    )
    summary = run_dir.ParameterSummary(rows, total, num_trained).value[0]
    self.assertEqual(summary.tag, 'parameters')
    self.assertIn(text.splitlines()[-1].encode(), summary.tensor.string_val[0])
    run_dir.WriteParameters(self.folder, rows, total, num_trained)
    with open(os.path.join(self.folder, 'parameters.json'), encoding='utf-8') as f:
      counts = json.load(f)
    self.assertEqual(counts['total'], {'total': total, 'trained': num_trained})
    self.assertEqual(counts['encoder adapters target'], {'total': adapters, 'trained': adapters})
    self.assertEqual(list(counts), [name for name, _, _ in rows] + ['total'])

  def test_adapter_finetune_asks_for_what_is_tested_here(self):
    self.addCleanup(gin_config.Reset)
    gin_config.Configure('asr.AdapterFinetune', (), ["AdapterFinetune.init_from = 'runs/hydra'"])
    p = model_registry.GetParams('asr.AdapterFinetune', 'Train').task
    self.assertEqual(p.train.learner.bprop_variable_filter, stage_case.FILTER)
    self.assertEqual(p.train.init_from_checkpoint_rules, warm_start.InitRules('runs/hydra', _FRESH))
    self.assertEqual((p.encoder.adapters, p.encoder.active_adapter), (['target'], 'target'))


if __name__ == '__main__':
  absltest.main()
