"""The trainer as a user meets it: real processes, exit codes, files, signals.

Most are forks of one process that has imported TensorFlow (tests/faults/processes.py); those of _RunCommand are started
as a user does it.
"""

import glob
import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from absl.testing import absltest

from fm_lingvo.run_files import metrics_log
from params import asr
from tests import graph_case
from tests import process_case
from tests import tiny_data
from tests.faults import processes

_NO_EVALUATION = 'task.train.eval_datasets = []'
_KEEP_ALL = 'task.train.save_max_to_keep = 10'


class TrainerTest(process_case.ProcessCase):
  _whole = {}  # Model -> what _Whole returns.

  def _Args(self, logdir, *bindings, max_steps=6, model=asr.BestRqPretrain):
    knobs = {
      'data_dir': self.data_dir,
      'max_steps': max_steps,
      'summary_interval_steps': 2,
      'save_interval_steps': 2,
      'eval_interval_steps': 4,
    }
    if model is asr.Supervised:
      knobs.update(source='human', target='synthetic')
    every = [f'{model.__name__}.{name} = {value!r}' for name, value in knobs.items()]
    return [
      f'--model=asr.{model.__name__}',
      f'--logdir={logdir}',
      *(
        f'--gin_bindings={b}'
        for b in (*tiny_data.Bindings(model), *every, 'task.train.log_interval_steps = 1', *bindings)
      ),
    ]

  def _Run(self, *args, code=0):
    """Runs the trainer to its end in a fork; returns processes.Done."""
    return self._Checked(processes.Run(['trainer', *args], self.folder), code)

  def _RunCommand(self, *args, code=0):
    """As _Run, in a new interpreter."""
    return self._Checked(processes.Command('fm_lingvo.trainer', args, self.folder), code)

  def _Checked(self, done, code):
    self.assertFalse(done.hung)
    self.assertEqual(done.code, code, done.out + done.err)
    return done

  def _Whole(self, model):
    """(folder, output) of a run of 20 steps that nothing interrupts, made once for all tests."""
    if model not in self._whole:
      logdir = os.path.join(self.folder, f'whole_{model.__name__}')
      if model is asr.BestRqPretrain:
        done = self._RunCommand(*self._Args(logdir, _KEEP_ALL, max_steps=20), '--trace_step=12')
      else:
        done = self._Run(*self._Args(logdir, _NO_EVALUATION, max_steps=20, model=model))
      self._whole[model] = logdir, done.out
    return self._whole[model]

  def _Checkpoints(self, logdir):
    return sorted(int(p[-14:-6]) for p in glob.glob(f'{logdir}/train/ckpt-*.index'))

  def _Variables(self, logdir, step):
    reader = graph_case.tf.train.load_checkpoint(f'{logdir}/train/ckpt-{step:08}')
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

  @pytest.mark.slow  # batch_split_test says the same of an encoder in this process.
  def test_batches_in_parts_train_as_whole_ones_do(self):
    rows = {}
    for parts in (1, 2):
      logdir = os.path.join(self.folder, f'parts{parts}')
      evaluated = "task.train.eval_datasets = ['DevTarget']"
      out = self._Run(*self._Args(logdir, evaluated, max_steps=2, model=asr.Supervised), f'--batch_parts={parts}').out
      self.assertEqual('each batch in 2 parts' in out, parts == 2)
      rows[parts] = metrics_log.ReadMetrics(f'{logdir}/metrics.jsonl')
    self.assertEqual([r['dataset'] for r in rows[2]], [r['dataset'] for r in rows[1]])
    for whole, in_parts in zip(rows[1], rows[2]):
      for name in ('loss', 'grad_norm', 'labeled/loss', 'labeled_ctc/loss'):
        if name in whole:
          self.assertAlmostEqual(in_parts[name] / whole[name], 1.0, places=3, msg=name)

  def test_parts_are_refused_where_nothing_computes_in_them(self):
    for other in ('--deterministic', '--mode=xla_check', '--run_locally=gpu', '--job=trainer_client'):
      with self.subTest(other):
        done = self._Run(*self._Args(os.path.join(self.folder, 'none')), other, '--batch_parts=2', code=2)
        self.assertIn('--batch_parts=2: expected 1 or less; only local runs on the CPU', done.err)

  def test_a_run_from_start_to_end_and_its_replay(self):
    logdir, out = self._Whole(asr.BestRqPretrain)
    with self.subTest('what it says'):
      self.assertIn(f'run directory: {logdir}', out)
      self.assertRegex(out, r'set by --gin_bindings: BestRqPretrain.max_steps = 20')
      self.assertRegex(out, r'(?m)^parameters total=\d+ trained=\d+$')
      self.assertIn('building the graph', out)
      self.assertRegex(out, r'first training step \d+\.\d s after the start')
      self.assertRegex(out, r'step 20/20: loss \d')
      self.assertRegex(out, r'step 4: DevHuman: loss \d')
      self.assertIn(f'step 12 traced: {logdir}/trace/step-12.txt', out)
      self.assertLess(len(out.splitlines()), 60)
    with self.subTest('checkpoints at the steps asked for, the last included'):
      self.assertEqual(self._Checkpoints(logdir), list(range(2, 21, 2)))
    with self.subTest('metrics'):
      rows = metrics_log.ReadMetrics(f'{logdir}/metrics.jsonl')
      self.assertEqual([r['step'] for r in rows if r['dataset'] == 'train'], list(range(2, 21, 2)))
      self.assertEqual([r['step'] for r in rows if r['dataset'] == 'DevHuman'], list(range(4, 21, 4)))
      for name in (
        'loss',
        'learning_rate',
        'grad_norm',
        'unlabeled/masked_accuracy',
        'unlabeled/majority_accuracy',
        'unlabeled/cross_entropy',
        'unlabeled/unigram_entropy',
        'unlabeled/code_perplexity',
        'unlabeled/code_coverage',
        'unlabeled/masked_fraction',
        'unlabeled/dropped',
        'throughput/steps_per_second',
        'throughput/examples_per_second',
        'throughput/audio_seconds_per_second',
      ):
        self.assertIn(name, rows[0])
      self.assertEqual(rows[-1]['unlabeled/examples'], 6)
    with self.subTest('TensorBoard'):
      tags = _Tags(f'{logdir}/eval_devhuman')
      self.assertContainsSubset(
        ['unlabeled/masked_log_mel', 'unlabeled/code_usage_0', 'unlabeled/audio', 'unlabeled/masked_accuracy'], tags
      )
      self.assertContainsSubset(['config.gin', 'params', 'loss'], _Tags(f'{logdir}/train'))
    with self.subTest('the quantizer is in the checkpoint and never changes'):
      first, last = self._Variables(logdir, 2), self._Variables(logdir, 20)
      frozen = [n for n in first if 'quantizer' in n]
      self.assertLen(frozen, 3)
      for name in frozen:
        np.testing.assert_array_equal(first[name], last[name])

  @pytest.mark.slow  # train_loop_test resumes a run; faults_processes_test kills one, too.
  def test_a_killed_run_resumes_from_its_newest_checkpoint(self):
    logdir, whole = os.path.join(self.folder, 'killed'), self._Whole(asr.BestRqPretrain)[0]
    # It starts as a replay of the whole run.
    replay = ('--model=asr.BestRqPretrain', f'--logdir={logdir}', f'--gin_file={whole}/config.gin')
    self._KillAndResume(logdir, whole, replay, self._Args(logdir, _KEEP_ALL, max_steps=20))
    with self.subTest('config.gin replays the run'):
      a, b = (open(f'{d}/train/trainer_params.txt', encoding='utf-8').read() for d in (whole, logdir))
      self.assertEqual(a.replace(whole, ''), b.replace(logdir, ''))
      replayed = self._Variables(logdir, 6)
      for name, value in self._Variables(whole, 6).items():
        np.testing.assert_allclose(value, replayed[name], rtol=1e-3, atol=1e-4)

  @pytest.mark.slow
  def test_a_killed_supervised_run_sees_the_same_augmented_speech_again(self):
    logdir = os.path.join(self.folder, 'killed_supervised')
    args = self._Args(logdir, _NO_EVALUATION, max_steps=20, model=asr.Supervised)
    self._KillAndResume(logdir, self._Whole(asr.Supervised)[0], args, args)

  def _KillAndResume(self, logdir, whole, args, args_of_resumed):
    """A run that is killed after step 8 and resumed is as a whole one; logdir, whole: their folders."""
    with processes.Started(['trainer', *args], self.folder) as process:
      self.assertTrue(process.WaitFor('(?m)^step 9/'))
      process.Kill()
    self.assertIn(8, self._Checkpoints(logdir))
    self._SetBack(logdir, newest := 8)
    out = self._Run(*args_of_resumed).out
    self.assertRegex(out, f'resumed from .*ckpt-{newest:08}')
    steps = [int(s) for s in re.findall(r'step (\d+)/20:', out)]
    self.assertEqual(steps, list(range(newest + 1, 21)))
    # The curve goes on where it was: the same data and the same noise.
    a, b = (
      [(r['step'], r['loss']) for r in metrics_log.ReadMetrics(f'{d}/metrics.jsonl') if r['dataset'] == 'train']
      for d in (whole, logdir)
    )
    self.assertEqual([s for s, _ in a], [s for s, _ in b])
    np.testing.assert_allclose([x for _, x in a], [x for _, x in b], rtol=1e-2)
    # A run that was killed between a checkpoint and its evaluation evaluates it when it is resumed.
    a, b = (
      sorted((r['dataset'], r['step']) for r in metrics_log.ReadMetrics(f'{d}/metrics.jsonl')) for d in (whole, logdir)
    )
    self.assertEqual(a, b)

  def _SetBack(self, logdir, step):
    """Makes a killed run one that was killed as soon as it had saved the checkpoint of a step."""
    for path in glob.glob(f'{logdir}/train/ckpt-*'):
      if int(re.search(r'ckpt-(\d+)', path).group(1)) > step:
        os.remove(path)
    path = f'{logdir}/metrics.jsonl'
    rows = [row for row in metrics_log.ReadMetrics(path) if row['dataset'] == 'train' or row['step'] < step]
    with open(path, 'w', encoding='utf-8') as f:
      f.writelines(json.dumps(row) + '\n' for row in rows)

  @pytest.mark.slow  # train_loop_test ends a run early, too.
  def test_a_run_ends_early_keeps_its_best_checkpoint_and_goes_on_with_more_patience_only(self):
    # The entropy of the codes, which no training changes: the first evaluation stays the best one.
    metric = 'DevHuman/unlabeled/unigram_entropy'
    logdir = os.path.join(self.folder, 'early')
    args = self._Args(
      logdir,
      "task.train.eval_datasets = ['DevHuman']",
      "task.train.final_eval_datasets = ['DevSynthetic']",
      f'task.train.best_metric = {metric!r}',
      'task.train.best_is_highest = True',
      'task.train.early_stop_patience = 2',
      'task.train.save_max_to_keep = 1',
      'BestRqPretrain.eval_interval_steps = 3',
      max_steps=20,
    )
    out = self._Run(*args).out
    best = f'{logdir}/best/ckpt-00000003'
    self.assertRegex(out, f'ended early at step 9: {metric} has not improved in 2 evaluations, since step 3')
    self.assertRegex(out, rf'best: {metric} [\d.]+ at step 3, {best}\n')
    self.assertRegex(out, r'step 3: DevSynthetic: loss')
    self.assertEqual(self._Checkpoints(logdir), [2, 9])  # The saver keeps one of each half hour, and the newest.
    rows = metrics_log.ReadMetrics(f'{logdir}/metrics.jsonl')
    evaluated = [(row['dataset'], row['step']) for row in rows if row['dataset'] != 'train']
    self.assertEqual(evaluated, [('DevHuman', 3), ('DevHuman', 6), ('DevHuman', 9), ('DevSynthetic', 3)])
    self.assertEqual([row['step'] for row in rows if row['dataset'] == 'train'], [2, 4, 6, 8, 9])
    with self.subTest('once more, it has nothing to do'):
      again = self._Run(*args).out
      self.assertIn('ended early at step 9', again)
      self.assertNotRegex(again, 'step 10')
      self.assertEqual(metrics_log.ReadMetrics(f'{logdir}/metrics.jsonl'), rows)
    with self.subTest('with more patience it goes on, and its test set is that of the best one still'):
      out = self._Run(*args, '--gin_bindings=task.train.early_stop_patience = 3').out
      self.assertRegex(out, r'ended early at step 12')
      self.assertEqual(metrics_log.ReadMetrics(f'{logdir}/metrics.jsonl')[-1]['dataset'], 'DevHuman')

  @pytest.mark.slow  # best_checkpoints_test has the line.
  def test_an_unknown_metric_of_the_best_checkpoint_ends_the_run_before_its_first_step(self):
    args = self._Args(os.path.join(self.folder, 'metric'), "task.train.best_metric = 'DevHuman/unlabeled/wer'")
    done = self._Run(*args, code=2)
    self.assertIn("task.train.best_metric: metric = 'unlabeled/wer': expected one of ", done.err)
    self.assertNotIn('first training step', done.out)

  @pytest.mark.slow  # recognizer_test lists those of recognition.
  def test_the_metrics_that_are_listed_are_those_of_an_evaluation(self):
    logdir = self._Whole(asr.BestRqPretrain)[0]
    args = self._Args(os.path.join(self.folder, 'listed'))
    rows = [row for row in metrics_log.ReadMetrics(f'{logdir}/metrics.jsonl') if row['dataset'] == 'DevHuman']
    names = sorted(rows[-1].keys() - {'dataset', 'step', 'time'})
    self.assertEqual(self._Run(*args, '--list_metrics=DevHuman').out.split(), [f'DevHuman/{name}' for name in names])
    self.assertFalse(os.path.exists(os.path.join(self.folder, 'listed')))

  def test_sigterm_saves_a_checkpoint_and_ends_the_run(self):
    self._CheckSignal(signal.SIGTERM)

  @pytest.mark.slow  # Its handler is SIGTERM's.
  def test_sigint_saves_a_checkpoint_and_ends_the_run(self):
    self._CheckSignal(signal.SIGINT)

  def _CheckSignal(self, signum):
    logdir = os.path.join(self.folder, signum.name)
    args = self._Args(logdir, 'BestRqPretrain.save_interval_steps = 1000000', max_steps=1000000)
    with processes.Started(['trainer', *args], self.folder) as process:
      self.assertTrue(process.WaitFor('(?m)^step 3/'))
      process.Kill(signum)
      started = time.time()
      done = process.Wait()
    self.assertLess(time.time() - started, 20)
    self.assertEqual(done.code, 128 + signum)
    self.assertRegex(done.err, f'trainer: {signum.name}: checkpoint at step')
    self.assertLen(self._Checkpoints(logdir), 1)

  @pytest.mark.slow  # data_statistics_test fits projections, best_rq_head_test has several codebooks.
  def test_16_codebooks_train_on_a_pca_projection_fitted_before_the_first_step(self):
    logdir = os.path.join(self.folder, 'pca')
    out = self._Run(
      *self._Args(logdir, "BestRqPretrain.projection = 'pca'", 'BestRqPretrain.num_codebooks = 16', max_steps=2)
    ).out
    self.assertIn('pca projection fitted on 50 batches of unlabeled', out)
    mean = self._Variables(logdir, 2)['task/best_rq/quantizer/mean/var']
    self.assertGreater(np.abs(mean).max(), 0)
    rows = metrics_log.ReadMetrics(f'{logdir}/metrics.jsonl')
    for g in range(16):
      self.assertIn(f'unlabeled/masked_accuracy_{g}', rows[0])
      self.assertGreater(rows[0][f'unlabeled/code_perplexity_{g}'], 1.0)

  @pytest.mark.slow  # warm_start_test and dry_run_test have the line.
  def test_another_front_end_than_the_checkpoint_s_is_refused(self):
    logdir = os.path.join(self.folder, 'record')
    shutil.copytree(self._Whole(asr.BestRqPretrain)[0], logdir)
    error = self._Run(*self._Args(logdir, "task.frontend.normalization = 'none'", max_steps=22), code=2).err
    self.assertRegex(
      error,
      r'ckpt-00000020: made with frontend normalization = '
      r'per_utterance, but this run has none',
    )

  def test_a_usage_error_of_the_command_is_one_line(self):
    error = self._RunCommand('--model=asr.BestRqPretran', code=2).err
    self.assertIn('did you mean asr.BestRqPretrain?', error)
    self.assertLen(error.strip().splitlines(), 1)

  def test_a_run_without_its_model_is_told_how_to_resume(self):
    folder = self.create_tempdir().full_path
    with open(os.path.join(folder, 'config.gin'), 'w'):
      error = self._RunCommand(f'--logdir={folder}', code=2).err
    self.assertIn(f'--gin_file={folder}/config.gin resumes this run', error)

  def test_usage_errors_are_one_line_with_exit_code_2(self):
    for args, expected in (
      ([], '--model is required'),
      (['--modle=x'], "Unknown command line flag 'modle'"),
      (
        ['--model=asr.BestRqPretrain', '--gin.task.encoder.num_layer=2'],
        'did you mean task.encoder.num_layers (int, default 4)?',
      ),
      (['--model=asr.BestRqPretrain', '--run_locally=gpu'], '--run_locally=gpu: needs 1 GPU, TensorFlow sees 0'),
      (
        ['--model=asr.BestRqPretrain', '--job=executor_tpu', '--mode=sync'],
        '--job=executor_tpu: no TPU; expected --tpu=NAME',
      ),
      (
        ['--model=asr.BestRqPretrain', '--job=executor_tpu', '--tpu=no-such-tpu'],
        '--tpu=no-such-tpu: no such TPU can be reached',
      ),
      (
        ['--model=asr.BestRqPretrain', '--logdir=foo://x'],
        "--logdir=foo://x: File system scheme 'foo' not implemented",
      ),
      (
        ['--model=asr.BestRqPretrain', '--list_metrics=DevHumn'],
        "--list_metrics = 'DevHumn': expected one of DevHuman, DevSynthetic; did you mean",
      ),
      (['--model=asr.BestRqPretrain', '--mode=xla'], "--mode = 'xla': expected one of sync, async, xla_check, "),
      (
        [
          '--model=asr.BestRqPretrain',
          '--job=controller',
          '--cluster_spec=controller=a:1',
          '--gin.BestRqPretrain.projection=pca',
          f'--logdir={self.folder}/new',
        ],
        "task.heads.best_rq.quantizer.projection = 'pca': only a local run fits it",
      ),
      (
        ['--model=asr.BestRqPretrain', '--gin.BestRqPretrain.data_dir=nowhere'],
        'no record in files like nowhere/*/train-*.tfrecord; prepare data (docs/data.md), or name',
      ),
    ):
      with self.subTest(args):
        started = time.time()
        error = self._Run(*args, code=2).err
        self.assertIn(expected, error)
        self.assertLen(error.strip().splitlines(), 1)
        self.assertLess(time.time() - started, 30)  # 10 s on an idle machine.

  def test_a_training_stream_without_an_example_to_use_is_one_line(self):
    self._CheckNoExample('')

  @pytest.mark.slow  # Its line is the training stream's.
  def test_an_evaluated_stream_without_an_example_to_use_is_one_line(self):
    self._CheckNoExample('DevHuman/')

  def _CheckNoExample(self, scope):
    nothing = f"{scope}input.streams.unlabeled.domain_regex = 'elsewhere'"
    args = self._Args(os.path.join(self.folder, f'nothing{scope}'), nothing, max_steps=1)
    self.assertRegex(
      self._Run(*args, code=2).err,
      r'^trainer: input.streams.unlabeled: no example is left of \d+ in \d+ files; dropped: .*\n$',
    )

  def test_help_list_and_version_import_no_tensorflow(self):
    code = (
      'import sys\nfrom fm_lingvo import trainer\n'
      'assert trainer.Main(["trainer", sys.argv[1]]) == 0\n'
      'assert "tensorflow" not in sys.modules'
    )
    for flag, expected in (
      ('--help', '--gin_bindings'),
      ('--list_models', 'asr.BestRqPretrain'),
      ('--version', f'TensorFlow {importlib.metadata.version("tensorflow")}\n'),
    ):
      done = subprocess.run(
        [sys.executable, '-c', code, flag], text=True, capture_output=True, env=process_case.Environment(), check=False
      )
      self.assertEqual(done.returncode, 0, done.stderr)
      self.assertIn(expected, done.stdout)


def _Tags(folder):
  """All tags in the event files of a folder."""
  tags = set()
  for path in glob.glob(f'{folder}/events.*'):
    for event in graph_case.tf.tf1.train.summary_iterator(path):
      tags.update(value.tag for value in event.summary.value)
  return tags


if __name__ == '__main__':
  absltest.main()
