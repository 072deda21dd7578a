"""Properties of the recipe: its plan, what it reuses, what it writes, what it refuses."""

import collections
import contextlib
import dataclasses
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from fm_lingvo import accounting
from fm_lingvo import dataset
from fm_lingvo import errors
from fm_lingvo import gin_params
from lingvo import compat as tf
from params import asr
from params import base
from tests import recipe_case
from tools import recipe
from tools import recipe_labels
from tools import recipe_plan
from tools import recipe_rows
from tools import recipe_runner
from tools import recipe_stage

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class PlanTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self.settings = recipe_plan.Settings()
    self.stages = recipe_plan.Plan(self.settings, seeds=(2, 4))

  def test_the_trainer_takes_every_stages_knobs_and_bindings(self):
    # Stages that differ in values of the same knobs only are checked once.
    for settings in (self.settings, recipe_plan.Settings(quick=True)):
      distinct = {}
      for stage in recipe_plan.Plan(settings).values():
        distinct.setdefault((stage.model, frozenset(stage.knobs), frozenset(stage.bindings)), stage)
      for stage in distinct.values():
        with self.subTest(stage.name, quick=settings.quick):
          command = recipe_stage.Command(settings, stage)
          rewritten = gin_params.RewriteGinArgs(command)
          bindings = [arg.partition('=')[2] for arg in rewritten if arg.startswith('--gin_bindings=')]
          self.assertLen(bindings, len(stage.knobs) + len(stage.bindings))
          gin_params.Configure(stage.model, (), bindings)
          # The parts that a reader of the table relies on arrive.
          self.assertIn(f'{stage.experiment}.max_steps = {stage.knobs["max_steps"]}',
                        gin_params.ConfigText(stage.model, reference=False))

  def test_commands_can_be_pasted_into_a_shell(self):
    for stage in self.stages.values():
      words = shlex.split(recipe_stage.CommandText(self.settings, stage))
      self.assertEqual(words, ['trainer', *recipe_stage.Command(self.settings, stage)])

  def test_parents_come_first(self):
    seen = {''}
    for name, stage in self.stages.items():
      self.assertIn(stage.parent, seen, name)
      seen.add(name)

  def test_the_parents_run_is_what_a_stage_starts_from(self):
    for stage in self.stages.values():
      expected = f'runs/recipe/{stage.parent}' if stage.parent else None
      self.assertEqual(stage.knobs.get('init_from'), expected, stage.name)

  def test_rows_are_unique(self):
    rows = [(stage.row, stage.seed) for stage in self.stages.values() if stage.row]
    self.assertLen(set(rows), len(rows))

  def test_another_seed_is_another_choice_of_labels_and_nothing_else(self):
    for name in recipe_plan.SEEDED:
      first, second = self.stages[name], self.stages[f'{name}_seed2']
      changed = {knob for knob in first.knobs if first.knobs[knob] != second.knobs[knob]}
      self.assertEqual(changed, {'seed', 'label_seed'} if first.share < 1 else {'seed'}, name)
      self.assertEqual(first.parent, second.parent)

  def test_models_of_a_stage_have_as_many_steps(self):
    steps = {name: self.stages[name].knobs['max_steps'] for name in (
        'hydra', 'supervised', 'hydra_no_pretrain', 'adapted', 'adapted_no_hydra', 'adapted_no_pretrain')}
    self.assertLen({steps[n] for n in ('hydra', 'supervised', 'hydra_no_pretrain')}, 1)
    self.assertLen({steps[n] for n in ('adapted', 'adapted_no_hydra', 'adapted_no_pretrain')}, 1)

  def test_what_starts_from_stage_2_hears_source_speech_beside_the_target_s(self):
    replayed = {name: stage.knobs['source_weight'] for name, stage in self.stages.items() if 'source_weight' in stage.knobs}
    self.assertEqual(set(replayed.values()), {1.0})
    self.assertEqual(set(replayed), {
        name for name, stage in self.stages.items()
        if stage.share and (stage.parent or stage.row == 'scratch_source_target') and stage.experiment != 'CtcProbe'})

  def test_only_stages_that_are_asked_for_and_their_parents_are_selected(self):
    self.assertEqual(list(recipe_plan.Select(self.stages, ['adapted'])), ['pretrain', 'hydra', 'adapted'])
    main = recipe_plan.Select(self.stages, ['main'])
    self.assertLen(main, 10)
    self.assertNotIn('adapted_seed2', main)
    groups = collections.Counter(stage.group for stage in recipe_plan.Plan(self.settings).values())
    self.assertEqual(groups, {'main': 10, 'seed2': 6, 'seed3': 6, 'curve': 5, 'ablations_adapter': 5,
                              'ablations_pretrain': 9, 'ablations_hydra': 2, 'probe': 3})
    self.assertEqual(set(groups), set(recipe_plan.GROUPS))
    for group, seed in recipe_plan.SEED_GROUPS.items():
      chosen = recipe_plan.Select(self.stages, [group])
      self.assertCountEqual([s.row for s in chosen.values() if s.seed == seed], recipe_plan.SEEDED)
      self.assertEqual({s.seed for s in chosen.values() if s.share}, {seed})
    self.assertIn('short_adapted', recipe_plan.Select(self.stages, ['ablations_hydra']))
    curve = recipe_plan.Select(self.stages, ['curve'], seeds=(2, 4))
    for seed in (1, 2, 4):
      self.assertEqual({s.share for s in curve.values() if s.seed == seed and s.share}, set(recipe_plan.CURVE_SHARES))
    self.assertIn('adapted_seed4', recipe_plan.Select(self.stages, ['adapted'], seeds=(4,)))
    everything = recipe_plan.Select(recipe_plan.Plan(self.settings), ['all'])
    self.assertEqual(list(everything), list(recipe_plan.Plan(self.settings)))

  def test_groups_beside_main_take_at_most_an_hour_each(self):
    def _AudioSeconds(stage):
      batch = stage.knobs.get('batch_seconds', 32.0)  # Of the experiments' defaults: labeled or pretraining speech.
      if stage.knobs.get('source_weight'):
        batch *= 2
      if stage.experiment == 'JustHydra':
        batch += 16.0 + 32.0 * bool(stage.knobs.get('source_best_rq_weight'))
      return stage.knobs['max_steps'] * batch
    hours = {}
    for stage in recipe_plan.Plan(self.settings).values():
      hours[stage.group] = hours.get(stage.group, 0.0) + _AudioSeconds(stage) / (2 * 35) / 3600
    self.assertGreater(hours.pop('main'), 1.0)
    for group, value in hours.items():
      self.assertBetween(value, 0.1, 1.0, group)
    # What trains no earlier stage anew does not need one that does.
    names = recipe_plan.Select(self.stages, ['ablations_adapter'])
    self.assertEqual({s.parent for s in names.values() if s.group == 'ablations_adapter'}, {'hydra'})

  def test_an_unknown_name_is_answered_with_the_nearest(self):
    for name, nearest in (('hydar', 'hydra'), ('ablations_adapt', 'ablations_adapter'), ('adaptd', 'adapted')):
      with self.assertRaisesRegex(errors.ConfigError, f'^{name}: no such group or stage; did you mean {nearest}.$'):
        recipe_plan.Select(self.stages, [name])
    with self.assertRaisesRegex(errors.ConfigError, 'expected all, main, seed2'):
      recipe_plan.Select(self.stages, ['qqqq'])


class StageTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = recipe_case.Folder(self)
    self.settings = recipe_plan.Settings(output=os.path.join(folder, 'runs'), data_dir=os.path.join(folder, 'data'))
    recipe_case.WriteData(self.settings.data_dir)
    self.stages = recipe_plan.Select(recipe_plan.Plan(self.settings), ['adapted'])

  def _Stamps(self, stages=None):
    inputs = recipe_stage.Inputs(self.settings, stages or self.stages)
    return {name: recipe_stage.Stamp(value) for name, value in inputs.items()}

  def _With(self, name, **knobs):
    stage = self.stages[name]
    return {**self.stages, name: dataclasses.replace(stage, knobs={**stage.knobs, **knobs})}

  def _Changed(self, before, after):
    return {name for name in before if before[name] != after[name]}

  def test_a_knob_changes_the_stage_and_all_that_start_from_it(self):
    before = self._Stamps()
    self.assertEqual(self._Changed(before, self._Stamps()), set())
    self.assertEqual(self._Changed(before, self._Stamps(self._With('hydra', best_rq_weight=0.7))), {'hydra', 'adapted'})
    self.assertEqual(self._Changed(before, self._Stamps(self._With('pretrain', num_codebooks=4))), set(before))
    self.assertEqual(self._Changed(before, self._Stamps(self._With('adapted', max_steps=7))), {'adapted'})

  def test_how_often_a_run_is_looked_at_changes_nothing(self):
    self.assertEqual(self._Stamps(), self._Stamps(self._With('hydra', eval_interval_steps=7, save_interval_steps=3)))

  def test_data_changes_the_stages_that_read_it(self):
    before = self._Stamps()
    recipe_case.WriteData(self.settings.data_dir, ['source'], utterances=11)
    self.assertEqual(self._Changed(before, self._Stamps()), {'hydra', 'adapted'})
    recipe_case.WriteData(self.settings.data_dir, ['unlabeled'], utterances=11)
    self.assertEqual(self._Changed(before, self._Stamps()), set(before))

  def test_missing_data_is_named(self):
    os.remove(os.path.join(self.settings.data_dir, 'target', 'dataset.json'))
    with self.assertRaisesRegex(errors.ConfigError, 'data/target: no dataset.json'):
      self._Stamps()

  def test_differences_name_what_changed(self):
    inputs = recipe_stage.Inputs(self.settings, self.stages)['hydra']
    other = recipe_stage.Inputs(self.settings, self._With('hydra', max_steps=7))['hydra']
    self.assertEqual(recipe_stage.Differences(inputs, other), f'max_steps: {inputs["max_steps"]} -> 7')

  def _WriteOldRun(self, step, age=1000.0, **knobs):
    """A run without stage.json, as the trainer leaves it."""
    stage = self.stages['pretrain']
    run = recipe_stage.RunDir(self.settings, stage)
    os.makedirs(os.path.join(run, 'train'), exist_ok=True)
    lines = [f'{stage.experiment}.{knob} = {value!r}  # <- --gin_bindings; was 0'
             for knob, value in {**stage.knobs, **knobs}.items()]
    files = {
        'config.gin': '\n'.join([*lines, 'BestRqPretrain.kl_weight = 0.0', '', '# Every other param.', '# a.b = 3']),
        'metrics.jsonl': ''.join(json.dumps({'dataset': 'train', 'step': s, 'time': float(s)}) + '\n'
                                 for s in (step - 100, step)),
        'train/checkpoint': f'model_checkpoint_path: "{run}/train/ckpt-{step:08d}"\n'}
    for name, text in files.items():
      with open(os.path.join(run, name), 'w', encoding='utf-8') as f:
        f.write(text)
      os.utime(os.path.join(run, name), (time.time() - age,) * 2)
    return run, stage

  def _Look(self):
    run, stage = recipe_stage.RunDir(self.settings, self.stages['pretrain']), self.stages['pretrain']
    return recipe_stage.Look(run, stage, recipe_stage.Inputs(self.settings, self.stages)['pretrain'])

  def test_a_run_from_before_the_recipe_is_taken_if_its_knobs_are_the_same(self):
    self.assertEqual(self._Look(), ('train', ''))
    steps = self.stages['pretrain'].knobs['max_steps']
    self._WriteOldRun(steps, eval_interval_steps=3)
    self.assertEqual(self._Look(), ('done', ''))
    self._WriteOldRun(steps - 500)
    self.assertEqual(self._Look(), ('resume', ''))
    self._WriteOldRun(steps - 500, age=5)
    self.assertEqual(self._Look(), ('busy', ''))
    self._WriteOldRun(steps, mask_span_ms=80.0)
    self.assertEqual(self._Look(), ('changed', 'BestRqPretrain.mask_span_ms: 80.0 -> 160.0'))
    self._WriteOldRun(steps, kl_strength=0.5)
    what, why = self._Look()
    self.assertEqual((what, why), ('changed', 'BestRqPretrain.kl_strength: 0.5 -> unset'))

  def test_a_run_can_be_taken_although_its_inputs_differ(self):
    steps = self.stages['pretrain'].knobs['max_steps']
    only = {'pretrain': self.stages['pretrain']}
    inputs = recipe_stage.Inputs(self.settings, only)
    def _Run():
      said = io.StringIO()
      runner = recipe_runner.Runner(self.settings, only, inputs, 1, take=['pretrain'], trainer=['false'], stream=said)
      return runner.Run()['pretrain'], said.getvalue()

    self._WriteOldRun(steps - 1, mask_span_ms=80.0)
    outcome, said = _Run()
    self.assertEqual(outcome, 'failed')
    self.assertRegex(said, f'^pretrain: not taken, .* is not a finished run of {steps} steps')
    run, _ = self._WriteOldRun(steps, mask_span_ms=80.0)
    self.assertEqual(_Run()[0], 'reused')
    self.assertEqual(self._Look(), ('done', ''))
    state = recipe_stage.Read(run)
    self.assertEqual((state['taken'], state['seconds']), ('BestRqPretrain.mask_span_ms: 80.0 -> 160.0', 100))
    # A later change counts again.
    stages = self._With('pretrain', num_codebooks=4)
    later = recipe_stage.Inputs(self.settings, stages)['pretrain']
    self.assertEqual(recipe_stage.Look(run, stages['pretrain'], later), ('changed', 'num_codebooks: unset -> 4'))

  def test_pauses_do_not_count_as_training(self):
    run, _ = self._WriteOldRun(500)
    self.assertEqual(recipe_stage.TrainedSeconds(run), 100)
    with open(os.path.join(run, 'metrics.jsonl'), 'a', encoding='utf-8') as f:
      f.write(json.dumps({'dataset': 'train', 'step': 501, 'time': 90000.0}) + '\n')
    self.assertEqual(recipe_stage.TrainedSeconds(run), 100)

  def test_a_broken_state_is_named(self):
    run, _ = self._WriteOldRun(500)
    with open(os.path.join(run, 'stage.json'), 'w', encoding='utf-8') as f:
      f.write('{')
    with self.assertRaisesRegex(errors.ConfigError, 'stage.json: not JSON'):
      self._Look()


class RunnerTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.folder = recipe_case.Folder(self)
    self.settings = recipe_plan.Settings(output=os.path.join(self.folder, 'runs'),
                                         data_dir=os.path.join(self.folder, 'data'))
    os.makedirs(self.settings.output)
    recipe_case.WriteData(self.settings.data_dir)
    self.trainer = recipe_case.Trainer(self.folder)
    patch = mock.patch.object(recipe_runner, '_POLL_SECONDS', 0.02)
    patch.start()
    self.addCleanup(patch.stop)

  def _Run(self, names, jobs=2, change=None):
    stages = recipe_labels.Resolve(self.settings, recipe_plan.Select(recipe_plan.Plan(self.settings), names))
    if change:
      name, knobs = change
      stages[name] = dataclasses.replace(stages[name], knobs={**stages[name].knobs, **knobs})
    self.done, self.said = [], io.StringIO()
    runner = recipe_runner.Runner(self.settings, stages, recipe_stage.Inputs(self.settings, stages), jobs,
                                  on_done=self.done.append, trainer=self.trainer, stream=self.said)
    return runner.Run()

  def _Path(self, *names):
    return os.path.join(self.settings.output, *names)

  def _Touch(self, name):
    with open(self._Path(name), 'w', encoding='utf-8'):
      pass

  def _Calls(self, name):
    with open(self._Path(name, 'calls.txt'), encoding='utf-8') as f:
      return [json.loads(line) for line in f]

  def test_a_finished_stage_is_reused_and_a_changed_one_moved_aside(self):
    self.assertEqual(self._Run(['adapted']), dict.fromkeys(['pretrain', 'hydra', 'adapted'], 'done'))
    self.assertEqual(self.done, ['pretrain', 'hydra', 'adapted'])
    state = recipe_stage.Read(self._Path('hydra'))
    self.assertTrue(state['done'])
    self.assertGreater(state['seconds'], 0)
    self.assertIn('--model=asr.JustHydra', state['command'])

    self.assertEqual(set(self._Run(['adapted']).values()), {'reused'})
    self.assertEqual(self.done, ['pretrain', 'hydra', 'adapted'])
    self.assertLen(self._Calls('hydra'), 1)

    outcomes = self._Run(['adapted'], change=('hydra', {'best_rq_weight': 0.7}))
    self.assertEqual(outcomes, {'pretrain': 'reused', 'hydra': 'done', 'adapted': 'done'})
    self.assertIn("hydra: its inputs changed (best_rq_weight: 0.1 -> 0.7); the old run is now", self.said.getvalue())
    self.assertLen([n for n in os.listdir(self.settings.output) if n.startswith('hydra.before-')], 1)

  def test_a_stage_shares_the_cores(self):
    self._Run(['hydra_no_pretrain', 'scratch_target', 'supervised'], jobs=100)
    self.assertEqual(self._Calls('scratch_target')[0]['threads'],
                     str(max(1, len(os.sched_getaffinity(0)) // 4)))

  def test_a_failure_is_named_and_spares_the_stages_that_do_not_need_it(self):
    self._Touch('fail_hydra')
    self.assertEqual(self._Run(['adapted', 'scratch_target']), {
        'pretrain': 'done', 'hydra': 'failed', 'adapted': 'not run', 'scratch_target': 'done'})
    self.assertIn('hydra: failed, exit code 2: trainer: task.nothing = 1: no such param', self.said.getvalue())
    os.remove(self._Path('fail_hydra'))
    self.assertEqual(self._Run(['adapted']), {'pretrain': 'reused', 'hydra': 'done', 'adapted': 'done'})

  def test_hours_of_resumed_runs_add_up(self):
    self._Run(['scratch_target'])
    state = recipe_stage.Read(self._Path('scratch_target'))
    recipe_stage.Write(self._Path('scratch_target'), {**state, 'done': False, 'seconds': 1000.0})
    self.assertEqual(self._Run(['scratch_target']), {'scratch_target': 'done'})
    self.assertIn('scratch_target: resumed', self.said.getvalue())
    self.assertBetween(recipe_stage.Read(self._Path('scratch_target'))['seconds'], 1000.001, 1030)

  def test_a_signal_ends_trainers_cleanly(self):
    self._Touch('hang')
    script = (
        'import sys\n'
        'from tools import recipe_plan, recipe_runner, recipe_stage\n'
        f's = recipe_plan.Settings(output={self.settings.output!r}, data_dir={self.settings.data_dir!r})\n'
        "stages = recipe_plan.Select(recipe_plan.Plan(s), ['scratch_target'])\n"
        f'runner = recipe_runner.Runner(s, stages, recipe_stage.Inputs(s, stages), 1, trainer={self.trainer!r})\n'
        'try:\n'
        '  runner.Run()\n'
        'except recipe_runner.Interrupted as e:\n'
        '  print(e)\n'
        '  sys.exit(e.exit_code)\n')
    with subprocess.Popen([sys.executable, '-c', script], cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
      deadline = time.time() + 30
      while not os.path.exists(self._Path('scratch_target', 'hanging')) and time.time() < deadline:
        time.sleep(0.05)
      process.send_signal(signal.SIGINT)
      out = process.communicate(timeout=30)[0]
    self.assertEqual(process.returncode, 130)
    self.assertIn('the same command goes on', out)
    self.assertTrue(os.path.exists(self._Path('scratch_target', 'stopped.txt')))
    state = recipe_stage.Read(self._Path('scratch_target'))
    self.assertFalse(state['done'])
    self.assertGreater(state['seconds'], 0)
    os.remove(self._Path('hang'))
    self.assertEqual(self._Run(['scratch_target']), {'scratch_target': 'done'})

  def test_a_signal_while_data_is_made_ends_all_that_makes_it(self):
    # A process of its own below the one that is started, as Beam's workers are; each says its name when interrupted.
    made = os.path.join(self.settings.output, 'made')
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
        'if child: child.wait()\n')
    path = os.path.join(self.settings.output, 'maker.py')
    os.makedirs(self.settings.output, exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
      f.write(script)
    def _Interrupt():
      deadline = time.time() + 30
      while len(os.listdir(made) if os.path.exists(made) else ()) < 2 and time.time() < deadline:
        time.sleep(0.05)
      os.kill(os.getpid(), signal.SIGTERM)
    thread = threading.Thread(target=_Interrupt)
    thread.start()
    with mock.patch.object(recipe, '_DataCommand', lambda settings: [path]), \
        self.assertRaisesRegex(recipe_runner.Interrupted, '^SIGTERM: data sets that are whole are kept') as caught:
      recipe.PrepareData(self.settings)
    thread.join()
    self.assertEqual(caught.exception.exit_code, 143)
    self.assertEmpty(os.listdir(made))

  @parameterized.parameters((1, 'have saved checkpoints', True), (2, 'were killed at the second signal', False))
  def test_a_signal_while_a_stage_starts_ends_it_and_starts_no_other(self, times, text, saved):
    self._Touch('hang')
    child_class = recipe_runner._Child  # pylint: disable=protected-access
    def _Child(run, *args):
      child = child_class(run, *args)
      deadline = time.time() + 30
      while not os.path.exists(os.path.join(run, 'hanging')) and time.time() < deadline:
        time.sleep(0.02)
      for _ in range(times):
        os.kill(os.getpid(), signal.SIGTERM)
      return child
    started = time.time()
    with mock.patch.object(recipe_runner, '_Child', _Child), self.assertRaises(recipe_runner.Interrupted) as caught:
      self._Run(['scratch_target', 'hydra_no_pretrain'])
    self.assertEqual(caught.exception.exit_code, 143)
    self.assertIn(text, str(caught.exception))
    self.assertLess(time.time() - started, 40)
    runs = [name for name in os.listdir(self.settings.output) if name != 'hang']
    self.assertEqual(runs, ['hydra_no_pretrain'])
    self.assertEqual(os.path.exists(self._Path('hydra_no_pretrain', 'stopped.txt')), saved)

  def _HoldLock(self, name):
    lock = recipe_runner._Lock(self._Path(name))  # pylint: disable=protected-access
    self.assertIsNotNone(lock)
    self.addCleanup(lock.close)
    return lock

  def test_a_changed_stage_that_another_recipe_starts_first_is_waited_for(self):
    self._Run(['scratch_target'])
    real, others = recipe_runner.MoveAside, []
    def _MoveAside(run):
      # While its folder is there, nobody else has the lock.
      self.assertIsNone(recipe_runner._Lock(run))  # pylint: disable=protected-access
      moved = real(run)
      others.append(self._HoldLock('scratch_target'))
      return moved
    def _Sleep(seconds):
      del seconds
      while others:
        others.pop().close()
    with mock.patch.object(recipe_runner, 'MoveAside', _MoveAside), \
         mock.patch.object(recipe_runner.time, 'sleep', _Sleep):
      self.assertEqual(self._Run(['scratch_target'], change=('scratch_target', {'dropout_prob': 0.2})),
                       {'scratch_target': 'done'})
    self.assertEqual(self.said.getvalue().count('another process trains it'), 1)
    self.assertLen([n for n in os.listdir(self.settings.output) if '.before-' in n], 1)

  def test_a_stage_that_another_recipe_finishes_before_the_lock_is_reused(self):
    change = ('scratch_target', {'dropout_prob': 0.2})
    self._Run(['scratch_target'], change=change)
    done = recipe_stage.Read(self._Path('scratch_target'))
    recipe_stage.Write(self._Path('scratch_target'), {**done, 'stamp': 'another'})
    real = recipe_runner._Lock  # pylint: disable=protected-access
    def _Lock(run):
      recipe_stage.Write(run, done)
      return real(run)
    with mock.patch.object(recipe_runner, '_Lock', _Lock):
      self.assertEqual(self._Run(['scratch_target'], change=change), {'scratch_target': 'reused'})
    self.assertEqual(os.listdir(self.settings.output), ['scratch_target'])

  def test_a_lock_that_was_moved_aside_with_its_folder_is_none(self):
    real = recipe_runner.fcntl.flock
    def _Flock(*args):
      recipe_runner.MoveAside(self._Path('hydra'))
      real(*args)
    with mock.patch.object(recipe_runner.fcntl, 'flock', _Flock):
      self.assertIsNone(recipe_runner._Lock(self._Path('hydra')))  # pylint: disable=protected-access
    self._HoldLock('hydra')

  def test_a_run_that_another_recipe_trains_is_waited_for(self):
    os.makedirs(self._Path('scratch_target'))
    lock = recipe_runner._Lock(self._Path('scratch_target'))  # pylint: disable=protected-access
    waited = []
    def _Sleep(seconds):
      waited.append(seconds)
      if len(waited) == 3:
        lock.close()
    with mock.patch.object(recipe_runner.time, 'sleep', _Sleep):
      self.assertEqual(self._Run(['scratch_target']), {'scratch_target': 'done'})
    self.assertEqual(self.said.getvalue().count('another process trains it'), 1)

  def test_a_row_says_what_the_run_measured(self):
    self._Run(['adapted'])
    row = recipe_rows.Row(self.settings, self._Plan(), 'adapted')
    self.assertEqual((row['name'], row['seed'], row['target_wer'], row['target_wer_low'], row['total_params'],
                      row['trained_params']), ('adapted', 1, 0.4, 0.3, 1000, 170))
    self.assertEqual((row['target_utterances'], row['target_dropped']), (20, 0))
    self.assertEqual((row['target_label_fraction'], row['target_label_minutes']), (0.06, 0.6))
    self.assertEqual(row['stamp'], recipe_stage.Read(self._Path('adapted'))['stamp'])
    seconds = {name: recipe_stage.Read(self._Path(name))['seconds'] for name in ('pretrain', 'hydra', 'adapted')}
    self.assertEqual(row['hours'], round(seconds['adapted'] / 3600, 4))
    self.assertAlmostEqual(row['hours_with_parents'], sum(seconds.values()) / 3600, places=3)

  def _Plan(self, seeds=()):
    return recipe_labels.Resolve(self.settings, recipe_plan.Plan(self.settings, seeds))

  def test_dropped_utterances_of_the_target_are_refused(self):
    self._Touch('drop')
    self._Run(['scratch_target'])
    with self.assertRaisesRegex(errors.ConfigError,
                                r'metrics.jsonl: 2 utterances of TestTarget were dropped \(too_long 2\)'):
      recipe_rows.Row(self.settings, self._Plan(), 'scratch_target')

  def test_rows_of_other_inputs_are_left_out(self):
    self._Run(['scratch_target', 'supervised'])
    publisher = recipe.Publisher(self.settings, docs=False)
    for name in self.done:
      publisher.Add(name)
    self.assertCountEqual([row['name'] for row in publisher.result['rows']], ['scratch_target', 'supervised'])
    known = [row['name'] for row in publisher.result['rows']]
    # Older inputs, an older form, another seed of today's inputs, a model that is no more.
    seed5 = recipe_stage.Inputs(self.settings, self._Plan((5,)))['scratch_target_seed5']
    old_form = recipe_case.Row('adapted')
    del old_form['stamp']
    path = recipe.ResultsPath(self.settings, docs=False)
    with open(path, encoding='utf-8') as f:
      result = json.load(f)
    kept = recipe_case.Row('scratch_target', seed=5, stamp=recipe_stage.Stamp(seed5))
    result['rows'] += [recipe_case.Row('hydra', wer=0.9), old_form, kept, recipe_case.Row('no_more')]
    with open(path, 'w', encoding='utf-8') as f:
      json.dump(result, f)
    publisher = recipe.Publisher(self.settings, docs=False)
    with contextlib.redirect_stderr(io.StringIO()) as err:
      publisher.Write()
    self.assertEqual([(row['name'], row['seed']) for row in publisher.result['rows']],
                     [*((name, 1) for name in known), ('scratch_target', 5)])
    self.assertIn('left out, for they were trained from other inputs: hydra (seed 1), adapted (seed 1), '
                  'no_more (seed 1)', err.getvalue())
    recipe_case.WriteData(self.settings.data_dir, ['target'], utterances=101)
    publisher = recipe.Publisher(self.settings, docs=False)
    with contextlib.redirect_stderr(io.StringIO()):
      publisher.Write()
    self.assertEqual((publisher.result['rows'], publisher.result['comparisons']), ([], []))

  def test_results_report_and_picture_are_written_and_other_rows_kept(self):
    results = recipe.ResultsPath(self.settings, docs=False)
    plan = self._Plan()
    stamps = {name: recipe_stage.Stamp(inputs) for name, inputs in recipe_stage.Inputs(self.settings, plan).items()}
    recipe_rows.Merge(results, [recipe_case.Row('probe_hydra', group='probe', stamp=stamps['probe_hydra']),
                                recipe_case.Row('hydra', wer=0.9, stamp=stamps['hydra'])])
    publisher = recipe.Publisher(self.settings, docs=False)
    self._Run(['adapted', 'adapted_no_hydra'])
    for name in self.done:
      publisher.Add(name)
    self.assertEmpty(publisher.failed)
    with open(results, encoding='utf-8') as f:
      result = json.load(f)
    wers = {row['name']: row['target_wer'] for row in result['rows']}
    self.assertEqual(wers, dict.fromkeys(['probe_hydra', 'hydra', 'adapted', 'adapted_no_hydra', 'supervised'], 0.4))
    pairs = {(p['a'], p['b']): p for p in result['comparisons']}
    self.assertEqual(pairs['adapted', 'adapted_no_hydra']['difference'], 0)
    with open(self._Path('report.md'), encoding='utf-8') as f:
      report = f.read()
    self.assertIn("training set has 100 utterances, 10.0 min. Of them the training stream uses 100, 10.0 min;", report)
    self.assertIn('Of 20 test prompts 5 have a text that also occurs in training, 15 do not.', report)
    # Of the other 15 every second has one of two words wrong, 7 of 30.
    self.assertRegex(report, r'\| `adapted` \| 1 \| 40.0 \| 23.3 \(\d+.\d to \d+.\d\) \|')
    for heading in ('**Two models each on the same utterances**', '## Forgetting', '## Target data', '## Hours', '## Commands'):
      self.assertIn(heading, report)
    self.assertIn(f'| `adapted` | {plan["adapted"].knobs["max_steps"]:,} |', report)
    with open(self._Path('recipe.png'), 'rb') as f:
      self.assertEqual(f.read(4), b'\x89PNG')

  def test_a_run_without_results_is_named_and_ends_nothing(self):
    self._Run(['scratch_target'])
    os.remove(self._Path('scratch_target', 'parameters.json'))
    publisher = recipe.Publisher(self.settings, docs=False)
    with contextlib.redirect_stderr(io.StringIO()) as err:
      publisher.Add('scratch_target')
    self.assertEqual(publisher.failed, ['scratch_target'])
    self.assertIn('neither parameters.json nor a table of parameters', err.getvalue())


class LabelsTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    folder = recipe_case.Folder(self)
    self.settings = recipe_plan.Settings(data_dir=folder)
    recipe_case.WriteData(folder, utterances=355)
    self.plan = recipe_plan.Plan(self.settings, seeds=(2, 3))

  def _Append(self, *rows):
    with open(os.path.join(self.settings.data_dir, 'target', 'manifest.jsonl'), 'a', encoding='utf-8') as f:
      for i, (text, duration, split) in enumerate(rows):
        f.write(json.dumps({**dict.fromkeys(dataset.MANIFEST_KEYS, ''), 'utt_id': f'more/{i}', 'split': split, 'text': text,
                            'duration': duration}) + '\n')

  def _Chosen(self, stage):
    """Names of all training utterances, usable or not, that the trainer's own hash selects."""
    ids = [row['utt_id'] for row in recipe_labels.Split(self.settings, 'train')]
    with tf.Graph().as_default(), tf.Session() as sess:
      chosen = sess.run(accounting.InShare(tf.constant(ids), stage.knobs['label_share'], stage.knobs['label_seed']))
    return {utt_id for utt_id, is_chosen in zip(ids, chosen) if is_chosen}

  def test_a_share_is_exactly_so_many_of_the_usable_utterances_of_every_seed(self):
    self._Append(('', 6.0, 'train'), ('x', 60.0, 'train'), ('x', 6.0, 'test'))
    stages = recipe_labels.Resolve(self.settings, self.plan)
    counts = {0.03: 10, 0.067: 23, 0.13: 46, 0.25: 88, 0.5: 177, 1.0: 355}
    self.assertEqual(tuple(counts), recipe_plan.CURVE_SHARES)
    usable = {f'target/{i}' for i in range(355)}
    selected = {}
    for seed in (1, 2, 3):
      for share, count in counts.items():
        stage = stages[recipe_plan.CurveName(share) + (f'_seed{seed}' if seed > 1 else '')]
        self.assertEqual(stage.share, share)
        fraction, minutes = recipe_labels.TargetLabels(self.settings, stage)
        self.assertEqual((fraction, minutes), (count / 355, count * 6 / 60))
        if share < 1:
          selected[seed, share] = self._Chosen(stage) & usable
          self.assertLen(selected[seed, share], count)
          self.assertEqual({row['utt_id'] for row in recipe_labels.Given(self.settings, stage)}, selected[seed, share])
        else:
          self.assertEqual(stage.knobs['label_share'], 1)
      shares = [share for share in counts if share < 1]
      for small, large in zip(shares, shares[1:]):
        self.assertLess(selected[seed, small], selected[seed, large])
    self.assertNotEqual(selected[1, 0.067], selected[2, 0.067])

  def test_the_share_is_what_the_trainer_is_told_and_an_input(self):
    stage = recipe_labels.Resolve(self.settings, {'adapted': self.plan['adapted']})['adapted']
    share = stage.knobs['label_share']
    self.assertNotEqual(share, 0.067)
    self.assertIn(f'--gin.AdapterFinetune.label_share={share!r}', recipe_stage.Command(self.settings, stage))
    stages = recipe_labels.Resolve(self.settings, recipe_plan.Select(self.plan, ['adapted']))
    self.assertEqual(recipe_stage.Inputs(self.settings, stages)['adapted']['label_share'], share)

  def test_of_utterances_that_share_a_bucket_at_the_border_none_is_chosen(self):
    def _Resolve(buckets, count):
      with mock.patch.object(recipe_labels, '_Buckets', lambda rows, seed: buckets), \
           mock.patch.object(recipe_labels, 'Count', lambda share, size: count):
        stage = recipe_labels.Resolve(self.settings, {'adapted': self.plan['adapted']})['adapted']
      return round(stage.knobs['label_share'] * accounting.SHARE_BUCKETS)
    self.assertEqual(_Resolve([9, 7, 5, 3, 3], 2), 4)
    self.assertEqual(_Resolve([9, 7, 7, 3, 1], 3), 4)
    self.assertEqual(_Resolve([1, 2, 2, 2, 4], 2), 2)
    with self.assertRaisesRegex(errors.ConfigError, 'the utterances of adapted cannot be told apart'):
      _Resolve([2, 2, 2, 4], 2)

  def test_a_share_of_too_few_utterances_is_named(self):
    recipe_case.WriteData(self.settings.data_dir, ['target'], utterances=10)
    with self.assertRaisesRegex(errors.ConfigError, 'target: 6.7 % of 10 usable training utterances is none; adapted '):
      recipe_labels.Resolve(self.settings, {'adapted': self.plan['adapted']})

  def test_all_and_none(self):
    self.assertEqual(recipe_labels.TargetLabels(self.settings, self.plan['scratch_target']), (1.0, 35.5))
    self.assertEqual(recipe_labels.TargetLabels(self.settings, self.plan['hydra']), (0.0, 0.0))

  def test_usable_is_what_the_training_stream_accepts(self):
    cases = [('', 6.0), (' ', 6.0), ('word', 0.0), ('word', 0.1), ('word', 0.0999375), ('word', 16.0),
             ('word', 16.0000625), ('a' * 42, 1.0), ('a' * 43, 1.0), ('a' * 59, 1.5), ('a' * 61, 1.5),
             ('\u00e9' * 42, 1.0)]
    self._Append(*[(text, duration, 'train') for text, duration in cases])
    usable = {row['utt_id'] for row in recipe_labels.Usable(self.settings)}
    p = recipe_labels.TrainStream().Copy().Set(share=1.0)
    bounds = [int(round(bound * 16000)) for bound in p.bucket_upper_bound_seconds]
    accountant = accounting.Accountant(p, path='', bounds=bounds, num_files=1, must_accept=False)
    with tf.Graph().as_default(), tf.Session() as sess:
      features = {name: tf.placeholder(tf.string, []) for name in accounting.FEATURES}
      _, reasons = accountant._Judge(features)  # pylint: disable=protected-access
      accepted = []
      for i, (text, duration) in enumerate(cases):
        values = {'utt_id': f'more/{i}', 'audio': bytes(2 * round(duration * 16000)), 'text': text, 'domain': 'x'}
        found = sess.run(reasons, {features[name]: value for name, value in values.items()})
        self.assertEqual(f'more/{i}' in usable, not found.any(), cases[i])
        accepted.append(not found.any())
    self.assertIn(True, accepted)
    self.assertIn(False, accepted)

  def test_the_tokenizer_is_that_of_the_experiments(self):
    self.assertEqual(recipe_labels.Tokenizer(), base.GRAPHEMES_EN)
    self.assertEqual(asr.Supervised().Train().streams.labeled.tokenizer_file, base.GRAPHEMES_EN)


class DoorTest(absltest.TestCase):

  def _Main(self, *argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = recipe.Main(['recipe', *argv])
    return code, out.getvalue(), err.getvalue()

  def test_errors_are_one_line_and_exit_code_2(self):
    for argv, message in ((['mian'], 'mian: no such group or stage; did you mean main?'),
                          (['--seeds=a'], '--seeds=a: expected integers'), (['--seeds=0'], 'expected integers >= 1'),
                          (['--jobs=0'], '--jobs=0: expected a number >= 1'),
                          (['--jobs=-1'], '--jobs=-1: expected a number >= 1')):
      with self.subTest(message):
        code, _, err = self._Main(*argv)
        self.assertEqual((code, err.count('\n')), (2, 1))
        self.assertIn(message, err)

  def test_an_output_that_is_a_file_is_told_before_data_is_made(self):
    path = os.path.join(recipe_case.Folder(self), 'file')
    with open(path, 'w', encoding='utf-8'):
      pass
    with mock.patch.object(recipe, 'PrepareData') as prepare:
      code, _, err = self._Main('--quick', '--no-docs', f'--output={path}', 'hydra')
    self.assertEqual((code, err), (2, f'recipe: --output={path}: cannot be written ({path} is not a directory)\n'))
    prepare.assert_not_called()

  def test_the_list_names_all_groups_and_stages(self):
    code, out, _ = self._Main('--list')
    self.assertEqual(code, 0)
    for name in [*recipe_plan.GROUPS, *recipe_plan.Plan(recipe_plan.Settings())]:
      self.assertRegex(out, rf'(?m)^ *{name}\b')

  def test_a_dry_run_says_what_would_be_done_and_trains_nothing(self):
    folder = recipe_case.Folder(self)
    recipe_case.WriteData(folder)
    runs = os.path.join(folder, 'runs')
    with mock.patch.object(recipe, 'PrepareData'):
      code, out, err = self._Main('adapted', '--dry_run', f'--data_dir={folder}', f'--output={runs}')
    self.assertEqual((code, err), (0, ''))
    self.assertEqual([line.partition(':')[0] for line in out.splitlines()], ['pretrain', 'hydra', 'adapted'])
    self.assertFalse(os.path.exists(runs))
    code, _, err = self._Main('adapted', '--dry_run', f'--data_dir={runs}', f'--output={runs}')
    self.assertEqual(code, 2)
    self.assertRegex(err, '^recipe: .*: not all data sets are there.*first python -m tools.recipe_data --output=.*\n$')

  def test_a_smoke_run_leaves_docs_alone(self):
    args = recipe._Parser().parse_args(['--quick'])  # pylint: disable=protected-access
    settings = recipe._Settings(args)  # pylint: disable=protected-access
    self.assertEqual((settings.output, settings.data_dir), ('runs/recipe_quick', 'data/recipe_quick'))
    for docs, expected in ((True, 'docs/results/recipe.json'), (False, 'runs/recipe_quick/recipe.json')):
      self.assertEndsWith(recipe.ResultsPath(settings, docs), expected)


if __name__ == '__main__':
  absltest.main()
