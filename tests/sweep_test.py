"""Sweeps: the space, trials side by side, pruned, resumed; trainers are stubs that write metrics.

Starts processes of bare Python, some 30 ms each: a sweep is about processes that run, end and are stopped.
"""

import contextlib
import io
import os
import sys
import tempfile
import warnings
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from fm_lingvo import errors
from tools import sweep
from tools.sweeps import hparams
from tools.sweeps import space
from tools.sweeps import study
from tools.sweeps import trial as trial_lib

# Writes five evaluations: WER is the learning rate plus a part that falls; stays for SECONDS after each.
_STUB = """
import json, os, sys, time
folder, seconds, bindings = sys.argv[1], float(sys.argv[2]), dict(b.split(' = ') for b in sys.argv[3:])
os.makedirs(folder, exist_ok=True)
rate = float(bindings['X.rate'])
if rate > 0.9:
  print('trainer: cannot be built'); sys.exit(2)
path = os.path.join(folder, 'metrics.jsonl')
done = sum(1 for _ in open(path)) if os.path.exists(path) else 0
for step in range(done + 1, 6):
  with open(path, 'a') as f:
    f.write(json.dumps({'dataset': 'Dev', 'step': step, 'time': 0, 'labeled/wer': rate + 1 / step}) + '\\n')
  time.sleep(seconds)
"""


def _Command(seconds=0.0):
  def _Make(model, folder, bindings, flags):
    del model, flags
    return [sys.executable, '-S', '-c', _STUB, folder, str(seconds), *bindings]

  return _Make


class SpaceTest(parameterized.TestCase):
  @parameterized.parameters(
    ('loguniform(1e-4, 3e-3)', ('loguniform', (1e-4, 3e-3))),
    ('uniform(0, 0.3)', ('uniform', (0, 0.3))),
    ('int(1, 4)', ('int', (1, 4))),
    ('choice(tiny, "a, b", None, 2)', ('choice', ('tiny', 'a, b', None, 2))),
    ("choice(('a',), ('a', 'b'))", ('choice', ("('a',)", "('a', 'b')"))),
  )
  def test_a_dimension_is_read(self, text, expected):
    self.assertEqual(space.Parse('x', text), expected)

  @parameterized.parameters(
    ('3', r'--search=x=3: expected KIND\(VALUES\)'),
    ('logunifrm(1, 2)', 'no kind logunifrm; .*; did you mean loguniform'),
    ('uniform(2, 1)', 'expected two numbers, the first the smaller$'),
    ('loguniform(0, 1)', 'expected two numbers, the first the smaller, the first above 0'),
    ('int(1, 2.5)', 'expected two whole numbers'),
    ('uniform(1)', 'expected two numbers'),
    ('choice(a)', 'expected at least two choices'),
  )
  def test_a_malformed_dimension_is_named(self, text, message):
    with self.assertRaisesRegex(errors.ConfigError, message):
      space.Parse('x', text)

  def _File(self, content):
    path = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), 'space.yaml')
    with open(path, 'w', encoding='utf-8') as f:
      f.write(content)
    return path

  def test_flags_win_over_the_file(self):
    path = self._File('rate: uniform(0, 1)\nsize: choice(a, b)\n')
    found = space.Read(['rate=uniform(2, 3)'], path)
    self.assertEqual({name: d.values for name, d in found.items()}, {'rate': (2, 3), 'size': ('a', 'b')})
    with self.assertRaisesRegex(errors.ConfigError, 'nothing to search'):
      space.Read([])
    with self.assertRaisesRegex(errors.ConfigError, r'expected lines NAME: KIND\(VALUES\)'):
      space.Read([], self._File('- a'))

  def test_names_without_a_dot_are_knobs(self):
    params = {'rate': 0.1, 'task.encoder.num_layers': 2, 'size': 'tiny', 'unlabeled': "('a', 'b')"}
    self.assertEqual(
      space.Bindings('asr.Supervised', params),
      [
        'Supervised.rate = 0.1',
        'task.encoder.num_layers = 2',
        "Supervised.size = 'tiny'",
        "Supervised.unlabeled = ('a', 'b')",
      ],
    )


