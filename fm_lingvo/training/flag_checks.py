"""Checks the trainer's flags before anything is built; a bad flag is refused in one line."""

import re

from lingvo import compat as tf
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.config import registry
from fm_lingvo.config import train_params
from fm_lingvo.data import data_service
from fm_lingvo.evaluation import cluster_job
from fm_lingvo.heads import branch as branch_lib
from fm_lingvo.runtime import quiet
from fm_lingvo.runtime import session
from fm_lingvo.utils import suggest

_READING_JOBS = {'', 'trainer', 'trainer_client', 'executor_tpu'}  # Jobs that read training data.
CLUSTER_MODES = ('sync', 'async')
_MODES = (
  *CLUSTER_MODES,
  'xla_check',
  'inspect_params',
  'inspect_model',
  'inspect_evaler',
  'inspect_decoder',
  'write_inference_graph',
  'shell',
)  # All but xla_check are Lingvo's.

# Params of task.train that are None unless the user sets them -> what they make local runs do, and no others.
_ONLY_LOCAL = {
  'best_metric': 'keep best checkpoints',
  'max_minutes': 'end after some minutes',
  'gradient_share_interval_steps': "measure the branches' shares of the gradient",
}


def Jobs(flags):
  """Returns the set of the jobs that --job names, comma-separated; {''} in a local run."""
  return set(flags.job.split(','))


def CheckMode(flags):
  """Raises ConfigError if --mode is unknown or --use_eager is set."""
  if flags.use_eager:
    raise errors.ConfigError('--use_eager: expected without it; every job here runs in graph mode')
  suggest.CheckChoice('--mode', flags.mode, _MODES)


def CheckParts(flags, is_cluster):
  """Raises ConfigError if --batch_parts is set for a run that cannot split its batches."""
  if flags.batch_parts > 1 and (
    is_cluster or flags.deterministic or flags.mode == 'xla_check' or flags.run_locally not in ('', 'cpu')
  ):
    raise errors.ConfigError(
      f'--batch_parts={flags.batch_parts}: expected 1 or less; only local runs on the CPU without --deterministic '
      'split batches'
    )


def CheckPartsOfTask(flags, task):
  """Raises ConfigError if --batch_parts is set for a task that has no parts, or TF_NUM_INTEROP_THREADS is no number.

  Args:
    flags: Of a local run.
    task: Params of its task.
  """
  session.Cores()
  if flags.batch_parts > 1 and not task.cls.computes_in_parts:
    raise errors.ConfigError(f'--batch_parts={flags.batch_parts}: expected 1 or less with --model={flags.model}')


def CheckTrace(flags, is_cluster):
  """Raises ConfigError if --trace_step is set for a job that is not local, or beyond the last step."""
  if flags.trace_step and (is_cluster or flags.mode == 'xla_check'):
    raise errors.ConfigError(f'--trace_step={flags.trace_step}: expected 0; only steps of local runs are traced')
  train = model_registry.GetParams(flags.model, 'Train').task.train
  if flags.trace_step > train.max_steps:
    raise errors.ConfigError(
      f'--trace_step={flags.trace_step}: expected at most task.train.max_steps = {train.max_steps}'
    )


def CheckService(flags, wait_seconds=0.0):
  """Raises ConfigError if a job that reads training data cannot reach --tf_data_service_address within some seconds."""
  if flags.tf_data_service_address and Jobs(flags) & _READING_JOBS:
    data_service.CheckAddress('tf_data_service_address', flags.tf_data_service_address, wait_seconds)


def CheckLogdir(logdir):
  """Raises ConfigError if TensorFlow does not know the file system of --logdir, or would read it as a glob pattern."""
  if re.search(r'[*?\[\]\\]', logdir):
    raise errors.ConfigError(
      f'--logdir={logdir}: expected a path without * ? [ ] \\, with which TensorFlow cannot find its checkpoints'
    )
  try:
    tf.io.gfile.exists(logdir)
  except tf.errors.OpError as e:
    raise errors.ConfigError(f'--logdir={logdir}: {errors.Reason(e)}') from e


