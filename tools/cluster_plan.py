"""A training cluster as data: its jobs, where they listen, and the command that starts each of them.

  sync    workers hold the variables and compute; one trainer_client feeds them all; one controller saves checkpoints.
          Every step's batch is split over the workers.
  async   parameter servers (ps) hold the variables; every trainer reads its own share of the data and updates them in
          its own time; one controller saves checkpoints.

  evaler_DATASET, in both: evaluates and decodes each checkpoint that it finds, and ends after the last.
  data_dispatcher, data_worker, in both, if asked for: a tf.data service, which reads, batches and augments for all trainers.

Lingvo's jobs on TensorFlow's distributed runtime. All of them need the same code, and see the same --logdir and data.
"""

import dataclasses
import shlex

from fm_lingvo import errors
from fm_lingvo.config import list_experiments
from fm_lingvo.utils import suggest

MODES = ('sync', 'async')
SERVERS = ('worker', 'ps', 'data_dispatcher', 'data_worker')  # Jobs that wait for ever.
TRAINER, DATA_SERVICE = 'fm_lingvo.trainer', 'tools.data_service'
_DISPATCHER = ('data_dispatcher', 0)
FIRST_PORT = 2222  # On hosts of their own.


@dataclasses.dataclass(frozen=True)
class Job:
  """One process."""

  name: str  # Lingvo's --job, if it is the trainer's.
  task: int  # Its number among the jobs of that name.
  address: str  # HOST:PORT
  flags: tuple  # Of its program.
  leads: bool = (
    False  # Whether training is over once a job like this has ended; other trainers may still wait for their start.
  )
  module: str = TRAINER  # Its program: TRAINER or DATA_SERVICE.
  gpus: str | None = None  # Its host's GPUs that it sees, as of CUDA_VISIBLE_DEVICES; None: as its environment says.

  @property
  def title(self):
    return f'{self.name}-{self.task}'

  @property
  def evaluates(self):
    return self.name.startswith('evaler_')

  def Command(self, trainer=('trainer',), python='python'):
    """List of the command's words; `trainer` are those that start the trainer, `python` starts all else."""
    return [
      *([] if self.gpus is None else ['env', f'CUDA_VISIBLE_DEVICES={self.gpus}']),
      *(trainer if self.module == TRAINER else (python, '-m', self.module)),
      *self.flags,
    ]

  def CommandLine(self):
    """The command as one would type it."""
    return shlex.join(self.Command())


def Names(mode, workers, ps, data_workers=0):
  """List of (job, task) of a cluster, in the order in which it is best started.

  Raises:
    errors.ConfigError: no such mode, or not enough of something.
  """
  if mode not in MODES:
    raise errors.ConfigError(f'--mode={mode}: expected one of {", ".join(MODES)}')
  CheckAtLeast(1, workers=workers)
  if mode == 'async':
    CheckAtLeast(1, ps=ps)
  CheckAtLeast(0, data_workers=data_workers)
  counts = {'data_dispatcher': 1, 'data_worker': data_workers} if data_workers else {}
  counts.update(
    {'worker': workers, 'controller': 1, 'trainer_client': 1}
    if mode == 'sync'
    else {'ps': ps, 'controller': 1, 'trainer': workers}
  )
  return [(job, task) for job, count in counts.items() for task in range(count)]


def CheckAtLeast(least, **flags):
  """Raises errors.ConfigError if the value of a flag, by its name, is less."""
  for name, value in flags.items():
    if value < least:
      raise errors.ConfigError(f'--{name}={value}: expected >= {least}')


def AddFlags(parser):
  """Adds the flags of a cluster's kind and size to an ArgumentParser."""
  parser.add_argument('--mode', default='sync', help=f'one of {", ".join(MODES)} (default: sync)')
  parser.add_argument('--workers', type=int, default=2, help='workers, or trainers of an async cluster (default: 2)')
  parser.add_argument('--ps', type=int, default=1, help='parameter servers of an async cluster (default: 1)')
  parser.add_argument('--worker_gpus', type=int, default=0, help='GPUs of each worker (default: 0)')
  parser.add_argument(
    '--data_workers',
    type=int,
    default=0,
    help='workers of a tf.data service, which read and augment for the trainers (default: 0, no service)',
  )


