"""What TensorBoard shows of a run, and the trackers that get its metrics: no graph is built."""

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import types
from unittest import mock

import numpy as np
from absl.testing import absltest
from absl.testing import parameterized
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from fm_lingvo import errors
from fm_lingvo.evaluation import evaluator
from fm_lingvo.evaluation import hypotheses
from fm_lingvo.run_files import dashboard
from fm_lingvo.run_files import metrics_log
from fm_lingvo.run_files import trackers
from fm_lingvo.training import followed


def _Struck(word):
  """A word with a combining long stroke after each character."""
  return ''.join(f'{character}\u0336' for character in word)


class MarkedErrorsTest(parameterized.TestCase):
  @parameterized.parameters(
    ('turn left now', 'turn left now', 'turn left now'),
    ('turn left now', 'turn now', 'turn -left- now'),
    ('turn left', 'turn to left', 'turn **to** left'),
    ('turn left', 'turn lift', 'turn -left- **lift**'),
    ('', 'so', '**so**'),
    ('so', '', '-so-'),
    ('a_b <i>', 'a_b <i>', r'a\_b &lt;i&gt;'),
  )
  def test_errors_are_struck_or_bold(self, reference, hypothesis, expected):
    expected = re.sub(r'-(\w+)-', lambda match: _Struck(match.group(1)), expected)
    self.assertEqual(hypotheses.MarkedErrors(reference, hypothesis), expected)

  def test_the_table_has_a_row_for_each_utterance(self):
    rows = [{'utt_id': f'a|{i}', 'reference': 'yes', 'hypothesis': 'no'} for i in range(3)]
    value = hypotheses.Summary(rows).value[0]
    self.assertEqual(value.metadata.plugin_data.plugin_name, 'text')
    lines = value.tensor.string_val[0].decode().splitlines()
    self.assertEqual(lines[2:], [rf'| a\|{i} | yes | {_Struck("yes")} **no** |' for i in range(3)])