def CheckDatasets(flags):
  """Raises ConfigError if the experiment lacks a data set that is to be evaluated, or the branch of best_metric."""
  known = registry.DatasetNames(flags.model)
  task = model_registry.GetParams(flags.model, 'Train').task
  tp = task.train
  for field in ('eval_datasets', 'final_eval_datasets'):
    for name in tp.Get(field):
      suggest.CheckChoice(f'task.train.{field}: data set', name, known)
  best = train_params.BestMetric(tp)
  if best and 'branches' in task:
    branch_lib.CheckMetric(task, best[1])
  if flags.job.startswith(cluster_job.PREFIX):
    suggest.CheckChoice(f'--job={flags.job}: data set', flags.job.removeprefix(cluster_job.PREFIX), known)


def CheckCluster(flags):
  """Raises ConfigError if --cluster_spec cannot be parsed or does not list the job."""
  if flags.mode not in CLUSTER_MODES or flags.run_locally or flags.tpu or flags.infer_tpu_cluster:
    return
  jobs = []
  for part in flags.cluster_spec.split('@'):
    found = re.fullmatch(r'(\w+)=[^=@,]+(,[^=@,]+)*', part)
    if not found:
      raise errors.ConfigError(
        f'--cluster_spec={flags.cluster_spec}: expected JOB=HOST:PORT,HOST:PORT@JOB=HOST:PORT and so on, '
        'with all jobs of the cluster'
      )
    jobs.append(found.group(1))
  for job in sorted(Jobs(flags) - {''}):
    suggest.CheckChoice('--job', job, jobs)


def CheckInCluster(flags):
  """Raises ConfigError if a cluster's job is to do what only a local run does, or cannot read its training data."""
  params = model_registry.GetParams(flags.model, 'Train')
  for name, what in _ONLY_LOCAL.items():
    value = params.task.train.Get(name)
    if value is not None:
      raise errors.ConfigError(f'task.train.{name} = {value!r}: expected None in a cluster; only local runs {what}')
  if flags.run_locally or flags.mode not in CLUSTER_MODES or getattr(params.input.cls, 'reads_in_workers', True):
    return
  if flags.mode == 'sync' or flags.tpu or flags.infer_tpu_cluster:
    raise errors.ConfigError(
      f'--model={flags.model}: its input is read by the process that builds the graph, and here others train; '
      'expected a local run or --mode=async'
    )


def CheckDevice(device, worker_gpus):
  """Raises ConfigError if a device is missing: a run never falls back to the CPU."""
  if device not in ('cpu', 'gpu', 'tpu'):
    raise errors.ConfigError(f'--run_locally={device}: expected cpu, gpu or tpu')
  if device != 'gpu' and worker_gpus:
    raise errors.ConfigError(f'--worker_gpus={worker_gpus}: expected 0 with --run_locally={device}')
  if device == 'cpu':
    return
  with quiet.HoldStderr():
    found = len(tf.config.list_physical_devices(device.upper()))
  needed = max(1, worker_gpus) if device == 'gpu' else 1
  if found < needed:
    raise errors.ConfigError(
      f'--run_locally={device}: needs {needed} {device.upper()}, TensorFlow '
      f'sees {found} on this machine; use --run_locally=cpu'
    )


def CheckTpu(flags):
  """Raises ConfigError if a job needs a TPU and none is named or reachable."""
  if not flags.tpu:
    if 'executor_tpu' in flags.job and not flags.infer_tpu_cluster:
      raise errors.ConfigError(
        f'--job={flags.job}: no TPU; expected --tpu=NAME, with --gcp_project and '
        '--tpu_zone, or --infer_tpu_cluster with --tf_master'
      )
    return
  try:
    tf.distribute.cluster_resolver.TPUClusterResolver(
      tpu=flags.tpu, project=flags.gcp_project, zone=flags.tpu_zone, job_name=flags.job or None
    ).cluster_spec()
  except Exception as e:  # Many types: network, authentication, unknown names.
    reason = (str(e).strip().splitlines() or [''])[-1][:120]
    raise errors.ConfigError(
      f'--tpu={flags.tpu}: no such TPU can be reached ({type(e).__name__}: '
      f'{reason}); without a TPU, use --mode=xla_check to compile for one or '
      '--run_locally=cpu to train'
    ) from e