def CheckFlags(flags):
  """Raises errors.ConfigError if the trainer's flags lack what every job needs, or name no experiment."""
  for name in ('model', 'logdir'):
    if not any(flag.startswith(f'--{name}=') for flag in flags):
      raise errors.ConfigError(f"no --{name}=... among the trainer's flags, which follow --")
  model, known = (
    [flag for flag in flags if flag.startswith('--model=')][-1].partition('=')[2],
    list_experiments.ListModels(),
  )
  if model not in known:
    raise errors.ConfigError(f'--model={model}: no such experiment{suggest.Hint(model, known)}')


def Plan(mode, addresses, trainer_flags, worker_gpus=0):
  """The jobs of a cluster.

  Args:
    mode: one of MODES.
    addresses: dict (job, task) -> HOST:PORT, of all that Names gives.
    trainer_flags: flags that all jobs share, --model and --logdir among them.
    worker_gpus: GPUs of each worker or trainer, >= 0.

  Returns:
    List of Job, in the order of `addresses`.

  Raises:
    errors.ConfigError: fewer GPUs than none.
  """
  CheckAtLeast(0, worker_gpus=worker_gpus)
  if _DISPATCHER in addresses:
    trainer_flags = [*trainer_flags, f'--tf_data_service_address={addresses[_DISPATCHER]}']
  by_job = {}
  for (job, _), address in addresses.items():
    if not _ServesData(job):
      by_job.setdefault(job, []).append(address)
  spec = '@'.join(f'{job}={",".join(where)}' for job, where in by_job.items())
  worker, ps = ('worker', 'worker') if mode == 'sync' else ('trainer', 'ps')
  shared = [
    *trainer_flags,
    f'--mode={mode}',
    f'--cluster_spec={spec}',
    f'--worker_job=/job:{worker}',
    f'--worker_replicas={len(by_job[worker])}',
    f'--ps_job=/job:{ps}',
    f'--ps_replicas={len(by_job[ps])}',
  ]
  if worker_gpus:
    shared.append(f'--worker_gpus={worker_gpus}')
  jobs = [
    _DataJob(job, task, address, addresses[_DISPATCHER])
    if _ServesData(job)
    else Job(
      job, task, address, (*shared, f'--job={job}', f'--task={task}'), leads=job in ('trainer_client', 'trainer')
    )
    for (job, task), address in addresses.items()
  ]
  return _DealGpus(jobs, worker, worker_gpus) if worker_gpus else jobs


def _DealGpus(jobs, worker, count):
  """The jobs, those named `worker` with `count` GPUs of their host each, the others with none: TensorFlow takes all it sees."""
  dealt, used = [], {}
  for job in jobs:
    gpus = ''
    if job.name == worker:
      host = job.address.rpartition(':')[0]
      first = used.get(host, 0)
      used[host] = first + count
      gpus = ','.join(map(str, range(first, first + count)))
    dealt.append(dataclasses.replace(job, gpus=gpus))
  return dealt


def _ServesData(job):
  return job.startswith('data_')


def _DataJob(job, task, address, dispatcher):
  """A job of the tf.data service whose dispatcher has this address."""
  host, _, port = address.rpartition(':')
  flags = (
    ('dispatcher', f'--port={port}')
    if job == _DISPATCHER[0]
    else ('worker', f'--dispatcher={dispatcher}', f'--host={host}', f'--port={port}', '--wait_seconds=120')
  )
  return Job(job, task, address, flags, module=DATA_SERVICE)


def Evaluations(datasets, trainer_flags, host='localhost'):
  """The jobs that evaluate; they talk to no other, so they have no port.

  Args:
    datasets: names of the experiment's data sets.
    trainer_flags: as of Plan.
    host: where they run.

  Returns:
    List of Job.
  """
  return [Job(f'evaler_{name}', 0, host, (*trainer_flags, f'--job=evaler_{name}')) for name in datasets]


def OnHosts(names, hosts):
  """Addresses of jobs, dealt to hosts in turn: dict (job, task) -> HOST:PORT."""
  addresses, used = {}, {}
  for i, name in enumerate(names):
    host = hosts[i % len(hosts)]
    used[host] = used.get(host, -1) + 1
    addresses[name] = f'{host}:{FIRST_PORT + used[host]}'
  return addresses
