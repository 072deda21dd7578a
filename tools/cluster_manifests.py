"""Files for real schedulers, from the same description as the local cluster: a Kubernetes JobSet, a Slurm script.

  python -m tools.cluster_manifests --scheduler=kubernetes --image=REGISTRY/fm_lingvo:1 --workers=4 --worker_gpus=8 \\
      -- --model=asr.BestRqPretrain --logdir=gs://bucket/run > jobset.yaml
  python -m tools.cluster_manifests --scheduler=slurm --workers=4 --worker_gpus=8 \\
      -- --model=asr.BestRqPretrain --logdir=/shared/run > run.sbatch

What follows -- are flags of the trainer; --logdir and the data must be seen by every job under the same name. Exit code 2: wrong
usage, in one line.
"""

import argparse
import re
import shlex
import sys

import yaml

from fm_lingvo import errors

from . import cluster_plan
from .common import exit_codes

SCHEDULERS = ('kubernetes', 'slurm')
# Names in DNS; JobSet adds up to 20 characters to make a pod's.
_DNS_NAME = re.compile(r'[a-z]([a-z0-9-]{0,38}[a-z0-9])?')
_MEMORY = re.compile(r'[1-9]\d*[MGT]i')
# TensorFlow's port on every pod: each has an address of its own.
_PORT = cluster_plan.FIRST_PORT
_INDEX = '$(JOB_COMPLETION_INDEX)'  # Kubernetes replaces it by the pod's number.


def _DnsName(job):
  return job.replace('_', '-')


def JobSet(args):
  """A Kubernetes JobSet: dict of its YAML.

  The set is complete once the controller has ended, after the last checkpoint; a pod that dies is started again, and goes
  on from the newest one.
  """
  names = cluster_plan.Names(args.mode, args.workers, args.ps, args.data_workers)
  counts = {}
  for job, _ in names:
    counts[job] = counts.get(job, 0) + 1
  # A pod's number is its task; a worker of the data service gives its own name to the trainers.
  addresses = {
    (job, task): f'{args.name}-{_DnsName(job)}-0-{_INDEX if job == "data_worker" else task}.{args.name}:{_PORT}'
    for job, task in names
  }
  first = [job for job in cluster_plan.Plan(args.mode, addresses, args.flags, args.worker_gpus) if job.task == 0]
  return {
    'apiVersion': 'jobset.x-k8s.io/v1alpha2',
    'kind': 'JobSet',
    'metadata': {'name': args.name},
    'spec': {
      'network': {'enableDNSHostnames': True, 'subdomain': args.name},
      'successPolicy': {'operator': 'All', 'targetReplicatedJobs': ['controller']},
      'failurePolicy': {'maxRestarts': args.max_restarts},
      'replicatedJobs': [_ReplicatedJob(args, job, counts[job.name]) for job in first],
    },
  }


def _ReplicatedJob(args, job, count):
  """A JobSet's entry for the `count` jobs of one name, of which `job` is the first."""
  command = [f'--task={_INDEX}' if word == '--task=0' else word for word in job.Command()]
  limits = {'cpu': str(args.cpus), 'memory': args.memory}
  if args.worker_gpus and job.name in ('worker', 'trainer'):
    limits['nvidia.com/gpu'] = str(args.worker_gpus)
  return {
    'name': _DnsName(job.name),
    'replicas': 1,
    'template': {
      'spec': {
        'completionMode': 'Indexed',
        'completions': count,
        'parallelism': count,
        'backoffLimit': args.max_restarts,
        'template': {
          'spec': {
            'restartPolicy': 'OnFailure',
            'containers': [
              {
                'name': 'trainer',
                'image': args.image,
                'command': command,
                'ports': [{'containerPort': _PORT}],
                'resources': {'limits': limits},
              }
            ],
          }
        },
      }
    },
  }


