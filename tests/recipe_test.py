"""Properties of the recipe's plan, its stamps, the labels that a stage is given, and the command line."""

import contextlib
import io
import json
import os
import shlex
import time
from unittest import mock

from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.data import dataset
from fm_lingvo.data import example_filter
from params import asr
from params import base
from params import labeled
from tests import recipe_case
from tools.recipe import __main__ as recipe
from tools.recipe import labels as labels_lib
from tools.recipe import plan
from tools.recipe import publisher as recipe_publisher
from tools.recipe import run as recipe_run
from tools.recipe import stage_run
from tools.recipe import stages as stages_lib
from tools.recipe import stamps as stamps_lib


class PlanTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.settings = stages_lib.Settings()
    self.stages = stages_lib.Plan(self.settings, seeds=(2, 4))

  def test_the_trainer_takes_every_stages_knobs_and_bindings(self):
    # Stages that differ in values of the same knobs only are checked once.
    for settings in (self.settings, stages_lib.Settings(quick=True)):
      distinct = {}
      for stage in stages_lib.Plan(settings).values():
        distinct.setdefault((stage.model, frozenset(stage.bindings)), stage)
      for stage in distinct.values():
        with self.subTest(stage.run, quick=settings.quick):
          command = stage_run.Command(settings, stage)
          rewritten = gin_config.RewriteGinArgs(command)
          bindings = [arg.partition('=')[2] for arg in rewritten if arg.startswith('--gin_bindings=')]
          self.assertLen(bindings, len(stage.bindings))
          gin_config.Configure(stage.model, (), bindings)
          gin_config.CheckIdle()
          # The parts that a reader of the table relies on arrive.
          self.assertIn(
            f'{stage.experiment}.max_steps = {stage.steps}', gin_config.ConfigText(stage.model, reference=False)
          )

  def test_commands_can_be_pasted_into_a_shell(self):
    for stage in self.stages.values():
      words = shlex.split(stage_run.CommandText(self.settings, stage))
      self.assertEqual(words, ['trainer', *stage_run.Command(self.settings, stage)])

  def test_what_a_stage_starts_from_comes_first(self):
    seen = set()
    for run, stage in self.stages.items():
      self.assertContainsSubset(stage.needs, seen, run)
      seen.add(run)

  def test_the_run_that_a_stage_starts_from_is_what_the_trainer_is_told(self):
    for stage in self.stages.values():
      from_shipped = stage.run in ('hydra_shipped', 'longer_shipped') or stage.group == 'self_training'
      shipped = 'params/models/english' if from_shipped else None
      expected = f'runs/recipe/{stage.start}' if stage.start else shipped
      self.assertEqual(stage.bindings.get('init_from'), expected, stage.run)

  def test_a_teacher_labels_the_targets_speech_before_its_stage(self):
    stage = self.stages['self_trained_an4_2']
    self.assertEqual(stage.needs, ('self_trained_an4',))
    self.assertContainsSubset(
      {'pseudo': '../../runs/recipe/self_trained_an4_2/pseudo', 'pseudo_weight': 1.0, 'target': 'target_an4'},
      stage.bindings,
    )
    self.assertEqual(
      [' '.join(command[1:]) for command in stage_run.LabelCommands(self.settings, stage)],
      [
        '-m tools.evaluate runs/recipe/self_trained_an4 --datasets=DevTarget --beam_size=8 --calibrate',
        '-m tools.pseudo_label runs/recipe/self_trained_an4 data/recipe/target_an4 --beam_size=8 --min_confidence=0.8 '
        '--output=runs/recipe/self_trained_an4_2/pseudo',
      ],
    )
    for run in ('adapted_shipped_an4', 'adapted'):
      self.assertEmpty([*stage_run.LabelCommands(self.settings, self.stages[run])])
    self.assertEqual(
      list(stages_lib.Select(self.stages, ['self_trained_2'])), ['adapted_shipped', 'self_trained', 'self_trained_2']
    )

  def test_the_smoke_run_does_not_start_from_the_shipped_model(self):
    quick = stages_lib.Plan(stages_lib.Settings(quick=True))
    self.assertNotIn('init_from', quick['longer_shipped'].bindings)

  def test_a_stage_starts_from_the_run_with_its_own_seed_if_there_is_one(self):
    rows = (
      stages_lib.Stage('first', 'main', 'Supervised', 10, 'first', seeds=(1, 2)),
      stages_lib.Stage('second', 'main', 'AdapterFinetune', 10, 'second', 'first', 0.5, (1, 2, 3)),
    )
    with mock.patch.object(plan, 'STAGES', rows):
      starts = {run: stage.start for run, stage in stages_lib.Plan(self.settings).items()}
    self.assertEqual(
      starts,
      {'first': '', 'first_seed2': '', 'second': 'first', 'second_seed2': 'first_seed2', 'second_seed3': 'first'},
    )

  def test_rows_are_unique(self):
    rows = [(stage.name, stage.seed) for stage in self.stages.values()]
    self.assertLen(set(rows), len(rows))

  def test_another_seed_is_another_choice_of_labels_and_nothing_else(self):
    seeded = [stage.name for stage in plan.STAGES if 2 in stage.seeds]
    main = [stage.name for stage in plan.STAGES if stage.group == 'main']
    self.assertContainsSubset(main, seeded)  # Seeds differ from stage 1 on.
    for name in seeded:
      first, second = self.stages[name], self.stages[f'{name}_seed2']
      changed = {knob for knob in first.bindings if first.bindings[knob] != second.bindings[knob]}
      expected = {'seed'} | ({'label_seed'} if 0 < first.share < 1 else set())
      if second.start != first.start:
        self.assertEqual(second.start, f'{first.start}_seed2')
        expected.add('init_from')
      self.assertEqual(changed, expected, name)

  def test_models_of_a_stage_have_as_many_steps(self):
    for names in (('hydra', 'supervised', 'hydra_no_pretrain'), ('adapted', 'adapted_supervised', 'adapted_no_hydra')):
      self.assertLen({self.stages[name].steps for name in names}, 1)

  def test_what_starts_from_stage_2_is_trained_on_source_speech_beside_the_target_s(self):
    replayed = {
      run: stage.bindings['source_weight'] for run, stage in self.stages.items() if 'source_weight' in stage.bindings
    }
    self.assertEqual(set(replayed.values()), {1.0})
    self.assertEqual(
      set(replayed),
      {
        run
        for run, stage in self.stages.items()
        if stage.share and stage.experiment not in ('CtcProbe', 'FromScratch') or stage.name == 'scratch_source_target'
      },
    )

  def test_only_stages_that_are_asked_for_and_what_they_start_from_are_selected(self):
    planned = stages_lib.Plan(self.settings)
    self.assertEqual(list(stages_lib.Select(self.stages, ['adapted'])), ['pretrain', 'hydra', 'adapted'])
    self.assertEqual(list(stages_lib.Select(self.stages, ['adapted_seed2']))[-1], 'adapted_seed2')
    self.assertEqual({stage.seed for stage in stages_lib.Select(self.stages, ['main']).values()}, {1})
    self.assertEqual({stage.group for stage in planned.values()}, set(plan.GROUPS))
    seeded = [stage.name for stage in plan.STAGES if 2 in stage.seeds]
    for seed, group in plan.SEED_GROUPS.items():
      chosen = stages_lib.Select(self.stages, [group])
      self.assertCountEqual([s.name for s in chosen.values() if s.seed == seed], seeded)
      self.assertEqual({s.seed for s in chosen.values() if s.share}, {seed})
    self.assertIn('adapted', stages_lib.Select(self.stages, ['curve']))
    curve = stages_lib.Select(self.stages, ['curve'], seeds=(2, 4))
    for seed in (1, 2, 4):
      self.assertEqual({s.name for s in curve.values() if s.seed == seed and s.share}, set(plan.CURVE))
    self.assertIn('adapted_seed4', stages_lib.Select(self.stages, ['adapted'], seeds=(4,)))
    self.assertEqual(list(stages_lib.Select(planned, ['all'])), list(planned))

  def test_a_smoke_run_has_each_experiment_of_main(self):
    main = stages_lib.Select(self.stages, ['main'])
    smoke = stages_lib.Select(self.stages, stages_lib.OneOfEachExperiment(self.stages, 'main'))
    self.assertEqual({s.experiment for s in smoke.values()}, {s.experiment for s in main.values()})
    self.assertLess(len(smoke), len(main))
    self.assertContainsSubset(smoke, main)

  def test_what_trains_no_earlier_stage_again_starts_from_one_of_main(self):
    chosen = stages_lib.Select(self.stages, ['ablations_adapter'])
    self.assertEqual({s.start for s in chosen.values() if s.group == 'ablations_adapter'}, {'hydra'})

  def test_stage_1_and_what_it_is_compared_with_have_no_target_audio(self):
    self.assertNotIn('target', self.stages['pretrain'].bindings['unlabeled'])
    self.assertIn('target', self.stages['pretrain_target'].bindings['unlabeled'])
    self.assertIn('target', self.stages['hydra'].bindings['unlabeled'])

  def test_the_second_target_has_the_settings_of_the_first(self):
    for name in ('hydra', 'adapted', 'scratch'):
      first, second = self.stages[f'{name}_target' if name == 'scratch' else name], self.stages[f'{name}_an4']
      differ = {k for k in {*first.bindings, *second.bindings} if first.bindings.get(k) != second.bindings.get(k)}
      self.assertContainsSubset(differ, {'target', 'unlabeled', 'init_from', 'max_steps'}, name)
      self.assertEqual(second.target, 'target_an4')

  def test_an_unknown_name_is_answered_with_the_nearest(self):
    for name, nearest in (('hydar', 'hydra'), ('ablations_adapt', 'ablations_adapter'), ('adaptd', 'adapted')):
      with self.assertRaisesRegex(errors.ConfigError, f'^{name}: no such group or stage; did you mean {nearest}.$'):
        stages_lib.Select(self.stages, [name])
    with self.assertRaisesRegex(errors.ConfigError, 'expected all, main, seed2'):
      stages_lib.Select(self.stages, ['qqqq'])


