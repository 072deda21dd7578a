"""Flags of the trainer that no run could go by: each is refused in a line, before anything is built."""

import re

from lingvo import compat as tf
from lingvo import model_registry

from fm_lingvo import errors
from fm_lingvo.config import registry
from fm_lingvo.evaluation import cluster_job
from fm_lingvo.runtime import quiet
from fm_lingvo.utils import suggest

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


def CheckMode(flags):
  """Raises ConfigError if there is no such --mode, or the run would be an eager one."""
  if flags.use_eager:
    raise errors.ConfigError('--use_eager: expected without it; every job here runs in graph mode')
  suggest.CheckChoice('--mode', flags.mode, _MODES)


def CheckParts(flags, is_cluster):
  """Raises ConfigError if batches would be computed in parts where nothing does that."""
  if flags.batch_parts > 1 and (
    is_cluster or flags.deterministic or flags.mode == 'xla_check' or flags.run_locally not in ('', 'cpu')
  ):
    raise errors.ConfigError(
      f'--batch_parts={flags.batch_parts}: expected 1 or less; only local runs on the CPU, and without '
      '--deterministic, compute batches in parts'
    )


def CheckLogdir(logdir):
  """Raises ConfigError if TensorFlow does not know the file system of --logdir, or would take it for a pattern."""
  if re.search(r'[*?\[\]\\]', logdir):
    raise errors.ConfigError(
      f'--logdir={logdir}: expected a path without * ? [ ] \\, by which TensorFlow would not find its checkpoints'
    )
  try:
    tf.io.gfile.exists(logdir)
  except tf.errors.OpError as e:
    raise errors.ConfigError(f'--logdir={logdir}: {errors.Reason(e)}') from e


def CheckDatasets(flags):
  """Raises ConfigError if a data set to evaluate is none of the experiment's."""
  known = registry.DatasetNames(flags.model)
  tp = model_registry.GetParams(flags.model, 'Train').task.train
  for field in ('eval_datasets', 'final_eval_datasets'):
    for name in tp.Get(field):
      suggest.CheckChoice(f'task.train.{field}: data set', name, known)
  if flags.job.startswith(cluster_job.PREFIX):
    suggest.CheckChoice(f'--job={flags.job}: data set', flags.job[len(cluster_job.PREFIX) :], known)


def CheckCluster(flags):
  """Raises ConfigError if --cluster_spec cannot be read or has no place for the job."""
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
  for job in flags.job.split(',') if flags.job else ():
    suggest.CheckChoice('--job', job, jobs)


def CheckDevice(device, worker_gpus):
  """Raises ConfigError, never falls back to the CPU, if a device is missing."""
  if device not in ('cpu', 'gpu', 'tpu'):
    raise errors.ConfigError(f'--run_locally={device}: expected cpu, gpu or tpu')
  if device != 'gpu' and worker_gpus:
    raise errors.ConfigError(f'--worker_gpus={worker_gpus}: expected 0 with --run_locally={device}')
  if device == 'cpu':
    return
  with quiet.HoldStderr():
    found = len(tf.config.list_physical_devices(device.upper()))
  wanted = max(1, worker_gpus) if device == 'gpu' else 1
  if found < wanted:
    raise errors.ConfigError(
      f'--run_locally={device}: {wanted} {device.upper()} wanted, TensorFlow '
      f'sees {found} on this machine; use --run_locally=cpu'
    )


def CheckTpu(flags):
  """Raises ConfigError if jobs for a TPU have none."""
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
  except Exception as e:  # Of many kinds: network, authentication, names.
    reason = (str(e).strip().splitlines() or [''])[-1][:120]
    raise errors.ConfigError(
      f'--tpu={flags.tpu}: no such TPU to be found from here ({type(e).__name__}: '
      f'{reason}); without one, --mode=xla_check compiles for it and '
      '--run_locally=cpu trains'
    ) from e