class AudioTest(absltest.TestCase):
  def test_masked_frames_are_silent_and_the_rest_is_as_it_was(self):
    samples = np.ones(16000 // 100 * 5 + 7)
    silenced = evaluator.Silenced(samples, np.array([0, 1, 1, 0, 0]))
    self.assertEqual(silenced.sum(), len(samples) - 2 * 160)
    self.assertTrue((silenced[160:480] == 0).all())


class DashboardTest(absltest.TestCase):
  def test_the_layout_has_the_questions_in_their_order(self):
    layout = layout_pb2.Layout.FromString(dashboard.Layout().value[0].tensor.string_val[0])
    self.assertEqual([c.title for c in layout.category], ['Is it learning?', 'Branches', 'Is it healthy?'])
    charts = [chart for category in layout.category for chart in category.chart]
    self.assertTrue(all(chart.multiline.tag for chart in charts))

  def test_a_run_is_compared_by_what_it_sets_and_by_a_few_knobs_always(self):
    compared = dashboard.Compared(
      'asr.JustHydra',
      {'size': 'tiny', 'seed': 1, 'dropout_prob': 0.0, 'unlabeled': ('a', 'b')},
      {'JustHydra.unlabeled': ('a', 'b'), 'task.encoder.num_layers': 2, 'JustHydra.seed': 3},
    )
    self.assertEqual(
      compared,
      {
        'experiment': 'asr.JustHydra',
        'size': 'tiny',
        'seed': 3,
        'unlabeled': '["a", "b"]',
        'task.encoder.num_layers': 2,
      },
    )

  def test_tensorboard_finds_a_run_s_settings_and_its_end(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    dashboard.Write(
      folder, dashboard.RunStart('/x/runs/a', {'learning_rate': 0.1, 'size': 'tiny', 'augment': True}), 'start'
    )
    dashboard.Write(folder, dashboard.RunEnd(), 'end')
    found = event_accumulator.EventAccumulator(folder).Reload().PluginTagToContent('hparams')
    start = plugin_data_pb2.HParamsPluginData.FromString(found['_hparams_/session_start_info']).session_start_info
    self.assertEqual(start.group_name, 'runs/a')
    self.assertEqual(start.hparams['learning_rate'].number_value, 0.1)
    self.assertTrue(start.hparams['augment'].bool_value)
    end = plugin_data_pb2.HParamsPluginData.FromString(found['_hparams_/session_end_info']).session_end_info
    self.assertEqual(end.status, 1)  # STATUS_SUCCESS.


def _FakeMlflow(calls):
  """A module with the functions of MLflow that are used, which notes their calls."""

  def _StartRun(run_id, run_name):
    calls.append(('start', run_id, run_name))
    return types.SimpleNamespace(info=types.SimpleNamespace(run_id=run_id or 'new'))

  return types.SimpleNamespace(
    start_run=_StartRun,
    log_params=lambda params: calls.append(('params', params)),
    log_metrics=lambda values, step: calls.append(('metrics', step, values)),
    end_run=lambda status: calls.append(('end', status)),
  )


def _FakeWandb(calls):
  def _Init(**kwargs):
    calls.append(('start', kwargs['id'], kwargs['name']))
    return types.SimpleNamespace(
      id=kwargs['id'] or 'new',
      log=lambda values: calls.append(('metrics', values)),
      finish=lambda exit_code: calls.append(('end', exit_code)),
    )

  return types.SimpleNamespace(init=_Init)


class TrackersTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.calls = []
    self.logdir = self.enter_context(tempfile.TemporaryDirectory())
    modules = {'mlflow': _FakeMlflow(self.calls), 'wandb': _FakeWandb(self.calls)}
    self.enter_context(mock.patch.dict(sys.modules, modules))

  def test_rows_of_metrics_reach_mlflow_under_the_name_of_their_data_set(self):
    followers = trackers.Trackers(['mlflow'], self.logdir, {'seed': 1})
    log = metrics_log.MetricsLog(self.logdir)
    log.Follow(followers.Log)
    log.Write('train', 5, {'loss': 2.5})
    log.Write('DevTarget', 5, {'labeled/wer': 0.5})
    followers.End(True)
    name = os.path.basename(self.logdir)
    self.assertEqual(
      self.calls,
      [
        ('start', None, name),
        ('params', {'seed': 1}),
        ('metrics', 5, {'train/loss': 2.5}),
        ('metrics', 5, {'DevTarget/labeled/wer': 0.5}),
        ('end', 'FINISHED'),
      ],
    )

  def test_rows_of_metrics_reach_wandb(self):
    followers = trackers.Trackers(['wandb'], self.logdir, {})
    followers.Log('train', 5, {'loss': 2.5})
    followers.End(False)
    self.assertEqual(self.calls[1:], [('metrics', {'step': 5, 'train/loss': 2.5}), ('end', 1)])

  @parameterized.parameters('mlflow', 'wandb')
  def test_a_resumed_run_goes_on_in_the_tracker_s_run(self, name):
    trackers.Trackers([name], self.logdir, {})
    trackers.Trackers([name], self.logdir, {})
    self.assertEqual([call[1] for call in self.calls if call[0] == 'start'], [None, 'new'])
    with open(os.path.join(self.logdir, 'trackers.json'), encoding='utf-8') as f:
      self.assertEqual(json.load(f), {name: 'new'})

  def test_names_are_checked_before_a_run_starts(self):
    self.assertEqual(trackers.Names(' mlflow,wandb '), ['mlflow', 'wandb'])
    self.assertEmpty(trackers.Names(''))
    with self.assertRaisesRegex(errors.ConfigError, '--logger=mlfow: no tracker mlfow; .*; did you mean mlflow'):
      trackers.Names('mlfow')
    with mock.patch.dict(sys.modules, {'wandb': None}):
      with self.assertRaisesRegex(errors.ConfigError, '--logger=wandb: not installed .*; pip install wandb'):
        trackers.Names('wandb')

  def test_a_tracker_that_cannot_start_ends_the_run_and_one_that_fails_later_does_not(self):
    def _Fail(*unused_args, **unused_kwargs):
      raise OSError('no route to host')

    with mock.patch.object(sys.modules['mlflow'], 'start_run', _Fail):
      with self.assertRaisesRegex(errors.ConfigError, r'--logger=mlflow: cannot be started \(no route to host\)'):
        trackers.Trackers(['mlflow'], self.logdir, {})
    for module, function in (('wandb', 'init'), ('mlflow', 'log_params')):
      with self.subTest(function), mock.patch.object(sys.modules[module], function, _Fail):
        self.calls.clear()
        with self.assertRaisesRegex(errors.ConfigError, f'--logger={module}: cannot be started'):
          trackers.Trackers(['mlflow', 'wandb'], self.logdir, {})
        self.assertEqual(self.calls[-1], ('end', 'FAILED'))  # MLflow's run, which had begun.
    followers = trackers.Trackers(['mlflow', 'wandb'], self.logdir, {})
    sys.modules['mlflow'].log_metrics = _Fail
    with contextlib.redirect_stdout(io.StringIO()) as out:
      followers.Log('train', 1, {'loss': 1.0})
      followers.Log('train', 2, {'loss': 1.0})
    self.assertEqual(out.getvalue().count('--logger=mlflow: left out from now on (no route to host)'), 1)
    self.assertLen([call for call in self.calls if call[0] == 'metrics'], 2)  # Of wandb.

  def test_the_flag_is_for_local_runs(self):
    flags = types.SimpleNamespace(logger='wandb')
    self.assertEqual(followed.Loggers(flags, is_cluster=False), ['wandb'])
    with self.assertRaisesRegex(errors.ConfigError, '--logger=wandb: only local runs have trackers'):
      followed.Loggers(flags, is_cluster=True)

  def test_a_run_that_fails_says_so_to_its_trackers(self):
    rows = metrics_log.MetricsLog(self.logdir)
    for is_new, error in ((True, None), (False, KeyError)):
      with contextlib.ExitStack() as stack:
        if error:
          stack.enter_context(self.assertRaises(error))
        with followed.Followed(self.logdir, {'seed': 1}, ['mlflow'], rows, is_new):
          rows.Write('train', 1, {'loss': 1.0})
          if error:
            raise error
    self.assertEqual([call[1] for call in self.calls if call[0] == 'end'], ['FINISHED', 'FAILED'])
    found = event_accumulator.EventAccumulator(self.logdir).Reload().PluginTagToContent('hparams')
    self.assertLen(found, 2)

  def test_a_damaged_file_of_ids_is_named(self):
    with open(os.path.join(self.logdir, 'trackers.json'), 'w', encoding='utf-8') as f:
      f.write('[1]')
    with self.assertRaisesRegex(errors.ConfigError, 'trackers.json: expected a JSON object'):
      trackers.Trackers(['mlflow'], self.logdir, {})


if __name__ == '__main__':
  absltest.main()