class StampsTest(recipe_case.RecipeTest):
  def _Stamps(self, change=()):
    stages = self.Stages(['adapted', 'supervised_pretrained'], change=change)
    stamps = self.Stamps(stages)
    return {run: stamps.Stamp(run) for run in stages}

  def _Changed(self, change=()):
    """Stages whose stamps are not those of setUp."""
    now = self._Stamps(change)
    return {run for run in self.before if self.before[run] != now[run]}

  def setUp(self):
    super().setUp()
    self.before = self._Stamps()
    self.assertEqual(set(self.before), {'pretrain', 'hydra', 'supervised_pretrained', 'adapted'})

  def _WithoutCache(self):
    """What the params depend on is changed by the test, so they are resolved anew."""
    patch = mock.patch.object(stamps_lib, 'Resolved', stamps_lib.Resolved.__wrapped__)
    patch.start()
    self.addCleanup(patch.stop)

  def test_a_knob_changes_the_stage_and_all_that_start_from_it(self):
    self.assertEmpty(self._Changed())
    self.assertEqual(self._Changed({'hydra': {'best_rq_weight': 0.7}}), {'hydra', 'adapted'})
    self.assertEqual(self._Changed({'pretrain': {'num_codebooks': 2}}), set(self.before))
    self.assertEqual(self._Changed({'adapted': {'max_steps': 7}}), {'adapted'})

  def test_how_often_a_run_saves_and_shows_itself_changes_nothing(self):
    shown = {
      'eval_interval_steps': 7,
      'save_interval_steps': 3,
      'summary_interval_steps': 9,
      'task.train.log_interval_steps': 5,
      'task.train.eval_datasets': ['DevSynthetic'],
      'task.train.save_max_to_keep': 2,
    }
    self.assertEmpty(self._Changed({'pretrain': shown}))  # It has no best checkpoint, which evaluations choose.

  def test_how_a_best_checkpoint_is_chosen_changes_the_stage(self):
    best = {'task.train.best_metric': 'DevSource/labeled/cer', 'task.train.best_max_to_keep': 3}
    self.assertEqual(self._Changed({'hydra': best}), {'hydra', 'adapted'})
    self.assertEmpty(self._Changed({'hydra': {'task.train.best_max_to_keep': 3}}))

  def test_a_file_of_sizes_changes_the_stages_that_it_binds(self):
    self._WithoutCache()
    folder = os.path.join(self.folder, 'gin')
    for name, binding, changed in (
      ('small.gin', 'task.encoder.num_layers = 3', {'pretrain', 'hydra', 'supervised_pretrained', 'adapted'}),
      (
        'transducer/small.gin',
        'task.heads.transducer.joint.joint_dim = 100',
        {'hydra', 'supervised_pretrained', 'adapted'},
      ),
    ):
      with self.subTest(name):
        for file in ('small.gin', 'transducer/small.gin'):
          os.makedirs(os.path.dirname(os.path.join(folder, file)), exist_ok=True)
          with open(os.path.join(base.GIN_DIR, file), encoding='utf-8') as f:
            text = f.read()
          with open(os.path.join(folder, file), 'w', encoding='utf-8') as f:
            f.write(f'{text}\n{binding}\n' if file == name else f'# Another comment.\n{text}')
        with mock.patch.object(base, 'GIN_DIR', folder):
          self.assertEqual(self._Changed(), changed)

  def test_a_default_of_an_experiment_changes_the_stages_that_have_it(self):
    self._WithoutCache()
    real = labeled.TransducerKnobs._AddHeads

    def _Smoothed(experiment, p):
      real(experiment, p)
      p.heads.transducer.joint.label_smoothing = 0.1

    with mock.patch.object(labeled.TransducerKnobs, '_AddHeads', _Smoothed):
      self.assertEqual(self._Changed(), {'hydra', 'supervised_pretrained', 'adapted'})

  def test_the_module_of_a_class_changes_nothing(self):
    self._WithoutCache()
    with mock.patch.object(asr.hydra.HydraTask, '__module__', 'tests.recipe_case'):
      self.assertEmpty(self._Changed())

  def test_data_changes_the_stages_that_read_it(self):
    recipe_case.WriteData(self.settings.data_dir, ['target'], utterances=101)
    self.assertEqual(self._Changed(), {'hydra', 'supervised_pretrained', 'adapted'})
    recipe_case.WriteData(self.settings.data_dir, ['unlabeled'], utterances=11)
    self.assertEqual(self._Changed(), set(self.before))

  def test_another_data_set_of_the_same_pattern_changes_the_stages_that_read_it(self):
    recipe_case.WriteData(self.settings.data_dir, ['unlabeled_more'], utterances=11)
    self.assertEqual(self._Changed(), set(self.before))

  def test_tokenizer_and_language_model_change_the_stages_that_use_them(self):
    real, transducers = stamps_lib._FileDigest, {'hydra', 'supervised_pretrained', 'adapted'}
    lm = {'tokenizer': None, 'lm': 'params/lm/graphemes_en.npz'}
    for file, change in (('params/tokenizers/graphemes_en.model', {}), (lm['lm'], dict.fromkeys(transducers, lm))):
      self.before = self._Stamps(change)
      with mock.patch.object(
        stamps_lib,
        '_FileDigest',
        lambda *paths, file=file: real(*paths) + 'x' * any(path.endswith(file) for path in paths),
      ):
        self.assertEqual(self._Changed(change), transducers, file)

  def test_folders_change_nothing(self):
    stages = self.Stages(['adapted', 'supervised_pretrained'])
    moved = recipe_case.Folder(self)
    os.rename(self.settings.data_dir, os.path.join(moved, 'elsewhere'))
    self.settings = stages_lib.Settings(output=moved, data_dir=os.path.join(moved, 'elsewhere'))
    self.assertNotEqual(
      self.Stages(['adapted'])['adapted'].bindings['init_from'], stages['adapted'].bindings['init_from']
    )
    self.assertEmpty(self._Changed())

  def test_stamps_need_no_graph_and_less_than_a_second_each(self):
    self._WithoutCache()
    stages = self.Stages()
    one_of_each_experiment = {stage.experiment: run for run, stage in stages.items() if not stage.start or stage.share}
    stamps, started = self.Stamps(stages), time.process_time()
    with mock.patch.object(tf, 'Graph', side_effect=AssertionError('a graph is built')):
      found = {stamps.Stamp(run) for run in one_of_each_experiment.values()}
    self.assertLen(found, len(one_of_each_experiment))
    self.assertLess(time.process_time() - started, 2 * len(found))  # Each has up to two stages before it.

  def test_stages_of_the_plan_differ(self):
    stages = self.Stages()
    trained = {(stage.model, stage.start, repr(sorted(stage.GinBindings().items()))) for stage in stages.values()}
    self.assertLen(trained, len(stages))
    # Only another set of knobs could say the same in other words, by a knob's default; 0.2 s a stage.
    alike = {}
    for run, stage in stages.items():
      alike.setdefault((stage.model, stage.start), {}).setdefault(frozenset(stage.bindings), run)
    runs = [run for found in alike.values() if len(found) > 1 for run in found.values()]
    self.assertGreater(len(runs), 5)
    stamps = self.Stamps(stages)
    self.assertLen({stamps.Stamp(run) for run in runs}, len(runs))

  def test_the_shipped_model_is_an_input(self):
    inputs = self.Stamps(self.Stages()).Inputs('longer_shipped')
    self.assertIn('file params/models/english/model.safetensors', inputs)

  def test_a_teacher_is_an_input_and_the_place_of_its_transcripts_is_none(self):
    inputs = self.Stamps(self.Stages(['self_trained'])).Inputs('self_trained')
    self.assertIn('stage adapted_shipped', inputs)
    self.assertNotIn('self_trained', ' '.join(inputs.values()))
    self.assertNotIn('data pseudo', inputs)

  def test_missing_data_is_named(self):
    stamps = self.Stamps(self.Stages(['adapted']))
    os.remove(os.path.join(self.settings.data_dir, 'target', 'dataset.json'))
    with self.assertRaisesRegex(errors.ConfigError, 'data/target: no dataset.json'):
      stamps.Stamp('adapted')

  def test_differences_name_what_changed(self):
    old, new = (
      self.Stamps(self.Stages(['hydra'], change=change)).Inputs('hydra')
      for change in ((), {'hydra': {'task.train.max_skipped_steps': 7}})
    )
    self.assertEqual(stage_run.Differences(old, new), 'task.train.max_skipped_steps: 20 -> 7')
    many = {f'task.param{i}': '1' for i in range(8)}
    self.assertEndsWith(stage_run.Differences(many, {}), 'task.param4: 1 -> unset, and 3 more')
    self.assertIn('older recipe', stage_run.Differences({'max_steps': 7}, new))


