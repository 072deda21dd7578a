"""A training cluster as data: its jobs, where they listen, and the command that starts each of them.

  sync    workers hold the variables and compute; one trainer_client feeds them all; one controller saves checkpoints.
          Every step's batch is split over the workers.
  async   parameter servers (ps) hold the variables; every trainer reads its own share of the data and updates them in
          its own time; one controller saves checkpoints.

  evaler_DATASET, in both: evaluates and decodes each checkpoint that it finds, and ends after the last.

Lingvo's jobs on TensorFlow's distributed runtime. All of them need the same code, and see the same --logdir and data.
"""

import dataclasses
import shlex

from fm_lingvo import errors

MODES = ('sync', 'async')
FIRST_PORT = 2222  # On hosts of their own.


@dataclasses.dataclass(frozen=True)
class Job:
  """One process."""
  name: str  # Lingvo's --job.
  task: int  # Its number among the jobs of that name.
  address: str  # HOST:PORT
  flags: tuple  # Of the trainer.
  leads: bool  # Whether training is over once a job like this has ended; other trainers may still wait for their start.

  @property
  def title(self):
    return f'{self.name}-{self.task}'

  @property
  def evaluates(self):
    return self.name.startswith('evaler_')

  def Command(self, trainer=('trainer',)):
    """List of the command's words."""
    return [*trainer, *self.flags]

  def CommandLine(self):
    """The command as one would type it."""
    return shlex.join(self.Command())


def Names(mode, workers, ps):
  """List of (job, task) of a cluster, in the order in which it is best started.

  Raises:
    errors.ConfigError: no such mode, or not enough of something.
  """
  if mode not in MODES:
    raise errors.ConfigError(f'--mode={mode}: expected one of {", ".join(MODES)}')
  if workers < 1:
    raise errors.ConfigError(f'--workers={workers}: expected >= 1')
  if mode == 'async' and ps < 1:
    raise errors.ConfigError(f'--ps={ps}: expected >= 1')
  counts = ({'worker': workers, 'controller': 1, 'trainer_client': 1} if mode == 'sync' else
            {'ps': ps, 'controller': 1, 'trainer': workers})
  return [(job, task) for job, count in counts.items() for task in range(count)]


def AddFlags(parser):
  """Adds the flags of a cluster's kind and size to an ArgumentParser."""
  parser.add_argument('--mode', default='sync', help=f'one of {", ".join(MODES)} (default: sync)')
  parser.add_argument('--workers', type=int, default=2, help='workers, or trainers of an async cluster (default: 2)')
  parser.add_argument('--ps', type=int, default=1, help='parameter servers of an async cluster (default: 1)')
  parser.add_argument('--worker_gpus', type=int, default=0, help='GPUs of each worker (default: 0)')


def CheckFlags(flags):
  """Raises errors.ConfigError if the trainer's flags lack what every job needs."""
  for name in ('model', 'logdir'):
    if not any(flag.startswith(f'--{name}=') for flag in flags):
      raise errors.ConfigError(f'no --{name}=... among the trainer\'s flags, which follow --')


def Plan(mode, addresses, trainer_flags, worker_gpus=0):
  """The jobs of a cluster.

  Args:
    mode: one of MODES.
    addresses: dict (job, task) -> HOST:PORT, of all that Names gives.
    trainer_flags: flags that all jobs share, --model and --logdir among them.
    worker_gpus: GPUs of each worker or trainer.

  Returns:
    List of Job, in the order of `addresses`.
  """
  by_job = {}
  for (job, _), address in addresses.items():
    by_job.setdefault(job, []).append(address)
  spec = '@'.join(f'{job}={",".join(where)}' for job, where in by_job.items())
  worker, ps = ('worker', 'worker') if mode == 'sync' else ('trainer', 'ps')
  shared = [*trainer_flags, f'--mode={mode}', f'--cluster_spec={spec}',
            f'--worker_job=/job:{worker}', f'--worker_replicas={len(by_job[worker])}',
            f'--ps_job=/job:{ps}', f'--ps_replicas={len(by_job[ps])}']
  if worker_gpus:
    shared.append(f'--worker_gpus={worker_gpus}')
  return [Job(job, task, address, (*shared, f'--job={job}', f'--task={task}'),
              leads=job in ('trainer_client', 'trainer'))
          for (job, task), address in addresses.items()]


def Evaluations(datasets, trainer_flags, host='localhost'):
  """The jobs that evaluate; they talk to no other, so they have no port.

  Args:
    datasets: names of the experiment's data sets.
    trainer_flags: as of Plan.
    host: where they run.

  Returns:
    List of Job.
  """
  return [Job(f'evaler_{name}', 0, host, (*trainer_flags, f'--job=evaler_{name}'), leads=False) for name in datasets]


def OnHosts(names, hosts):
  """Addresses of jobs, dealt to hosts in turn: dict (job, task) -> HOST:PORT."""
  addresses, used = {}, {}
  for i, name in enumerate(names):
    host = hosts[i % len(hosts)]
    used[host] = used.get(host, -1) + 1
    addresses[name] = f'{host}:{FIRST_PORT + used[host]}'
  return addresses
