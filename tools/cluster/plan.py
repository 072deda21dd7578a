"""The plan of a training cluster: its jobs, their addresses, and the command that starts each of them.

  sync    Workers hold the variables and compute; one trainer_client feeds all of them; one controller saves
          checkpoints. The batch of each step is split over the workers.
  async   Parameter servers (ps) hold the variables. Each trainer reads its own share of the data and updates the
          variables independently of the others; one controller saves checkpoints.

  evaler_DATASET, in both: evaluates and decodes each newest checkpoint and ends after the last one.
  data_dispatcher, data_worker, optional: a tf.data service that reads, batches and augments for the trainers.

These are Lingvo's jobs on TensorFlow's distributed runtime. All of them need the same code, --logdir and data.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

from fm_lingvo import errors
from fm_lingvo.config import list_experiments
from fm_lingvo.config import user_modules
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

MODES = ('sync', 'async')
SERVERS = ('worker', 'ps', 'data_dispatcher', 'data_worker')  # Jobs that run until they are stopped.
TRAINER, DATA_SERVICE = 'fm_lingvo.trainer', __package__.rpartition('.')[0] + '.data_service'  # Modules.
FIRST_PORT = 2222  # On separate hosts.
_DISPATCHER = ('data_dispatcher', 0)
Name = tuple[str, int]  # (job, task)


@dataclasses.dataclass(frozen=True)
class Job:
  """One process."""

  name: str  # Lingvo's --job for jobs of the trainer.
  task: int  # Number among the jobs with this name.
  address: str  # HOST:PORT, or HOST if the job listens on no port.
  flags: tuple[str, ...]  # Flags of the program.
  module: str = TRAINER  # The program: TRAINER or DATA_SERVICE.
  gpus: str | None = None  # CUDA_VISIBLE_DEVICES; None: inherited from the environment.

  @property
  def title(self) -> str:
    return f'{self.name}-{self.task}'

  @property
  def host(self) -> str:
    """The host of the address; one of IPv6 has brackets around it, [fd00::1]."""
    is_host = ':' not in self.address or self.address.endswith(']')
    return self.address if is_host else self.address.rpartition(':')[0]

  @property
  def trains(self) -> bool:
    """Whether training is over once such a job has ended; other trainers may still be waiting to start."""
    return self.name in ('trainer_client', 'trainer')

  @property
  def ends_last(self) -> bool:
    """Whether the job still works after training: it saves or evaluates the last checkpoint."""
    return self.name == 'controller' or self.name.startswith('evaler_')

  def Command(self, trainer: Sequence[str] = ('trainer',), python: str = 'python') -> list[str]:
    """Returns the words of the command; `trainer` starts the trainer, `python` runs other programs."""
    return [
      *([] if self.gpus is None else ['env', f'CUDA_VISIBLE_DEVICES={self.gpus}']),
      *(trainer if self.module == TRAINER else (python, '-m', self.module)),
      *self.flags,
    ]


def AddFlags(parser: argparse.ArgumentParser) -> None:
  """Adds the flags for a cluster's mode and size, and the positional `flags` of the trainer."""
  parser.add_argument('--mode', default='sync', help=f'one of {", ".join(MODES)} (default: sync)')
  parser.add_argument('--workers', type=int, default=2, help='workers, or trainers of an async cluster (default: 2)')
  parser.add_argument('--ps', type=int, default=1, help='parameter servers of an async cluster (default: 1)')
  parser.add_argument('--worker_gpus', type=int, default=0, help='GPUs per worker (default: 0)')
  parser.add_argument(
    '--data_workers',
    type=int,
    default=0,
    help='workers of a tf.data service that reads and augments for the trainers (default: 0, no service)',
  )
  parser.add_argument('flags', nargs='*', metavar='-- TRAINER_FLAGS', help='at least --model and --logdir')


def CheckAtLeast(least: int, **flags: int) -> None:
  """Raises errors.ConfigError if the value of a flag is less than `least`; `flags` maps names to values."""
  for name, value in flags.items():
    if value < least:
      raise errors.ConfigError(f'--{name}={value}: expected >= {least}')