class LabelsTest(recipe_case.RecipeTest):
  def setUp(self):
    super().setUp()
    recipe_case.WriteData(self.settings.data_dir, utterances=355)

  def _Append(self, *rows):
    with open(os.path.join(self.settings.data_dir, 'target', 'manifest.jsonl'), 'a', encoding='utf-8') as f:
      for i, (text, duration, split) in enumerate(rows):
        f.write(
          json.dumps(
            {
              **dict.fromkeys(dataset.MANIFEST_KEYS, ''),
              'utt_id': f'more/{i}',
              'split': split,
              'text': text,
              'duration': duration,
            }
          )
          + '\n'
        )

  def _Chosen(self, stage, labels):
    """Names of all training utterances, usable or not, that the trainer's own hash selects."""
    ids = [row['utt_id'] for row in labels.Of('target').train]
    with tf.Graph().as_default(), tf.Session() as sess:
      chosen = sess.run(
        example_filter.InShare(tf.constant(ids), stage.bindings['label_share'], stage.bindings['label_seed'])
      )
    return {utt_id for utt_id, is_chosen in zip(ids, chosen) if is_chosen}

  def test_a_share_is_exactly_so_many_of_the_usable_utterances_of_every_seed(self):
    self._Append(('', 6.0, 'train'), ('x', 60.0, 'train'), ('x', 6.0, 'test'))
    stages, labels = self.Stages(['curve'], seeds=(2, 3)), labels_lib.Labels(self.settings)
    counts = {0.03: 10, 0.067: 23, 0.13: 46, 0.25: 88, 0.5: 177, 1.0: 355}
    usable = {f'target/{i}' for i in range(355)}
    selected = {}
    for seed in (1, 2, 3):
      for (share, count), name in zip(counts.items(), plan.CURVE):
        stage = stages[stages_lib.RunName(name, seed)]
        self.assertEqual(stage.share, share)
        given = labels.Given(stage)
        self.assertLen(given, count)
        self.assertEqual(labels_lib.Minutes(given), count * 6 / 60)
        if share < 1:
          selected[seed, share] = self._Chosen(stage, labels) & usable
          self.assertLen(selected[seed, share], count)
          self.assertEqual({row['utt_id'] for row in given}, selected[seed, share])
        else:
          self.assertEqual(stage.bindings['label_share'], 1)
      shares = [share for share in counts if share < 1]
      for small, large in zip(shares, shares[1:]):
        self.assertLess(selected[seed, small], selected[seed, large])
    self.assertNotEqual(selected[1, 0.067], selected[2, 0.067])

  def test_the_share_is_what_the_trainer_is_told_and_an_input(self):
    stages = self.Stages(['adapted'])
    share = stages['adapted'].bindings['label_share']
    self.assertNotEqual(share, 0.067)
    self.assertIn(f'--gin.AdapterFinetune.label_share={share!r}', stage_run.Command(self.settings, stages['adapted']))
    self.assertEqual(self.Stamps(stages).Inputs('adapted')['Train.streams.labeled.share'], repr(share))

  def test_of_utterances_that_share_a_bucket_at_the_border_none_is_chosen(self):
    adapted = {'adapted': stages_lib.Plan(self.settings)['adapted']}

    def _Resolve(buckets, count):
      labels = labels_lib.Labels(self.settings)
      target = labels.Of('target')
      target._buckets = lambda seed: buckets
      target.usable = [None] * len(buckets)
      with mock.patch.object(labels_lib.math, 'floor', lambda number: count):
        stage = labels.Resolve(adapted)['adapted']
      return round(stage.bindings['label_share'] * example_filter.SHARE_BUCKETS)

    self.assertEqual(_Resolve([9, 7, 5, 3, 3], 2), 4)
    self.assertEqual(_Resolve([9, 7, 7, 3, 1], 3), 4)
    self.assertEqual(_Resolve([1, 2, 2, 2, 4], 2), 2)
    with self.assertRaisesRegex(errors.ConfigError, 'the utterances of adapted cannot be told apart'):
      _Resolve([2, 2, 2, 4], 2)

  def test_a_share_of_too_few_utterances_is_named(self):
    recipe_case.WriteData(self.settings.data_dir, ['target'], utterances=10)
    with self.assertRaisesRegex(errors.ConfigError, 'target: 6.7 % of 10 usable training utterances is none; adapted '):
      self.Stages(['adapted'])

  def test_all_and_none(self):
    stages, labels = self.Stages(['main']), labels_lib.Labels(self.settings)
    usable = labels.Of('target').usable
    self.assertEqual(labels.Given(stages['scratch_target']), usable)
    self.assertEqual(labels_lib.Minutes(usable), 35.5)
    self.assertEqual(labels.Given(stages['hydra']), [])

  def test_usable_is_what_the_training_stream_accepts(self):
    cases = [
      ('', 6.0),
      (' ', 6.0),
      ('word', 0.0),
      ('word', 0.1),
      ('word', 0.0999375),
      ('word', 20.0),
      ('word', 20.0000625),
      ('a' * 42, 1.0),
      ('a' * 43, 1.0),
      ('a' * 59, 1.5),
      ('a' * 61, 1.5),
      ('\u00e9' * 42, 1.0),
    ]
    self._Append(*[(text, duration, 'train') for text, duration in cases])
    usable = {row['utt_id'] for row in labels_lib.Labels(self.settings).Of('target').usable}
    p = labels_lib.TrainStream().Copy().Set(share=1.0)
    bounds = [int(round(bound * 16000)) for bound in p.bucket_upper_bound_seconds]
    scan = example_filter.FilterScan(p, path='', bounds=bounds, num_files=1, must_accept=False)
    with tf.Graph().as_default(), tf.Session() as sess:  # The stream checks examples in a graph.
      features = {name: tf.placeholder(tf.string, []) for name in example_filter.FEATURES}
      _, reasons = scan._CheckExample(features)
      accepted = []
      for i, (text, duration) in enumerate(cases):
        values = {'utt_id': f'more/{i}', 'audio': bytes(2 * round(duration * 16000)), 'text': text, 'domain': 'x'}
        found = sess.run(reasons, {features[name]: value for name, value in values.items()})
        self.assertEqual(f'more/{i}' in usable, not found.any(), cases[i])
        accepted.append(not found.any())
    self.assertIn(True, accepted)
    self.assertIn(False, accepted)


