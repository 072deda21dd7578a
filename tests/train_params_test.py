"""Ranges of task.train: what a run could not go by is refused before it starts, with its name."""

from absl.testing import absltest
from absl.testing import parameterized
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import gin_config
from fm_lingvo.config import registry
from fm_lingvo.config import train_params
from fm_lingvo.data import hydra_input
from fm_lingvo.data import stream_params
from params import asr  # noqa: F401
from tests import graph_case


def _Train(model='asr.Supervised', bindings=(), data_set='Train'):
  gin_config.Configure(model, (), list(bindings))
  return model_registry.GetParams(model, data_set)


class TrainParamsTest(graph_case.GraphCase, parameterized.TestCase):
  def tearDown(self):
    gin_config.Reset()
    super().tearDown()

  def test_the_experiments_are_in_range(self):
    for model in ('asr.BestRqPretrain', 'asr.Supervised', 'asr.AdapterFinetune'):
      train_params.Validate('task.train', _Train(model).task.train)

  @parameterized.parameters(
    ('max_steps', 0, 'an integer >= 1'),
    ('eval_interval_steps', 0, 'an integer >= 1'),
    ('log_interval_steps', -1, 'an integer >= 1'),
    ('save_interval_steps', 0, 'an integer >= 1'),
    ('summary_interval_steps', 0, 'an integer >= 1'),
    ('save_max_to_keep', 0, 'an integer >= 1'),
    ('max_skipped_steps', -1, 'an integer >= 0'),
    ('best_metric', "'wer'", 'DATASET/METRIC'),
    ('best_metric', "'TestTarget/labeled/wer'", r"a data set of eval_datasets = \['DevTarget', 'DevSource'\]"),
    ('best_max_to_keep', 0, 'an integer >= 1'),
    ('early_stop_patience', 0, 'None or an integer >= 1'),
    ('early_stop_patience', 3, 'None without best_metric'),
    ('gradient_share_interval_steps', 0, 'None or an integer >= 1'),
    ('gradient_share_interval_steps', 2.5, 'None or an integer >= 1'),
    ('save_interval_steps', 2.5, 'an integer >= 1'),
    ('early_stop_min_steps', -1, 'an integer >= 0'),
    ('max_minutes', 0, 'None or minutes > 0'),
    ('ema_decay', 1.0, r'a decay in \[0, 1\)'),
    ('learner.learning_rate', -1.0, '>= 0'),
    ('learner.learning_rate', float('nan'), '>= 0'),
    ('learner.lr_schedule.warmup_steps', 0, 'an integer >= 1'),
  )
  def test_a_value_out_of_range_is_named(self, path, value, expected):
    tp = _Train().task.train
    tp.Set(**{path: value.strip("'") if isinstance(value, str) else value})
    with self.assertRaisesRegex(errors.ConfigError, rf'^task\.train\.{path} = {value}: expected {expected}'):
      train_params.Validate('task.train', tp)

  def test_a_task_out_of_range_is_not_built(self):
    p = _Train(bindings=['task.train.eval_interval_steps = 0'])
    with self.assertRaisesRegex(
      errors.ConfigError, r'^task\.train\.eval_interval_steps = 0: expected an integer >= 1$'
    ):
      p.task.Set(input=None).Instantiate()

  def test_gradients_of_no_step_cannot_be_accumulated(self):
    tp = _Train(bindings=['Supervised.gradient_accumulation_steps = -2']).task.train
    with self.assertRaisesRegex(errors.ConfigError, r'learner\.optimizer\.accum_steps = -2: expected an integer >= 1'):
      train_params.Validate('task.train', tp)

  def test_every_accumulated_gradient_is_applied(self):
    tp = _Train(bindings=['Supervised.gradient_accumulation_steps = 16', 'Supervised.max_steps = 100']).task.train
    with self.assertRaisesRegex(
      errors.ConfigError, r'^task\.train\.max_steps = 100: expected a multiple of 16, the knob gradient_accumulation'
    ):
      train_params.ValidateEnd('task.train', tp)
    tp.max_steps = 96
    train_params.ValidateEnd('task.train', tp)

  def test_a_run_does_not_outlast_its_schedule(self):
    longer = _Train(bindings=['Supervised.max_steps = 8000']).task.train
    train_params.ValidateEnd('task.train', longer)
    only_the_path = _Train(bindings=['task.train.max_steps = 8000']).task.train
    with self.assertRaisesRegex(
      errors.ConfigError, r'max_steps = 8000: expected <= 2000, the total_steps of .*knob max_steps'
    ):
      train_params.ValidateEnd('task.train', only_the_path)
    only_the_path.learner.lr_schedule.final_value = 0.1
    train_params.ValidateEnd('task.train', only_the_path)
    train_params.ValidateEnd('task.train', _Train('asr.BestRqPretrain').task.train)  # Its schedule has no end.

  def test_lingvo_s_jobs_may_save_by_time(self):
    tp = _Train().task.train
    tp.save_interval_steps = None
    train_params.Validate('task.train', tp)

  def test_a_stage_that_goes_on_from_another_needs_it(self):
    for model in ('asr.FullFinetune', 'asr.AdapterFinetune'):
      with self.assertRaisesRegex(
        errors.ConfigError, r'^task\.train\.init_from_checkpoint_rules = {}: expected the run'
      ):
        warm_start.CheckSources(_Train(model).task.train)
    for model in ('asr.Supervised', 'asr.FromScratch', 'asr.CtcProbe'):
      warm_start.CheckSources(_Train(model).task.train)