def SlurmScript(args):
  """A script for sbatch: str.

  A node each for the workers or trainers, on which the other jobs are dealt out, too. If a job fails or a node does,
  Slurm starts the script again, and training goes on from the newest checkpoint.
  """
  hosts = [f'${{host[{i}]}}' for i in range(args.workers)]
  names = cluster_plan.Names(args.mode, args.workers, args.ps, args.data_workers)
  jobs = cluster_plan.Plan(args.mode, cluster_plan.OnHosts(names, hosts), args.flags, args.worker_gpus)
  shared = [flag for flag in jobs[-1].flags if not flag.startswith(('--job=', '--task='))]
  gpus = 'env CUDA_VISIBLE_DEVICES="$GPUS" ' if args.worker_gpus else ''
  lines = [
    '#!/bin/bash',
    f'#SBATCH --job-name={args.name}',
    f'#SBATCH --nodes={args.workers}',
    f'#SBATCH --cpus-per-task={args.cpus}',
    f'#SBATCH --mem={args.memory.replace("i", "")}',
    *([f'#SBATCH --gpus-per-node={args.worker_gpus}'] if args.worker_gpus else []),
    '#SBATCH --requeue',
    'set -uo pipefail',
    'mapfile -t host < <(scontrol show hostnames "$SLURM_JOB_NODELIST")',
    'flags=(',
    *(f'  {_Word(flag)}' for flag in shared),
    ')',
    '',
    '# run HOST FLAG...: a job in the background, beside the others of its host.',
    f'run() {{ srun --nodes=1 --ntasks=1 --overlap --nodelist="$1" {gpus}trainer "${{flags[@]}}" "${{@:2}}" & }}',
    *(
      [
        f'serve() {{ srun --nodes=1 --ntasks=1 --overlap --nodelist="$1" {gpus}python -m tools.data_service "${{@:2}}" & }}'
      ]
      if args.data_workers
      else []
    ),
    '',
  ]
  for job in jobs:
    function = 'run' if job.module == cluster_plan.TRAINER else 'serve'
    lines.append(
      ' '.join(
        [
          *([f'GPUS={job.gpus}'] if args.worker_gpus else []),
          function,
          f'"{job.address.rpartition(":")[0]}"',
          *(_Word(flag) for flag in job.flags if flag not in shared),
        ]
      )
    )
    if job.name == 'controller':
      lines.append('controller=$!')
  lines += [
    '',
    '# The controller ends after the last checkpoint; workers and parameter servers never do.',
    'code=0',
    'while kill -0 "$controller" 2> /dev/null && [ "$code" = 0 ]; do wait -n || code=$?; done',
    'jobs -p | xargs -r kill',
    f'if [ "$code" != 0 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {args.max_restarts} ]; then',
    '  scontrol requeue "$SLURM_JOB_ID"',
    'fi',
    'exit "$code"',
  ]
  return '\n'.join(lines) + '\n'


def _Word(word):
  """A word of a command in a shell, in which the hosts' names are filled in."""
  return f'"{word}"' if '${host[' in word else shlex.quote(word)


def _Parser():
  parser = argparse.ArgumentParser(
    prog='cluster_manifests', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--scheduler', required=True, help=f'one of {", ".join(SCHEDULERS)}')
  parser.add_argument('--name', default='fm-lingvo', help='of the job and its pods (default: fm-lingvo)')
  parser.add_argument('--image', default='', help="container image with fm_lingvo's trainer; Kubernetes only")
  cluster_plan.AddFlags(parser)
  parser.add_argument('--cpus', type=int, default=8, help='cores of each job (default: 8)')
  parser.add_argument('--memory', default='32Gi', help='memory of each pod or node (default: 32Gi)')
  parser.add_argument(
    '--max_restarts', type=int, default=10, help='of a pod and of the set, or of the script (default: 10)'
  )
  parser.add_argument('flags', nargs='*', metavar='-- TRAINER_FLAGS', help='--model and --logdir at least')
  return parser


def Manifest(args):
  """The file's text.

  Raises:
    errors.ConfigError: an argument that is missing or wrong.
  """
  if args.scheduler not in SCHEDULERS:
    raise errors.ConfigError(f'--scheduler={args.scheduler}: expected one of {", ".join(SCHEDULERS)}')
  if not _DNS_NAME.fullmatch(args.name):
    raise errors.ConfigError(f'--name={args.name}: expected at most 40 of a-z, 0-9 and -, a letter first')
  if not _MEMORY.fullmatch(args.memory):
    raise errors.ConfigError(f'--memory={args.memory}: expected a number of Mi, Gi or Ti, such as 32Gi')
  cluster_plan.CheckAtLeast(1, cpus=args.cpus)
  cluster_plan.CheckAtLeast(0, max_restarts=args.max_restarts)
  cluster_plan.CheckFlags(args.flags)
  if args.scheduler == 'slurm':
    return SlurmScript(args)
  if not args.image:
    raise errors.ConfigError("--image is missing: the container image with fm_lingvo's trainer")
  return yaml.safe_dump(JobSet(args), sort_keys=False, width=1000)


def Main(argv):
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args(argv[1:])
  return exit_codes.Report('cluster_manifests', lambda: print(Manifest(args), end=''))


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