def CheckFlags(flags: Sequence[str]) -> dict[str, str]:
  """Checks flags of the trainer.

  Returns:
    The values of --model and --logdir.

  Raises:
    errors.ConfigError: One of them is missing, or there is no such experiment.
  """
  values = {}
  for name in ('model', 'logdir'):
    found = [flag.partition('=')[2] for flag in flags if flag.startswith(f'--{name}=')]
    if not found:
      raise errors.ConfigError(f"no --{name}=... among the trainer's flags, which follow --")
    values[name] = found[-1]
  values['logdir'] = files.ExpandUser(values['logdir'])  # As the trainer reads it.
  known = list_experiments.ListModels()
  # User modules may register the experiment; only the jobs import them.
  modules = any(flag.startswith(f'--{user_modules.FLAG}') for flag in flags)
  if values['model'] not in known and not modules:
    raise errors.ConfigError(f'--model={values["model"]}: no such experiment{suggest.Hint(values["model"], known)}')
  return values


def Names(mode: str, workers: int, ps: int, data_workers: int = 0) -> list[Name]:
  """Returns the names of a cluster's jobs, in the order in which to start them.

  Raises:
    errors.ConfigError: There is no such mode, or a number of jobs is too small.
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


def OnHosts(names: Sequence[Name], hosts: Sequence[str]) -> dict[Name, str]:
  """Returns HOST:PORT for each job; jobs are assigned to hosts round-robin."""
  return {name: f'{hosts[i % len(hosts)]}:{FIRST_PORT + i // len(hosts)}' for i, name in enumerate(names)}


def Plan(mode: str, addresses: dict[Name, str], trainer_flags: Sequence[str], worker_gpus: int = 0) -> list[Job]:
  """Returns the jobs of a cluster.

  Args:
    mode: One of MODES.
    addresses: HOST:PORT of all jobs in the result of Names.
    trainer_flags: Flags that all jobs share, including --model and --logdir.
    worker_gpus: GPUs per worker or trainer, >= 0.

  Returns:
    The jobs, in the order of `addresses`.

  Raises:
    errors.ConfigError: worker_gpus is negative.
  """
  CheckAtLeast(0, worker_gpus=worker_gpus)
  dispatcher = addresses.get(_DISPATCHER)
  data_jobs = {
    name: _DataJob(*name, address, dispatcher) for name, address in addresses.items() if name[0].startswith('data_')
  }
  by_job = {}
  for name, address in addresses.items():
    if name not in data_jobs:
      by_job.setdefault(name[0], []).append(address)
  worker, ps = ('worker', 'worker') if mode == 'sync' else ('trainer', 'ps')
  spec = '@'.join(f'{job}={",".join(where)}' for job, where in by_job.items())
  shared = [
    *trainer_flags,
    *([f'--tf_data_service_address={dispatcher}'] if dispatcher else []),
    f'--mode={mode}',
    f'--cluster_spec={spec}',
    f'--worker_job=/job:{worker}',
    f'--worker_replicas={len(by_job[worker])}',
    f'--ps_job=/job:{ps}',
    f'--ps_replicas={len(by_job[ps])}',
    *([f'--worker_gpus={worker_gpus}'] if worker_gpus else []),
  ]
  jobs = [
    data_jobs.get(name) or Job(*name, address, (*shared, f'--job={name[0]}', f'--task={name[1]}'))
    for name, address in addresses.items()
  ]
  return _AssignGpus(jobs, worker, worker_gpus) if worker_gpus else jobs


def _AssignGpus(jobs, worker, count):
  """Assigns `count` GPUs of its host to each job named `worker`, and hides all GPUs from other jobs.

  TensorFlow would reserve the memory of every visible GPU.
  """
  assigned, used = [], {}
  for job in jobs:
    gpus = ''
    if job.name == worker:
      first = used.get(job.host, 0)
      used[job.host] = first + count
      gpus = ','.join(map(str, range(first, first + count)))
    assigned.append(dataclasses.replace(job, gpus=gpus))
  return assigned


def _DataJob(job, task, address, dispatcher):
  """Returns a job of the tf.data service whose dispatcher has the address `dispatcher`."""
  host, _, port = address.rpartition(':')
  flags = (
    ('dispatcher', f'--port={port}')
    if job == _DISPATCHER[0]
    else ('worker', f'--dispatcher={dispatcher}', f'--host={host}', f'--port={port}', '--wait_seconds=120')
  )
  return Job(job, task, address, flags, module=DATA_SERVICE)


def Evaluations(datasets: Sequence[str], trainer_flags: Sequence[str], host: str = 'localhost') -> list[Job]:
  """Returns jobs that evaluate data sets of the experiment on `host`; they need no port and connect to no other job."""
  return [Job(f'evaler_{name}', 0, host, (*trainer_flags, f'--job=evaler_{name}')) for name in datasets]