class KnobsTest(graph_case.GraphCase, parameterized.TestCase):
  def tearDown(self):
    gin_config.Reset()
    super().tearDown()

  @parameterized.parameters(
    ('batch_seconds', '-5', '-5.0: expected seconds > 0'),
    ('unlabeled_batch_seconds', '0', '0.0: expected seconds > 0'),
    ('max_seconds', '-3', '-3.0: expected seconds >= 0.3'),
    ('num_buckets', '1', '1: expected an integer >= 2'),
    ('unlabeled', '()', r'\(\): expected at least one folder'),
  )
  def test_a_knob_of_the_data_out_of_range_is_named(self, knob, value, expected):
    with self.assertRaisesRegex(
      errors.GinError, rf'^--model=asr\.JustHydra: Train\(\): JustHydra\.{knob} = {expected}$'
    ):
      _Train('asr.JustHydra', [f'JustHydra.{knob} = {value}'])

  def test_more_buckets_are_closer_and_cover_the_same_lengths(self):
    bounds = {}
    for count in (8, 16):
      p = _Train('asr.Supervised', [f'Supervised.num_buckets = {count}', 'Supervised.max_seconds = 20.0'])
      stream = p.input.streams.labeled
      bounds[count] = stream.bucket_upper_bound_seconds
      self.assertLen(bounds[count], count)
      self.assertEqual(sorted(bounds[count]), bounds[count])
      self.assertEqual([max(1, int(32.0 / bound)) for bound in bounds[count]], stream.bucket_batch_size)
    self.assertEqual((bounds[8][0], bounds[8][-1]), (bounds[16][0], bounds[16][-1]))

  def test_recorded_sounds_go_to_the_streams_that_are_augmented(self):
    knobs = ("noise_dir = '/a'", 'noise_prob = 0.4', 'noise_snr_db = (0.0, 9.0)', "rir_dir = '/b'", 'rir_prob = 0.2')
    recorded = {
      'noise_dir': '/a',
      'noise_prob': 0.4,
      'noise_snr_db_range': [0.0, 9.0],
      'rir_dir': '/b',
      'rir_prob': 0.2,
    }
    for augment in ('augment', 'augment_unlabeled'):
      for name in ('Supervised', 'JustHydra', 'BestRqPretrain'):
        switches = [k for k in ('augment', 'augment_unlabeled') if hasattr(registry.Import(f'asr.{name}'), k)]
        if augment not in switches:
          continue
        bindings = [f'{name}.{k} = {k == augment}' for k in switches] + [f'{name}.{knob}' for knob in knobs]
        for stream, p in _Train(f'asr.{name}', bindings).input.streams.IterParams():
          with self.subTest(name, stream=stream, augment=augment):
            if (stream == 'labeled') == (augment == 'augment'):
              self.assertEqual({k: v for k, v in p.augment.recorded.IterParams() if k in recorded}, recorded)
            else:
              self.assertIsNone(p.augment)

  def test_recorded_sounds_that_no_stream_uses_are_refused(self):
    for name, switch in (('Supervised', 'augment'), ('BestRqPretrain', 'augment_unlabeled')):
      for knob in ('noise_dir', 'rir_dir'):
        _Train(f'asr.{name}', [f"{name}.{knob} = '/a'", f'{name}.{switch} = False'])
        with self.assertRaisesRegex(
          errors.GinError, rf"{name}\.{knob} = '/a': has no effect without {switch} = True; expected ''$"
        ):
          gin_config.CheckIdle()

  def test_folders_of_sounds_are_looked_at_before_a_run(self):
    # A dry run validates the input in the same way.
    p = _Train(bindings=["Supervised.noise_dir = '/no/such'"]).input
    with self.assertRaisesRegex(
      errors.ConfigError,
      r"^input\.streams\.labeled\.augment\.recorded\.noise_dir = '/no/such': no such folder; the nearest .* is /$",
    ):
      hydra_input.Validate(p)

  def test_unlabeled_speech_is_cut_unless_told_otherwise(self):
    for name in ('BestRqPretrain', 'JustHydra'):
      for value in (True, False):
        streams = _Train(f'asr.{name}', [f'{name}.cut_too_long = {value}']).input.streams
        self.assertEqual(stream_params.Cuts(streams.unlabeled), value)
        if 'labeled' in streams:
          self.assertFalse(stream_params.Cuts(streams.labeled))

  def test_batches_have_one_size(self):
    p = _Train(bindings=['input.streams.labeled.batch_size = 2']).input
    with self.assertRaisesRegex(errors.ConfigError, r'labeled\.batch_size = 2: expected .* else None'):
      hydra_input.Validate(p)
    p = _Train(bindings=['input.batch_size = 2']).input
    with self.assertRaisesRegex(errors.ConfigError, r'bucket_batch_size, which the knob batch_seconds sets$'):
      hydra_input.Validate(p)
    p = _Train(
      bindings=['input.streams.labeled.batch_size = 2', 'input.streams.labeled.bucket_batch_size = None']
    ).input
    hydra_input.Validate(p)

  @parameterized.parameters('FullFinetune', 'AdapterFinetune', 'FromScratch')
  def test_source_speech_beside_the_target_s_is_a_branch_of_its_own(self, name):
    def Branches(*bindings):
      p = _Train(f'asr.{name}', bindings)
      return (
        {branch: (b.stream, b.head, round(b.weight, 6)) for branch, b in p.task.branches.IterParams()},
        {stream: (s.file_pattern, s.share) for stream, s in p.input.streams.IterParams()},
      )

    share = 1.0 if name == 'FromScratch' else 0.067
    labeled, target = (
      {'labeled': ('labeled', 'transducer', 0.7), 'labeled_ctc': ('labeled', 'ctc', 0.3)},
      {'labeled': ('data/recipe/target/train-*.tfrecord', share)},
    )
    self.assertEqual(Branches(), (labeled, target))
    self.assertEqual(
      Branches(f'{name}.source_weight = 0.5'),
      (
        {**labeled, 'source': ('source', 'transducer', 0.35), 'source_ctc': ('source', 'ctc', 0.15)},
        {**target, 'source': ('data/recipe/source/train-*.tfrecord', 1.0)},
      ),
    )

  def test_without_a_weight_there_is_no_ctc(self):
    task = _Train('asr.Supervised', ['Supervised.ctc_weight = 0.0']).task
    self.assertEqual([(name, b.weight) for name, b in task.branches.IterParams()], [('labeled', 1.0)])
    self.assertEqual(task.heads.GetKeys(), ['transducer'])
    for weight in ('1.0', '-0.1'):
      with self.assertRaisesRegex(
        errors.GinError, rf'Task\(\): Supervised.ctc_weight = {weight}: expected a weight in \[0, 1\)$'
      ):
        _Train('asr.Supervised', [f'Supervised.ctc_weight = {weight}'])

  def test_a_probe_takes_the_knobs_that_it_has(self):
    self.assertIsNotNone(_Train('asr.CtcProbe').task.heads.ctc.spec_augment)
    self.assertIsNone(_Train('asr.CtcProbe', ['CtcProbe.spec_augment = False']).task.heads.ctc.spec_augment)
    for knob in ('beam_size = 8', "factorization = 'hat'", 'ctc_weight = 0.5', 'label_smoothing = 0.1'):
      with self.assertRaisesRegex(errors.GinError, 'no such knob of asr.CtcProbe'):
        _Train('asr.CtcProbe', [f'CtcProbe.{knob}'])

  def test_spans_are_counted_in_frames_of_one_step(self):
    p = _Train(bindings=['task.frontend.mel.frame_step_ms = 5.0']).task.frontend
    with self.assertRaisesRegex(errors.ConfigError, r'mel\.frame_step_ms = 5\.0: expected 10\.0'):
      p.Set(name='frontend').Instantiate()


if __name__ == '__main__':
  absltest.main()
