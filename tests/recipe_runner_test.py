"""Properties of how the recipe trains: what it reuses, resumes, moves aside and waits for, what it publishes."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from fm_lingvo import errors
from fm_lingvo.run_files import metrics_log
from tests import recipe_case
from tools.recipe import labels as labels_lib
from tools.recipe import plot
from tools.recipe import publisher as recipe_publisher
from tools.recipe import rows
from tools.recipe import run as recipe_run
from tools.recipe import runner as runner_lib
from tools.recipe import stage_run


class _Case(recipe_case.RecipeTest):
  """Trains with a stand-in for the trainer, which is a process that writes what the trainer writes, at once."""

  def setUp(self):
    super().setUp()
    self.trainer = recipe_case.Trainer(self.folder)
    patch = mock.patch.object(runner_lib, '_POLL_SECONDS', 0.02)
    patch.start()
    self.addCleanup(patch.stop)

  def Run(self, names, jobs=2, change=()):
    """Trains; returns the outcomes. self.done is how often a stage was done, self.said is what was printed."""
    stages = self.Stages(names, change=change)
    self.done, self.said = 0, io.StringIO()

    def _OnDone():
      self.done += 1

    return runner_lib.Runner(self.settings, stages, self.Stamps(stages), jobs, _OnDone, self.trainer, self.said).Run()

  def Path(self, *names):
    return os.path.join(self.settings.output, *names)

  def Touch(self, name):
    with open(self.Path(name), 'w', encoding='utf-8'):
      pass

  def Calls(self, name):
    with open(self.Path(name, 'calls.txt'), encoding='utf-8') as f:
      return [json.loads(line) for line in f]

  def Aside(self):
    return [name for name in os.listdir(self.settings.output) if '.before-' in name]


class RunnerTest(_Case):
  def test_a_finished_stage_is_reused_and_a_changed_one_moved_aside(self):
    self.assertEqual(self.Run(['adapted']), dict.fromkeys(['pretrain', 'hydra', 'adapted'], 'done'))
    self.assertEqual(self.done, 3)
    state = stage_run.Read(self.Path('hydra'))
    self.assertTrue(state['done'])
    self.assertGreater(state['seconds'], 0)
    self.assertIn('--model=asr.JustHydra', state['command'])

    self.assertEqual(set(self.Run(['adapted']).values()), {'reused'})
    self.assertEqual(self.done, 0)  # What is reused was published before.
    self.assertLen(self.Calls('hydra'), 1)

    outcomes = self.Run(['adapted'], change={'hydra': {'best_rq_weight': 0.7}})
    self.assertEqual(outcomes, {'pretrain': 'reused', 'hydra': 'done', 'adapted': 'done'})
    self.assertIn(
      'hydra: its inputs changed (task.branches.unlabeled.weight: 0.3 -> 0.7); the old run is now', self.said.getvalue()
    )
    self.assertLen([name for name in self.Aside() if name.startswith('hydra.before-')], 1)

  def test_a_stage_shares_the_cores(self):
    self.Run(['hydra_no_pretrain', 'scratch_target', 'supervised_pretrained'], jobs=100)
    self.assertEqual(self.Calls('scratch_target')[0]['threads'], str(max(1, len(os.sched_getaffinity(0)) // 4)))

  def test_a_failure_is_named_and_spares_the_stages_that_do_not_need_it(self):
    self.Touch('fail_hydra')
    self.assertEqual(
      self.Run(['adapted', 'scratch_target']),
      {'pretrain': 'done', 'hydra': 'failed', 'adapted': 'not run', 'scratch_target': 'done'},
    )
    self.assertIn('hydra: failed, exit code 2: trainer: task.nothing = 1: no such param', self.said.getvalue())
    os.remove(self.Path('fail_hydra'))
    self.assertEqual(self.Run(['adapted']), {'pretrain': 'reused', 'hydra': 'done', 'adapted': 'done'})

  def test_what_a_stage_needs_is_made_before_its_trainer_starts(self):
    script = (
      'import os, sys; sys.exit("no words") if os.path.exists(sys.argv[2]) else open(sys.argv[1], "a").write("x")'
    )

    def _Label(settings, stage):
      run_dir = stage_run.RunDir(settings, stage.run)
      if stage.teacher and not os.path.exists(run_dir + '/second'):
        fail = self.Path('fail_labels')
        yield from ([sys.executable, '-c', script, f'{run_dir}/{name}', fail] for name in ('first', 'second'))

    self.enter_context(mock.patch.object(stage_run, 'LabelCommands', _Label))
    self.Touch('fail_labels')
    self.assertEqual(
      self.Run(['self_trained_2']),
      {'adapted_shipped': 'done', 'self_trained': 'failed', 'self_trained_2': 'not run'},
    )
    self.assertIn('self_trained: failed, exit code 1: no words', self.said.getvalue())
    self.assertIn('self_trained_2: not run, for self_trained is not there', self.said.getvalue())
    os.remove(self.Path('fail_labels'))
    self.assertEqual(set(self.Run(['self_trained']).values()), {'reused', 'done'})
    self.assertLen(self.Calls('self_trained'), 1)
    state = stage_run.Read(self.Path('self_trained'))
    stage_run.Write(self.Path('self_trained'), {**state, 'done': False})
    self.assertEqual(self.Run(['self_trained'])['self_trained'], 'done')
    self.assertLen(self.Calls('self_trained'), 2)
    for name in ('first', 'second'):
      with open(self.Path('self_trained', name), encoding='utf-8') as f:
        self.assertEqual(f.read(), 'x')  # Once: what is there is not made again.

  def test_hours_of_resumed_runs_add_up(self):
    self.Run(['scratch_target'])
    state = stage_run.Read(self.Path('scratch_target'))
    stage_run.Write(self.Path('scratch_target'), {**state, 'done': False, 'seconds': 1000.0})
    self.assertEqual(self.Run(['scratch_target']), {'scratch_target': 'done'})
    self.assertIn('scratch_target: resumed', self.said.getvalue())
    self.assertBetween(stage_run.Read(self.Path('scratch_target'))['seconds'], 1000.001, 1030)

  def test_the_result_of_a_run_that_keeps_its_best_checkpoint_is_that_of_the_best(self):
    self.Run(['scratch_target'])
    run_dir, stage = self.Path('scratch_target'), self.Stages(['scratch_target'])['scratch_target']
    self.assertEqual(stage_run.FinalRows(run_dir, stage)['TestTarget']['step'], stage.steps)
    os.makedirs(self.Path('scratch_target', 'best'))
    for name, text in (('ckpt-00001000.index', ''), ('checkpoint', 'model_checkpoint_path: "ckpt-00001000"')):
      with open(self.Path('scratch_target', 'best', name), 'w', encoding='utf-8') as f:
        f.write(text)
    self.assertEqual(stage_run.MissingResults(run_dir, stage), list(stage_run.FINAL))
    rows = metrics_log.MetricsLog(run_dir)
    for name in stage_run.FINAL:
      rows.Write(name, 1000, {'labeled/wer': 0.25})
    self.assertEqual(stage_run.MissingResults(run_dir, stage), [])
    self.assertEqual(stage_run.FinalRows(run_dir, stage)['TestTarget']['labeled/wer'], 0.25)

  def test_a_run_of_an_older_recipe_or_of_none_is_trained_anew(self):
    self.Run(['scratch_target'])
    state = stage_run.Read(self.Path('scratch_target'))
    stage_run.Write(self.Path('scratch_target'), {**state, 'stamp': 'of knobs', 'inputs': {'max_steps': 1500}})
    self.assertEqual(self.Run(['scratch_target']), {'scratch_target': 'done'})
    self.assertIn('its stage.json is of an older recipe, which did not keep the resolved params', self.said.getvalue())
    os.remove(self.Path('scratch_target', 'stage.json'))
    self.assertEqual(self.Run(['scratch_target']), {'scratch_target': 'done'})
    self.assertIn('its inputs changed (no stage.json)', self.said.getvalue())
    self.assertLen(self.Aside(), 2)

  def test_a_finished_run_can_be_taken_although_its_inputs_differ(self):
    change = {'scratch_target': {'dropout_prob': 0.2}}
    self.Run(['scratch_target'])
    state = stage_run.Read(self.Path('scratch_target'))
    stages = self.Stages(['scratch_target'], change=change)

    def _Take():
      stage_run.Take(self.settings, stages['scratch_target'], self.Stamps(stages))

    stage_run.Write(self.Path('scratch_target'), {**state, 'done': False})
    refused = f'--take=scratch_target: .* is not a finished run of {stages["scratch_target"].steps} steps'
    with self.assertRaisesRegex(errors.ConfigError, refused):
      _Take()
    os.remove(self.Path('scratch_target', 'stage.json'))  # Nothing says what it was trained with.
    with self.assertRaisesRegex(errors.ConfigError, refused):
      _Take()
    stage_run.Write(self.Path('scratch_target'), state)
    _Take()
    taken = stage_run.Read(self.Path('scratch_target'))
    self.assertEqual(taken['taken'], 'task.encoder.dropout_prob: 0.1 -> 0.2')
    new = {key: taken[key] for key in ('stamp', 'inputs', 'taken')}
    self.assertEqual(taken, {**state, **new})
    _Take()  # Nothing is left to do.
    self.assertEqual(stage_run.Read(self.Path('scratch_target')), taken)
    self.assertEqual(self.Run(['scratch_target'], change=change), {'scratch_target': 'reused'})
    # A later change counts again.
    stages = self.Stages(['scratch_target'])
    self.assertEqual(
      stage_run.Look(self.Path('scratch_target'), stages['scratch_target'], self.Stamps(stages)),
      ('changed', 'task.encoder.dropout_prob: 0.2 -> 0.1'),
    )

  def test_progress_is_shown_now_and_then(self):
    self.Touch('hang')

    def _Sleep(unused_seconds):
      if os.path.exists(self.Path('scratch_target', 'hanging')):
        os.kill(os.getpid(), signal.SIGTERM)

    with (
      mock.patch.object(runner_lib, '_NOTE_SECONDS', 0),
      mock.patch.object(runner_lib.time, 'sleep', _Sleep),
      self.assertRaises(runner_lib.Interrupted),
    ):
      self.Run(['scratch_target'])
    steps = self.Stages(['scratch_target'])['scratch_target'].steps
    self.assertEqual(self.said.getvalue().count(f'scratch_target: step {steps}/{steps}: loss 1.5, 0:00 left\n'), 1)

  def test_a_broken_state_is_named(self):
    os.makedirs(self.Path('scratch_target'))
    self.Touch('scratch_target/stage.json')
    with self.assertRaisesRegex(errors.ConfigError, 'stage.json: not JSON'):
      self.Run(['scratch_target'])


class SignalTest(_Case):
  def _SignalWhen(self, is_ready, signum):
    """Sends this process a signal, from a thread, once is_ready()."""

    def _Send():
      deadline = time.time() + 30
      while not is_ready() and time.time() < deadline:
        time.sleep(0.02)
      os.kill(os.getpid(), signum)

    thread = threading.Thread(target=_Send)
    thread.start()
    self.addCleanup(thread.join)

  def test_a_signal_ends_trainers_cleanly(self):
    self.Touch('hang')
    self._SignalWhen(lambda: os.path.exists(self.Path('scratch_target', 'hanging')), signal.SIGINT)
    with self.assertRaisesRegex(runner_lib.Interrupted, 'the same command goes on') as caught:
      self.Run(['scratch_target'])
    self.assertEqual(caught.exception.exit_code, 130)
    self.assertTrue(os.path.exists(self.Path('scratch_target', 'stopped.txt')))
    state = stage_run.Read(self.Path('scratch_target'))
    self.assertFalse(state['done'])
    self.assertGreater(state['seconds'], 0)
    os.remove(self.Path('hang'))
    self.assertEqual(self.Run(['scratch_target']), {'scratch_target': 'done'})

  @parameterized.parameters((1, 'have saved checkpoints', True), (2, 'were killed at the second signal', False))
  def test_a_signal_while_a_stage_starts_ends_it_and_starts_no_other(self, times, text, saved):
    self.Touch('hang')
    training_class = runner_lib._Training

    def _Training(run_dir, *args):
      training = training_class(run_dir, *args)
      deadline = time.time() + 30
      while not os.path.exists(os.path.join(run_dir, 'hanging')) and time.time() < deadline:
        time.sleep(0.02)
      for _ in range(times):
        os.kill(os.getpid(), signal.SIGTERM)
      return training

    started = time.time()
    with mock.patch.object(runner_lib, '_Training', _Training), self.assertRaises(runner_lib.Interrupted) as caught:
      self.Run(['scratch_target', 'hydra_no_pretrain'])
    self.assertEqual(caught.exception.exit_code, 143)
    self.assertIn(text, str(caught.exception))
    self.assertLess(time.time() - started, 40)
    runs = [name for name in os.listdir(self.settings.output) if name not in ('hang', '.locks')]
    self.assertEqual(runs, ['scratch_target'])
    self.assertEqual(os.path.exists(self.Path('scratch_target', 'stopped.txt')), saved)

  def test_a_signal_while_data_is_made_ends_all_that_makes_it(self):
    # A process of its own below the one that is started, as Beam's workers are; each removes its file when interrupted.
    made = self.Path('made')
    script = (
      'import os, subprocess, sys, time\n'
      'child = len(sys.argv) == 1 and subprocess.Popen([sys.executable, __file__, "child"])\n'
      'name = "parent" if child else "child"\n'
      f'os.makedirs({made!r}, exist_ok=True)\n'
      'try:\n'
      f'  open(os.path.join({made!r}, name), "w").close()\n'
      '  time.sleep(60)\n'
      'except KeyboardInterrupt:\n'
      f'  os.remove(os.path.join({made!r}, name))\n'
      'if child: child.wait()\n'
    )
    path = self.Path('maker.py')
    with open(path, 'w', encoding='utf-8') as f:
      f.write(script)
    self._SignalWhen(lambda: os.path.exists(made) and len(os.listdir(made)) == 2, signal.SIGTERM)
    with (
      mock.patch.object(recipe_run, '_DataCommand', lambda settings: [path]),
      self.assertRaisesRegex(runner_lib.Interrupted, '^SIGTERM: data sets that are whole are kept') as caught,
    ):
      recipe_run.PrepareData(self.settings)
    self.assertEqual(caught.exception.exit_code, 143)
    self.assertEmpty(os.listdir(made))


class LockTest(_Case):
  def _Hold(self, name):
    lock = runner_lib._Lock(self.Path(name))
    self.assertIsNotNone(lock)
    self.addCleanup(lock.close)
    return lock

  def test_a_run_that_another_recipe_trains_is_waited_for(self):
    lock, waited = self._Hold('scratch_target'), []

    def _Sleep(seconds):
      waited.append(seconds)
      if len(waited) == 3:
        lock.close()

    with mock.patch.object(runner_lib.time, 'sleep', _Sleep):
      self.assertEqual(self.Run(['scratch_target']), {'scratch_target': 'done'})
    self.assertEqual(self.said.getvalue().count('another process trains it'), 1)

  def test_a_changed_stage_that_another_recipe_trains_first_is_waited_for_and_reused(self):
    change = {'scratch_target': {'dropout_prob': 0.2}}
    self.Run(['scratch_target'], change=change)
    done = stage_run.Read(self.Path('scratch_target'))
    stage_run.Write(self.Path('scratch_target'), {**done, 'stamp': 'another'})
    lock = self._Hold('scratch_target')

    def _Sleep(unused_seconds):
      stage_run.Write(self.Path('scratch_target'), done)
      lock.close()

    with mock.patch.object(runner_lib.time, 'sleep', _Sleep):
      self.assertEqual(self.Run(['scratch_target'], change=change), {'scratch_target': 'reused'})
    self.assertEqual(self.said.getvalue().count('another process trains it'), 1)
    self.assertEmpty(self.Aside())

  def test_a_stage_that_another_recipe_finishes_before_the_lock_is_reused(self):
    change = {'scratch_target': {'dropout_prob': 0.2}}
    self.Run(['scratch_target'], change=change)
    done = stage_run.Read(self.Path('scratch_target'))
    stage_run.Write(self.Path('scratch_target'), {**done, 'stamp': 'another'})
    real = runner_lib._Lock

    def _Lock(run_dir):
      stage_run.Write(run_dir, done)
      return real(run_dir)

    with mock.patch.object(runner_lib, '_Lock', _Lock):
      self.assertEqual(self.Run(['scratch_target'], change=change), {'scratch_target': 'reused'})
    self.assertEmpty(self.Aside())

  def test_nobody_else_has_the_lock_while_a_run_is_moved_aside_and_trained_anew(self):
    self.Run(['scratch_target'])
    real, tried = runner_lib._MoveAside, []

    def _MoveAside(run_dir):
      tried.append(runner_lib._Lock(run_dir))
      moved = real(run_dir)
      tried.append(runner_lib._Lock(run_dir))
      return moved

    with mock.patch.object(runner_lib, '_MoveAside', _MoveAside):
      self.assertEqual(
        self.Run(['scratch_target'], change={'scratch_target': {'dropout_prob': 0.2}}), {'scratch_target': 'done'}
      )
    self.assertEqual(tried, [None, None])
    self.assertLen(self.Aside(), 1)


class PublishTest(_Case):
  def setUp(self):
    super().setUp()

    def _Plot(rows, path):  # The real one takes a second, and is tested in recipe_results_test.
      self.assertNotEmpty(rows)
      with open(path, 'wb') as f:
        f.write(b'\x89PNG')

    self.enter_context(mock.patch.object(plot, 'Plot', _Plot))

  def _Row(self, run):
    return rows.Row(self.settings, self.Stages(), labels_lib.Labels(self.settings), run)

  def _Result(self):
    with open(recipe_publisher.ResultsPath(self.settings, docs=False), encoding='utf-8') as f:
      return json.load(f)

  def _WriteResult(self, *more):
    """Puts rows into the results file, unchecked."""
    path = recipe_publisher.ResultsPath(self.settings, docs=False)
    result = self._Result() if os.path.exists(path) else {'form': 'recipe', 'rows': []}
    result['rows'] += more
    with open(path, 'w', encoding='utf-8') as f:
      json.dump(result, f)

  def test_a_row_says_what_the_run_measured(self):
    self.Run(['adapted'])
    row = self._Row('adapted')
    self.assertEqual(
      (row['name'], row['seed'], row['target_wer'], row['target_wer_low'], row['total_params'], row['trained_params']),
      ('adapted', 1, 0.4, 0.3, 1000, 170),
    )
    self.assertEqual((row['target_utterances'], row['target_dropped']), (20, 0))
    self.assertEqual((row['target_label_fraction'], row['target_label_minutes']), (0.06, 0.6))
    self.assertEqual(row['stamp'], stage_run.Read(self.Path('adapted'))['stamp'])
    seconds = {name: stage_run.Read(self.Path(name))['seconds'] for name in ('pretrain', 'hydra', 'adapted')}
    self.assertEqual(row['hours'], round(seconds['adapted'] / 3600, 4))
    self.assertAlmostEqual(row['hours_with_parents'], sum(seconds.values()) / 3600, places=3)

  def test_dropped_utterances_of_the_target_are_refused(self):
    self.Touch('drop')
    self.Run(['scratch_target'])
    with self.assertRaisesRegex(
      errors.ConfigError, r'metrics.jsonl: 2 utterances of TestTarget were dropped \(too_long 2\)'
    ):
      self._Row('scratch_target')

  def test_rows_of_other_inputs_are_left_out(self):
    self.Run(['scratch_target', 'supervised'])
    recipe_publisher.Publisher(self.settings, docs=False).Write()
    known = [row['name'] for row in self._Result()['rows']]
    self.assertCountEqual(known, ['scratch_target', 'supervised'])
    # Older inputs, an older form, another seed of today's inputs, a model that is no more.
    seed5 = self.Stamps(self.Stages(seeds=(5,))).Stamp('scratch_target_seed5')
    old_form = recipe_case.Row('adapted')
    del old_form['stamp']
    self._WriteResult(
      recipe_case.Row('hydra', wer=0.9),
      old_form,
      recipe_case.Row('scratch_target', seed=5, stamp=seed5),
      recipe_case.Row('no_more'),
    )
    with contextlib.redirect_stderr(io.StringIO()) as err:
      result = recipe_publisher.Publisher(self.settings, docs=False).Write()
    self.assertEqual(
      [(row['name'], row['seed']) for row in result['rows']], [*((name, 1) for name in known), ('scratch_target', 5)]
    )
    self.assertIn(
      'left out, for they were trained from other inputs: hydra (seed 1), adapted (seed 1), no_more (seed 1)',
      err.getvalue(),
    )
    recipe_case.WriteData(self.settings.data_dir, ['target'], utterances=101)
    with contextlib.redirect_stderr(io.StringIO()):
      result = recipe_publisher.Publisher(self.settings, docs=False).Write()
    self.assertEqual((result['rows'], result['comparisons']), ([], []))

  def test_results_report_and_picture_are_written_and_other_rows_kept(self):
    stages = self.Stages()
    stamps = self.Stamps(stages)
    self._WriteResult(
      recipe_case.Row('probe_hydra', group='probe', stamp=stamps.Stamp('probe_hydra')),
      recipe_case.Row('hydra', wer=0.9, stamp=stamps.Stamp('hydra')),
    )
    publisher = recipe_publisher.Publisher(self.settings, docs=False)
    self.Run(['adapted', 'adapted_no_hydra'])
    result = publisher.Write()
    self.assertEmpty(publisher.failed)
    self.assertEqual(result, self._Result())
    wers = {row['name']: row['target_wer'] for row in result['rows']}
    self.assertEqual(
      wers, dict.fromkeys(['probe_hydra', 'hydra', 'adapted', 'adapted_no_hydra', 'supervised_pretrained'], 0.4)
    )
    pairs = {(p['a'], p['b']): p for p in result['comparisons']}
    self.assertEqual(pairs['adapted', 'adapted_no_hydra']['difference'], 0)
    with open(self.Path('report.md'), encoding='utf-8') as f:
      report = f.read()
    self.assertIn('training set has 100 utterances, 10.0 min. Of them the training stream uses 100, 10.0 min;', report)
    self.assertIn('Of 20 test utterances 5 have a text that also occurs in training, 15 do not.', report)
    # Of the other 15 every second has one of two words wrong, 7 of 30.
    self.assertRegex(report, r'\| `adapted` \| 1 \| 40.0 \| 23.3 \(\d+.\d to \d+.\d\) \|')
    for heading in ('**Two models each on the same utterances**', '## Target data', '## Hours', '## Data'):
      self.assertIn(heading, report)
    self.assertIn(f'| `adapted` | {stages["adapted"].steps:,} |', report)
    with open(self.Path('recipe.png'), 'rb') as f:
      self.assertEqual(f.read(4), b'\x89PNG')

  def test_a_run_without_results_is_named_and_ends_nothing(self):
    self.Run(['scratch_target'])
    path = self.Path('scratch_target', 'parameters.json')
    os.rename(path, f'{path}.lost')
    publisher = recipe_publisher.Publisher(self.settings, docs=False)
    with contextlib.redirect_stderr(io.StringIO()) as err:
      for _ in range(2):
        self.assertEmpty(publisher.Write()['rows'])
    self.assertEqual([*publisher.failed], ['scratch_target'])
    self.assertEqual(err.getvalue().count('no parameters.json'), 1)
    os.rename(f'{path}.lost', path)
    self.assertLen(publisher.Write()['rows'], 1)
    self.assertEmpty(publisher.failed)


if __name__ == '__main__':
  absltest.main()