class StudyTest(absltest.TestCase):
  def _Plan(self, **kwargs):
    logdir = kwargs.pop('logdir', None) or self.enter_context(tempfile.TemporaryDirectory())
    searched = {'rate': space.Parse('rate', kwargs.pop('search', 'uniform(0, 0.8)'))}
    return study.Plan('m.X', logdir, searched, 'Dev', 'labeled/wer', **{'trials': 4, **kwargs})

  def _Run(self, plan, seconds=0.0):
    running = study.Study(plan, _Command(seconds), poll_seconds=0.02)
    with contextlib.redirect_stdout(io.StringIO()) as out:
      running.Run()
    return running, out.getvalue()

  def test_trials_side_by_side_are_finished_and_the_best_is_first(self):
    running, out = self._Run(self._Plan(jobs=2, prune=False))
    done = running.study.get_trials()
    self.assertLen(done, 4)
    for trial in done:
      self.assertAlmostEqual(trial.value, trial.params['rate'] + 0.2)
      self.assertTrue(os.path.exists(os.path.join(running._plan.logdir, trial.user_attrs['folder'], 'trainer.log')))
    first, best, *_, again = running.Table()
    self.assertEqual(first, '4 trials finished, 0 stopped early; Dev/labeled/wer:')
    self.assertIn(f'{min(trial.value for trial in done):.4g}', best)
    self.assertRegex(again, r'^the best again: trainer --gin_file=.*/trial-000\d/config.gin --model=m.X$')
    self.assertEqual(out.count('Dev/labeled/wer'), 4)

  def test_a_trial_worse_than_the_median_is_stopped(self):
    plan = self._Plan(trials=3, startup_trials=2)
    running = study.Study(plan, _Command(0.2), poll_seconds=0.02)
    for rate in (0.1, 0.2, 0.8):
      running.study.enqueue_trial({'rate': rate})
    with contextlib.redirect_stdout(io.StringIO()) as out:
      running.Run()
    self.assertEqual([t.state.name for t in running.study.get_trials()], ['COMPLETE', 'COMPLETE', 'PRUNED'])
    self.assertIn('trial 2: stopped: worse than the median', out.getvalue())

  def test_a_second_command_goes_on_with_the_same_trials(self):
    plan = self._Plan(trials=2)
    first = study.Study(plan, _Command(0.3), poll_seconds=0.02)
    look = first._Look

    def _InterruptOnceThereIsNews():
      look()
      if trial_lib.Values(os.path.join(plan.logdir, 'trial-0000'), 'Dev', 'labeled/wer'):
        raise KeyboardInterrupt(15)

    with (
      mock.patch.object(first, '_Look', _InterruptOnceThereIsNews),
      contextlib.redirect_stdout(io.StringIO()),
      self.assertRaises(KeyboardInterrupt),
    ):
      first.Run()
    (left,) = first.study.get_trials()
    rows = trial_lib.Values(os.path.join(plan.logdir, 'trial-0000'), 'Dev', 'labeled/wer')
    self.assertBetween(len(rows), 1, 4)
    second, _ = self._Run(plan)
    states = [(t.state.name, t.user_attrs['folder']) for t in second.study.get_trials()]
    self.assertEqual(states, [('FAIL', 'trial-0000'), ('COMPLETE', 'trial-0000'), ('COMPLETE', 'trial-0002')])
    self.assertEqual(second.study.get_trials()[1].params, left.params)
    self.assertLen(trial_lib.Values(os.path.join(plan.logdir, 'trial-0000'), 'Dev', 'labeled/wer'), 5)

  def test_three_failures_in_a_row_end_the_sweep_with_the_trainer_s_words(self):
    with self.assertRaisesRegex(errors.ConfigError, 'three trials failed .*exit code 2: trainer: cannot be built'):
      self._Run(self._Plan(search='uniform(0.91, 0.99)'))

  def test_a_metric_that_no_evaluation_has_is_named(self):
    plan = self._Plan()._replace(metric='labeled/wr')
    with self.assertRaisesRegex(
      errors.ConfigError, '--metric=Dev/labeled/wr: no such metric; did you mean labeled/wer'
    ):
      self._Run(plan)
    with self.assertRaisesRegex(errors.ConfigError, 'trial-0000 has no evaluation of Test'):
      self._Run(self._Plan()._replace(dataset='Test'))

  def test_what_was_begun_otherwise_is_not_mixed(self):
    plan = self._Plan(trials=1, search='choice(0.1, 0.2)')
    self._Run(plan)
    for changed, message in (
      (plan._replace(maximize=True), r'--metric: .* was begun with Dev/labeled/wer, not Dev/labeled/wer, maximised'),
      (plan._replace(metric='labeled/cer'), '--metric: .*not Dev/labeled/cer; expected the same, or another --logdir'),
      (plan._replace(model='m.Y'), '--model: .* was begun with m.X, not m.Y'),
      (
        self._Plan(logdir=plan.logdir, search='choice(0.1, 0.3)'),
        r'choice\(0.1, 0.2\), not choice\(0.1, 0.3\);',
      ),
      (self._Plan(logdir=plan.logdir), '--search=rate: .*, not uniform;'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, message):
        study.Study(changed)
    with open(os.path.join(plan.logdir, 'study.db'), 'wb') as f:
      f.write(bytes(5000))
    with self.assertRaisesRegex(errors.ConfigError, r'study.db: no study of a sweep, or a damaged one \(.+\)$'):
      study.Study(plan)

  def test_optuna_warns_of_nothing(self):
    with warnings.catch_warnings():
      warnings.simplefilter('error')
      study.Study(self._Plan())

  def test_a_metric_that_is_nan_is_a_failure(self):
    with mock.patch.dict(globals(), _STUB=_STUB.replace('rate + 1 / step', "float('nan')")):
      with self.assertRaisesRegex(errors.ConfigError, 'three trials failed .*: Dev/labeled/wer is NaN or infinite$'):
        self._Run(self._Plan())


class CheckTest(absltest.TestCase):
  """What is asked of a trainer before the first trial; the trainer is a stub."""

  def _Check(self, metric='labeled/wer', main='print("Dev/labeled/wer\\nDev/loss")'):
    trial_lib.CheckMetric('m.X', 'Dev', metric, ['X.rate = 1'], [], [sys.executable, '-S', '-c', main])

  def test_a_metric_that_evaluations_will_have_is_accepted(self):
    self._Check()

  def test_another_one_is_named_with_the_nearest_or_with_all(self):
    for metric, message in (('labeled/wr', 'did you mean labeled/wer[?]'), ('x', 'expected one of labeled/wer, loss')):
      with self.assertRaisesRegex(errors.ConfigError, f'^--metric=Dev/{metric}: no such metric; {message}$'):
        self._Check(metric)

  def test_a_trainer_that_refuses_its_flags_is_quoted(self):
    for line in ("--list_metrics = 'Dev': expected one of DevHuman", '--model=m.X: no such experiment'):
      with self.assertRaisesRegex(errors.ConfigError, f'^{line.replace("list_metrics", "metric")}$'):
        self._Check(main=f'import sys; print("a warning", file=sys.stderr); sys.exit("trainer: " + {line!r})')

  def test_nothing_is_begun_where_the_check_fails_and_a_sweep_that_is_begun_needs_none(self):
    logdir = os.path.join(self.enter_context(tempfile.TemporaryDirectory()), 'sweep')
    args = ['sweep', '--model=m.X', '--search=rate=uniform(0, 0.8)', f'--logdir={logdir}', '--metric=Dev/loss']
    with (
      mock.patch.object(trial_lib, 'CheckMetric', side_effect=errors.ConfigError('no')) as check,
      contextlib.redirect_stdout(io.StringIO()),
      contextlib.redirect_stderr(io.StringIO()) as err,
    ):
      self.assertEqual(sweep.Main(args), 2)
      self.assertEqual(err.getvalue(), 'sweep: no\n')
      check.assert_called_once_with('m.X', 'Dev', 'loss', ['X.rate = 0.8'], [])
      self.assertFalse(os.path.exists(logdir))
      study.Study(sweep.Plan(args))
      with mock.patch.object(study.Study, 'Run'):
        self.assertEqual(sweep.Main(args), 0)
      check.assert_called_once()


class HParamsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('choice(0, 0.1)', 'number_value', [0, 0.1]),
    ('choice(1, 2)', 'number_value', [1, 2]),
    ('choice(True, False)', 'bool_value', [False, True]),
    ('choice(True, 1)', 'string_value', ['1', 'True']),
    ('choice(None, 1)', 'string_value', ['1', 'None']),
  )
  def test_choices_of_any_types_have_a_domain(self, search, kind, expected):
    config = hparams.Config({'x': space.Parse('x', search)}, 'Dev', 'wer')
    content = config.value[0].metadata.plugin_data.content
    (info,) = plugin_data_pb2.HParamsPluginData.FromString(content).experiment.hparam_infos
    self.assertEqual([getattr(v, kind) for v in info.domain_discrete.values], expected)

  def test_tensorboard_is_told_what_is_searched_once(self):
    searched = space.Read(['rate=loguniform(1e-4, 1e-2)', 'size=choice(a, b)', 'layers=int(1, 3)'])
    config = hparams.Config(searched, 'DevTarget', 'labeled/wer')
    with tempfile.TemporaryDirectory() as folder:
      for _ in range(2):
        hparams.Write(folder, config)
      self.assertLen(os.listdir(folder), 1)
      found = event_accumulator.EventAccumulator(folder).Reload().PluginTagToContent('hparams')
    experiment = plugin_data_pb2.HParamsPluginData.FromString(found['_hparams_/experiment']).experiment
    self.assertEqual([info.name for info in experiment.hparam_infos], ['rate', 'size', 'layers'])
    self.assertEqual([v.string_value for v in experiment.hparam_infos[1].domain_discrete.values], ['a', 'b'])
    self.assertEqual(experiment.metric_infos[0].name.group, 'eval_devtarget')
    self.assertEqual(experiment.metric_infos[0].name.tag, 'labeled/wer')


