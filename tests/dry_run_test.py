"""--dry_run refuses what the run refuses before its first step, in the same words, and writes nothing.

Builds the model of declared variables, and tf.data's graphs of a few utterances: what is tested is all of it together.
"""

import contextlib
import fcntl
import io
import json
import os
import shutil
import tempfile
import types

from absl.testing import absltest
from lingvo import compat as tf

from fm_lingvo import errors
from fm_lingvo.checkpoints import warm_start
from fm_lingvo.config import gin_config
from fm_lingvo.data import dataset
from fm_lingvo.data import shard_integrity
from fm_lingvo.data import spoken_language
from fm_lingvo.data import transcripts
from fm_lingvo.training import dry_run
from params import base
from tests import graph_case  # noqa: F401 Graph mode.
from tests import run_case
from tests import tiny_data

_PRETRAIN, _SUPERVISED, _ADAPT = 'asr.BestRqPretrain', 'asr.Supervised', 'asr.AdapterFinetune'
_STREAMING = 'asr.StreamingSupervised'
_HYDRA = 'asr.JustHydra'
_FEW = 'task.train.eval_datasets = []'
_NONE_AT_THE_END = 'task.train.final_eval_datasets = []'


def _Unlabeled(path):
  """Writes a shard with an utterance that has no transcript."""
  os.makedirs(os.path.dirname(path))
  pcm = tiny_data.Waveform(1.5, 1).tobytes()
  record = dict(utt_id='u', audio=pcm, text='', speaker='s', domain='d', duration=1.5)
  with tf.io.TFRecordWriter(path) as writer:
    writer.write(dataset.EncodeExample(record))


class DryRunTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = tempfile.TemporaryDirectory()
    cls.addClassCleanup(folder.cleanup)
    cls.shared = folder.name
    cls.data_dir = os.path.join(cls.shared, 'data')
    run_case.WriteData(cls.data_dir)  # Folders source and target.
    cls.supervised = os.path.join(cls.shared, 'supervised')
    run_case.MakeRun(cls.supervised, _SUPERVISED, cls.data_dir)

  def setUp(self):
    super().setUp()
    folder = tempfile.TemporaryDirectory()
    self.addCleanup(folder.cleanup)
    self.folder = folder.name
    shard_integrity.Forget()
    self.addCleanup(gin_config.Reset)

  def _Run(self, *bindings, model=_SUPERVISED, data_dir=None, cluster=False, **flags):
    """What a dry run prints."""
    own = [_FEW, _NONE_AT_THE_END] if model != _PRETRAIN else [_FEW]
    run_case.Configure(model, data_dir or self.data_dir, *own, *bindings)
    values = {'logdir': '', 'job': '', 'cluster_spec': '', 'run_locally': '', 'worker_gpus': 0, 'batch_parts': 0}
    values.update(mode='sync', tpu='', infer_tpu_cluster=False, tf_data_service_address='', model=model)
    with contextlib.redirect_stdout(io.StringIO()) as out:
      try:
        self.assertEqual(dry_run.Run(types.SimpleNamespace(**{**values, **flags}), cluster), 0)
      finally:
        self.printed = out.getvalue()
    return self.printed

  def _Refused(self, expected, *bindings, **kwargs):
    with self.subTest(expected):
      with self.assertRaisesRegex(errors.ConfigError, expected):
        self._Run(*bindings, **kwargs)

  def test_a_run_that_can_start_is_shown_and_nothing_is_written(self):
    logdir = os.path.join(self.folder, 'new', 'run')
    out = self._Run("task.train.eval_datasets = ['DevTarget']", logdir=logdir)
    self.assertIn("\nSupervised.data_dir = '", out)
    self.assertRegex(out, r'\nparameters total=\d+ trained=\d+\n$')
    self.assertNotIn('not evaluated', out)
    self.assertEmpty(os.listdir(self.folder))

  def test_what_a_run_lacks_is_said_after_its_configuration(self):
    self._Refused('^Train/input.streams.labeled: no record in files like nowhere/source/train-', data_dir='nowhere')
    self.assertIn("\nSupervised.data_dir = 'nowhere'", self.printed)
    self.assertRegex(self.printed, r'\nparameters total=\d+ trained=\d+\n$')

  def test_data_sets_without_files_are_named_and_not_evaluated(self):
    out = self._Run("task.train.eval_datasets = ['DevTarget']", "Supervised.target = 'gone'")
    self.assertRegex(out, r'(?m)^DevTarget: not evaluated, no record in files like .*/gone/dev-\*.tfrecord$')

  def test_the_demo_that_a_run_prepares_may_be_missing(self):
    folder = os.getcwd()
    self.addCleanup(os.chdir, folder)
    os.chdir(self.folder)
    out = self._Run("task.train.eval_datasets = ['DevHuman']", model=_PRETRAIN, data_dir='data/demo')
    self.assertIn('data/demo: not there yet; the run prepares it', out)
    self.assertNotIn('not evaluated', out)

  def test_data_without_an_example_to_use(self):
    nothing = r'^input.streams.labeled: no example is left of \d+ in 1 files; dropped: '
    self._Refused(nothing, "Train/input.streams.labeled.domain_regex = 'elsewhere'")
    self._Refused(
      nothing,
      "task.train.eval_datasets = ['DevTarget']",
      "DevTarget/input.streams.labeled.domain_regex = 'elsewhere'",
    )
    for name in ('source', 'target'):
      _Unlabeled(os.path.join(self.folder, name, 'train-00000-of-00001.tfrecord'))
    self._Refused(nothing + '.*unlabeled 1', data_dir=self.folder)

  def test_incomplete_and_damaged_data(self):
    data = os.path.join(self.folder, 'data')
    shutil.copytree(self.data_dir, data)
    shard = os.path.join(data, 'source', 'train-00000-of-00001.tfrecord')
    with open(shard, 'r+b') as f:
      f.seek(1000)  # In the first record: its checksum is wrong, which only reading finds.
      f.write(b'\0' * 8)
    out = self._Run(data_dir=data)
    self.assertRegex(out, r'(?m)^damaged: .*train-00000.*: record 0: its checksum is wrong.*1 lost, 4 good$')
    shard_integrity.Forget()
    limit = 'Train/input.streams.labeled.max_damaged_records = 0'
    self._Refused(r'^input.streams.labeled.max_damaged_records = 0: 1 records are lost', limit, data_dir=data)

  def test_seeds(self):
    end = 2**63
    for binding, model in (
      (f'Supervised.seed = {end}', _SUPERVISED),
      (f'task.random_seed = {end}', _SUPERVISED),
      ('task.random_seed = -1', _SUPERVISED),
      (f'Train/input.random_seed = {end}', _SUPERVISED),
      (f'Train/input.streams.labeled.seed = {end}', _SUPERVISED),
      (f'Train/input.streams.labeled.share_seed = {2**64}', _SUPERVISED),
      (f'task.heads.best_rq.quantizer.seed = {end}', _PRETRAIN),
    ):
      self._Refused(
        rf' = {binding.split()[-1]}: expected (None or )?an integer >= 0 and < 2\*\*63', binding, model=model
      )
    self._Run(f'Supervised.seed = {end - 1}')

  def test_tokenizers_and_language_models(self):
    self._Refused('^no.model: no such tokenizer', "Supervised.tokenizer = 'no.model'")
    self._Refused('^no.npz: no such language model', "Supervised.lm = 'no.npz'")
    self._Refused(
      'another tokenizer',
      f'Supervised.tokenizer = {base.WORDPIECES_EN!r}',
      "Supervised.lm = 'params/lm/graphemes_en.npz'",
    )
    other = f'input.streams.labeled.tokenizer_file = {base.WORDPIECES_EN!r}'
    self._Refused('^task.branches.labeled.*: stream labeled has tokenizer_file = .*expected the same model$', other)
    scoped = f'DevTarget/{other}'
    self._Refused('stream labeled has tokenizer_file', scoped, "task.train.eval_datasets = ['DevTarget']")

  def test_inputs_that_do_not_fit_the_task(self):
    self._Refused(
      '^input.pad_multiple_samples = 160: expected None or a multiple of 640', 'input.pad_multiple_samples = 160'
    )

  def test_what_is_trained(self):
    self._Refused('^task.train.learner.bprop_variable_filter = .gone.: ', "learner.bprop_variable_filter = 'gone'")
    self._Refused('rate_groups: a: its regular', "task.train.learner.rate_groups = [('a', 'gone', 2.0)]")

  def test_what_a_local_run_evaluates(self):
    best = "task.train.best_metric = 'DevTarget/labeled/wer'"
    dev = "task.train.eval_datasets = ['DevTarget']"
    self._Refused('best_metric = .*: DevTarget has no files to evaluate$', dev, best, "Supervised.target = 'gone'")
    data = self._Data()
    self._Refused('^DevTarget: .*: transcripts of two normalisers, basic ', dev, data_dir=data)
    self._Run(data_dir=data)

  def _Data(self, **settings):
    """A copy of the data whose source has transcripts of the normaliser english and whose target has those of basic."""
    data = os.path.join(self.folder, 'data')
    shutil.copytree(self.data_dir, data)
    none = {split: {'shards': [], 'hours': 0} for split in dataset.SPLITS}
    info = dict(format=dataset.FORMAT, version=dataset.VERSION, sample_rate=16000, domains=[], splits=none)
    for name, normalizer in (('source', 'english'), ('target', 'basic')):
      with open(os.path.join(data, name, 'dataset.json'), 'w', encoding='utf-8') as f:
        json.dump({**info, 'settings': {'normalizer': normalizer, **settings}}, f)
    return data

  def test_warm_starts(self):
    start = f'Supervised.init_from = {self.supervised!r}'
    self.assertIn('parameters total=', self._Run(start))
    self._Refused('^no/run: no such run or checkpoint', "Supervised.init_from = 'no/run'")
    self._Refused('^task.train.init_from_checkpoint_rules = {}: expected the run', model=_ADAPT)
    self._Refused(r'/ckpt-00000003: of another model: .* is float32 \[', start, 'task.encoder.kernel_size = 7')
    self._Refused('of another model: .* are needed are not in it: .*block_1', start, 'task.encoder.num_layers = 2')
    self._Refused('made with frontend normalization = ', start, "task.frontend.normalization = 'none'")
    everything = f'task.train.init_from_checkpoint_rules = {warm_start.InitRules(self.supervised)}'
    self._Refused('made with another tokenizer', everything, f'Supervised.tokenizer = {base.WORDPIECES_EN!r}')

  def test_a_warm_start_whose_decoder_learnt_other_transcripts(self):
    run = os.path.join(self.folder, 'run')
    shutil.copytree(self.supervised, run)
    start = [f'Supervised.init_from = {run!r}', 'Supervised.init_decoder = True']
    data = self._Data(language='en')

    def _Lines(normalizer, language, *bindings, stream='labeled'):
      transcripts.Record(run, {stream: {normalizer: 'data/before'}}, is_resumed=False)
      spoken_language.Record(run, {stream: language}, [stream], [])
      return [line for line in self._Run(*bindings, data_dir=data).splitlines() if 'learnt' in line]

    self.assertEqual(_Lines('english', 'en', *start), [])
    self.assertEqual(_Lines('basic', 'de', start[0]), [])  # With a new decoder.
    for stream in ('labeled', 'earlier'):
      self.assertEqual(
        _Lines('basic', 'de', *start, stream=stream),
        [
          f'{run}: its decoder learnt transcripts of the normaliser basic; those of stream labeled ({data}/source) are '
          'of english, which it must learn anew: prepare them again, with --normalizer=basic, or set init_decoder = '
          'False',
          f'{run}: its decoder learnt transcripts in the language de; those of stream labeled are in en: init_decoder '
          '= False makes a new decoder',
        ],
      )

  def test_a_streaming_model_starts_from_one_that_does_not_stream(self):
    start = f'StreamingSupervised.init_from = {self.supervised!r}'
    whole = [start, 'StreamingSupervised.init_full_context = True', 'StreamingSupervised.init_decoder = True']
    self._Refused('made with frontend normalization = per_utterance, but', start, model=_STREAMING)
    self.assertIn('parameters total=', self._Run(*whole, model=_STREAMING))

  def test_a_hydra_starts_from_a_run_without_best_rq(self):
    start = [f'JustHydra.init_from = {self.supervised!r}', "JustHydra.unlabeled = ('source',)"]
    self._Refused(
      'are needed are not in it: task/best_rq/.*; init_best_rq = False of the experiment', *start, model=_HYDRA
    )
    self.assertIn('parameters total=', self._Run(*start, 'JustHydra.init_best_rq = False', model=_HYDRA))

  def test_a_warm_start_from_a_damaged_checkpoint(self):
    run = os.path.join(self.folder, 'run')
    shutil.copytree(self.supervised, run)
    path = os.path.join(run, 'train', 'ckpt-00000003.data-00000-of-00001')
    with open(path, 'r+b') as f:
      f.write(b'\xff' * os.path.getsize(path))
    self._Refused('/ckpt-00000003: .* cannot be read', f'Supervised.init_from = {run!r}')

  def test_codes_of_another_projection(self):
    run = os.path.join(self.folder, 'pretrained')
    pretrain = ["BestRqPretrain.unlabeled = ('source',)", 'BestRqPretrain.codebook_size = 8']
    run_case.MakeRun(run, _PRETRAIN, self.data_dir, *pretrain)
    self.assertIn('parameters', self._Run(*pretrain, model=_PRETRAIN, logdir=run))
    other = "BestRqPretrain.projection = 'pca'"
    self._Refused('quantizer.projection = .*learnt the codes of xavier', *pretrain, other, model=_PRETRAIN, logdir=run)

  def test_a_run_that_would_resume(self):
    self.assertIn('parameters', self._Run(logdir=self.supervised))
    self._Refused(
      'of another model: .*no other checkpoint to resume', 'task.encoder.model_dim = 32', logdir=self.supervised
    )
    for binding in ('task.train.ema_decay = 0.9', 'Supervised.gradient_accumulation_steps = 2'):
      name = binding.partition(' ')[0].removeprefix('Supervised.')
      self._Refused(
        f'/ckpt-00000003: {name}: the run began without .*; set it as it was, or start another run with init_from = '
        f"'{self.supervised}' and init_decoder = True",
        binding,
        logdir=self.supervised,
      )
    run = os.path.join(self.folder, 'run')
    shutil.copytree(self.supervised, run)
    for name in ('metrics.jsonl', 'skipped.jsonl'):
      path = os.path.join(run, name)
      with open(path, 'w', encoding='utf-8') as f:
        f.write('{"step": 1}\nhello\n')
      self._Refused(f'{name}:2: not a JSON object', logdir=run)
      os.remove(path)
    transcripts.Record(run, {'labeled': {'basic': 'data/before'}}, is_resumed=False)
    self._Refused(
      '^--logdir=.*: stream labeled was trained on transcripts of the normaliser basic',
      data_dir=self._Data(),
      logdir=run,
    )

  def test_folders_that_cannot_be_written(self):
    path = os.path.join(self.folder, 'file')
    with open(path, 'w', encoding='utf-8'):
      pass
    for logdir in (path, os.path.join(path, 'run')):
      self._Refused(f'^--logdir={logdir}: cannot be written', logdir=logdir)
    with open(os.path.join(self.folder, 'lock'), 'w', encoding='utf-8') as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      self._Refused(f'^--logdir={self.folder}: another trainer is writing this run', logdir=self.folder)
    self.assertIn('parameters', self._Run(logdir=self.folder))

  def test_noise_that_cannot_be_decoded(self):
    with open(os.path.join(self.folder, 'text.wav'), 'wb') as f:
      f.write(b'no audio at all')
    binding = f"Supervised.noise_dir = '{self.folder}'"
    self._Refused(f'^{self.folder}/text.wav: cannot be decoded', binding, 'Supervised.augment = True')

  def test_devices_and_schedules(self):
    self._Refused('^--run_locally=gpu: needs 1 GPU', run_locally='gpu')
    self._Refused('^task.train.max_steps = 3000: expected <= 2000', 'task.train.max_steps = 3000')
    self._Refused('^task.train.save_interval_steps = None: expected', 'task.train.save_interval_steps = None')
    self._Refused('^--tf_data_service_address=x: expected HOST:PORT', tf_data_service_address='x')

  def test_jobs_of_a_cluster(self):
    self._Refused('^--cluster_spec=foo: expected JOB=', job='worker', cluster_spec='foo', cluster=True)
    self._Refused('^--job=executor_tpu: no TPU', job='executor_tpu', cluster=True)
    spec = dict(job='worker', cluster_spec='worker=a:1', cluster=True)
    self._Refused('only a local run fits it', "task.frontend.normalization = 'global'", **spec)
    self.assertIn('parameters', self._Run(**spec))


if __name__ == '__main__':
  absltest.main()