class CommandLineTest(absltest.TestCase):
  def _Main(self, *argv):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      code = recipe.Main(['recipe', *argv])
    return code, out.getvalue(), err.getvalue()

  def test_errors_are_one_line_and_exit_code_2(self):
    for argv, message in (
      (['mian'], 'mian: no such group or stage; did you mean main?'),
      (['--seeds=a'], '--seeds=a: expected integers'),
      (['--seeds=0'], 'expected integers >= 1'),
      (['--jobs=0'], '--jobs=0: expected a number >= 1'),
      (['--jobs=-1'], '--jobs=-1: expected a number >= 1'),
      (['--take=hydar', '--dry_run'], '--take=hydar: not among the stages to train: supervised, '),
    ):
      with self.subTest(message):
        code, _, err = self._Main(*argv)
        self.assertEqual((code, err.count('\n')), (2, 1))
        self.assertIn(message, err)

  def test_an_output_that_is_a_file_is_told_before_data_is_made(self):
    path = os.path.join(recipe_case.Folder(self), 'file')
    with open(path, 'w', encoding='utf-8'):
      pass
    with mock.patch.object(recipe_run, 'PrepareData') as prepare:
      code, _, err = self._Main('--quick', '--no-docs', f'--output={path}', 'hydra')
    self.assertEqual((code, err), (2, f'recipe: --output={path}: cannot be written ({path} is not a directory)\n'))
    prepare.assert_not_called()

  def test_the_list_names_all_groups_and_stages(self):
    code, out, _ = self._Main('--list')
    self.assertEqual(code, 0)
    for name in [*plan.GROUPS, *stages_lib.Plan(stages_lib.Settings())]:
      self.assertRegex(out, rf'(?m)^ *{name}\b')

  def test_a_dry_run_says_what_would_be_done_and_trains_nothing(self):
    folder = recipe_case.Folder(self)
    recipe_case.WriteData(folder)
    runs = os.path.join(folder, 'runs')
    with mock.patch.object(recipe_run, 'PrepareData'):
      code, out, err = self._Main('adapted', '--dry_run', f'--data_dir={folder}', f'--output={runs}')
    self.assertEqual((code, err), (0, ''))
    self.assertEqual([line.partition(':')[0] for line in out.splitlines()], ['pretrain', 'hydra', 'adapted'])
    self.assertFalse(os.path.exists(runs))
    code, _, err = self._Main('adapted', '--dry_run', f'--data_dir={runs}', f'--output={runs}')
    self.assertEqual(code, 2)
    self.assertRegex(
      err, '^recipe: .*: .*data sets of which not all are there.*python -m tools.recipe_data --output=.*\n$'
    )

  def test_the_report_alone_is_written_without_training_anything(self):
    folder = recipe_case.Folder(self)
    recipe_case.WriteData(folder)
    runs = os.path.join(folder, 'runs')
    with mock.patch.object(recipe_run, 'PrepareData') as prepare:
      code, out, err = self._Main('--report', '--no-docs', f'--data_dir={folder}', f'--output={runs}')
    self.assertEqual((code, out, err), (0, f'{runs}/report.md\n', ''))
    prepare.assert_not_called()
    self.assertCountEqual(os.listdir(runs), ['recipe.json', 'report.md'])
    with open(f'{runs}/report.md', encoding='utf-8') as f:
      self.assertIn('| `target` | 0.10 |', f.read())

  def test_a_smoke_run_leaves_docs_alone(self):
    args = recipe._Parser().parse_args(['--quick'])
    settings = recipe._Settings(args)
    self.assertEqual((settings.output, settings.data_dir), ('runs/recipe_quick', 'data/recipe_quick'))
    for docs, expected in ((True, 'docs/results/recipe.json'), (False, 'runs/recipe_quick/recipe.json')):
      self.assertEndsWith(recipe_publisher.ResultsPath(settings, docs), expected)
    with mock.patch.object(recipe_run, 'Run', return_value=0) as run:
      for argv, docs in ((['--quick'], False), ([], True), (['--no-docs'], False), (['--quick', '--docs'], True)):
        self.assertEqual(self._Main(*argv)[0], 0)
        self.assertEqual(run.call_args.kwargs['docs'], docs)
        self.assertEqual(run.call_args.args[1] == ['main'], '--quick' not in argv)


if __name__ == '__main__':
  absltest.main()
