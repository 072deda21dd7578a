"""What is refused between the flags and a run, each in a line; tests/trainer_test.py has it from outside."""

import re
import types

from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.config import gin_config
from fm_lingvo.training import flag_checks
from tests import graph_case  # noqa: F401 Graph mode.


def _Flags(**values):
  """Flags of a job, but for `values` as they are by default."""
  return types.SimpleNamespace(
    **{
      'model': 'asr.BestRqPretrain',
      'mode': 'sync',
      'job': '',
      'cluster_spec': '',
      'run_locally': '',
      'tpu': '',
      'infer_tpu_cluster': False,
      'use_eager': False,
      'trace_step': 0,
      **values,
    }
  )


class FlagChecksTest(absltest.TestCase):
  def test_data_sets_that_an_experiment_has_not_are_named(self):
    for bindings, job, expected in (
      (
        ["task.train.eval_datasets = ['DevHumn']"],
        '',
        "^task.train.eval_datasets: data set = 'DevHumn': expected one of .*did you mean DevHuman.$",
      ),
      (
        ["task.train.final_eval_datasets = ['Test']"],
        '',
        "^task.train.final_eval_datasets: data set = 'Test': .* TestHuman.$",
      ),
      ([], 'evaler_Foo', "^--job=evaler_Foo: data set = 'Foo': expected one of DevHuman, "),
      ([], 'evaler_', "^--job=evaler_: data set = '': expected one of DevHuman, "),
    ):
      with self.subTest(expected):
        self.addCleanup(gin_config.Reset)
        gin_config.Configure('asr.BestRqPretrain', (), bindings)
        with self.assertRaisesRegex(errors.ConfigError, expected):
          flag_checks.CheckDatasets(_Flags(job=job))
    gin_config.Configure('asr.BestRqPretrain')
    flag_checks.CheckDatasets(_Flags(job='evaler_DevHuman'))

  def test_a_step_that_no_local_run_comes_to_is_not_traced(self):
    self.addCleanup(gin_config.Reset)
    gin_config.Configure('asr.BestRqPretrain', (), ['BestRqPretrain.max_steps = 20'])
    flag_checks.CheckTrace(_Flags(trace_step=20), False)
    flag_checks.CheckTrace(_Flags(), True)
    for values, is_cluster, expected in (
      ({'trace_step': 21}, False, '^--trace_step=21: expected at most task.train.max_steps = 20$'),
      ({'trace_step': 3}, True, '^--trace_step=3: expected 0; only steps of local runs are traced$'),
      ({'trace_step': 3, 'mode': 'xla_check'}, False, '^--trace_step=3: expected 0; '),
    ):
      with self.subTest(expected), self.assertRaisesRegex(errors.ConfigError, expected):
        flag_checks.CheckTrace(_Flags(**values), is_cluster)

  def test_a_cluster_has_a_place_for_the_job(self):
    spec = 'worker=a:1,b:2@controller=a:3'
    for job, cluster_spec, expected in (
      ('trainer', '', '^--cluster_spec=: expected JOB=HOST:PORT,HOST:PORT@JOB='),
      ('', 'foo', '^--cluster_spec=foo: expected JOB='),
      ('worker', 'worker=a:1,@controller=b:2', 'expected JOB='),
      ('worker', 'worker=a:1@', 'expected JOB='),
      ('controler', spec, "^--job = 'controler': expected one of worker, controller; did you mean controller.$"),
      ('controller,ps', spec, "^--job = 'ps': expected one of worker, controller$"),
    ):
      with self.subTest(expected), self.assertRaisesRegex(errors.ConfigError, expected):
        flag_checks.CheckCluster(_Flags(job=job, cluster_spec=cluster_spec))
    flag_checks.CheckCluster(_Flags(job='controller', cluster_spec=spec))
    flag_checks.CheckCluster(_Flags(job='controller,worker', cluster_spec=spec))
    for elsewhere in (
      dict(tpu='name'),
      dict(infer_tpu_cluster=True),
      dict(run_locally='cpu'),
      dict(mode='inspect_params'),
    ):
      flag_checks.CheckCluster(_Flags(job='controller', **elsewhere))

  def test_what_only_a_local_run_does_is_refused_in_a_cluster(self):
    self.addCleanup(gin_config.Reset)
    for param, value in (
      ('best_metric', "'DevHuman/unlabeled/loss'"),
      ('max_minutes', '30.0'),
      ('gradient_share_interval_steps', '10'),
    ):
      with self.subTest(param):
        gin_config.Configure('asr.BestRqPretrain', (), [f'task.train.{param} = {value}'])
        expected = rf'^task.train.{param} = {value}: expected None in a cluster; only local runs [^\n]*$'
        with self.assertRaisesRegex(errors.ConfigError, expected):
          flag_checks.CheckInCluster(_Flags(job='controller'))
    gin_config.Configure('asr.BestRqPretrain')
    flag_checks.CheckInCluster(_Flags(job='controller'))

  def test_text_is_read_by_the_process_that_trains_on_it(self):
    self.addCleanup(gin_config.Reset)
    gin_config.Configure('text.LanguageModel')
    flags = dict(model='text.LanguageModel', job='trainer_client')
    for elsewhere in (dict(mode='sync'), dict(mode='async', tpu='name'), dict(mode='async', infer_tpu_cluster=True)):
      expected = '^--model=text.LanguageModel: its input is read by the process that builds the graph, [^\n]*$'
      with self.subTest(str(elsewhere)), self.assertRaisesRegex(errors.ConfigError, expected):
        flag_checks.CheckInCluster(_Flags(**flags, **elsewhere))
    for here in (dict(mode='async'), dict(mode='sync', run_locally='cpu'), dict(mode='inspect_params')):
      flag_checks.CheckInCluster(_Flags(**flags, **here))

  def test_each_job_of_a_process_with_several_is_checked(self):
    flag_checks.CheckService(_Flags(job='controller', tf_data_service_address='x'))  # It reads no data.
    for job in ('trainer_client', 'controller,trainer_client'):
      with self.subTest(job), self.assertRaisesRegex(errors.ConfigError, '^--tf_data_service_address=x: expected HOST'):
        flag_checks.CheckService(_Flags(job=job, tf_data_service_address='x'))

  def test_modes_that_no_run_has_are_refused(self):
    flag_checks.CheckMode(_Flags())
    for values, expected in (
      (dict(mode='snc'), "^--mode = 'snc': expected one of .*did you mean sync"),
      (dict(use_eager=True), '^--use_eager: expected without it; every job here runs in graph mode$'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, expected):
        flag_checks.CheckMode(_Flags(**values))

  def test_a_log_folder_is_no_pattern(self):
    for logdir in ('runs/lr[0.1]', 'runs/*', 'runs/a?'):
      with self.assertRaisesRegex(errors.ConfigError, rf'^--logdir={re.escape(logdir)}: expected a path without '):
        flag_checks.CheckLogdir(logdir)
    flag_checks.CheckLogdir('runs/lr=0.1 (b)')

  def test_devices_that_a_run_would_not_use_are_refused(self):
    flag_checks.CheckDevice('cpu', 0)
    for device, gpus, expected in (
      ('cpu', 2, '^--worker_gpus=2: expected 0 with --run_locally=cpu$'),
      ('gpus', 0, '^--run_locally=gpus: expected cpu, gpu or tpu$'),
    ):
      with self.assertRaisesRegex(errors.ConfigError, expected):
        flag_checks.CheckDevice(device, gpus)


if __name__ == '__main__':
  absltest.main()