class CommandLineTest(parameterized.TestCase):
  _ARGS = ('sweep', '--model=asr.Supervised', '--search=rate=uniform(0, 1)', '--logdir=x')

  def test_flags_after_the_dashes_are_the_trainer_s(self):
    plan = sweep.Plan([*self._ARGS, '--metric=Dev/labeled/wer', '--jobs=2', '--', '--gin.Supervised.max_steps=5'])
    self.assertEqual((plan.dataset, plan.metric, plan.jobs), ('Dev', 'labeled/wer', 2))
    self.assertEqual(list(plan.flags), ['--gin_bindings=Supervised.max_steps = 5'])
    command = trial_lib.Command('asr.Supervised', 'x/trial-0000', ['Supervised.rate = 0.5'], plan.flags)
    self.assertEqual(command[-1], '--gin_bindings=Supervised.rate = 0.5')

  @parameterized.parameters(
    ('--metric=wer', '--metric=wer: expected DATASET/METRIC'),
    ('--metric=Dev/wer --jobs=0', '--jobs=0: expected a number > 0'),
    ('--metric=Dev/wer -- --logdir=y', '--logdir=y: the sweep sets it'),
  )
  def test_unusable_flags_are_refused(self, flags, message):
    with self.assertRaisesRegex(errors.ConfigError, message):
      sweep.Plan([*self._ARGS, *flags.split()])


if __name__ == '__main__':
  absltest.main()
