"""Files for schedulers, from the same plan as a local cluster: a Kubernetes JobSet, a Slurm script.

`args` are the arguments of tools/cluster_manifests.py.
"""

from __future__ import annotations

import argparse
import collections
import re
import shlex
from typing import Any

import yaml

from fm_lingvo import errors

from . import plan

SCHEDULERS = ('kubernetes', 'slurm')
# DNS names. JobSet adds up to 20 characters for the name of a pod.
_DNS_NAME = re.compile(r'[a-z]([a-z0-9-]{0,38}[a-z0-9])?')
_MEMORY = re.compile(r'[1-9]\d*[MGT]i')
_PORT = plan.FIRST_PORT  # The same on every pod, since each has its own address.
_INDEX = '$(JOB_COMPLETION_INDEX)'  # Kubernetes replaces it with the pod's number.


def Manifest(args: argparse.Namespace) -> str:
  """Returns the text of the file.

  Raises:
    errors.ConfigError: An argument is missing or wrong.
  """
  if args.scheduler not in SCHEDULERS:
    raise errors.ConfigError(f'--scheduler={args.scheduler}: expected one of {", ".join(SCHEDULERS)}')
  if not _DNS_NAME.fullmatch(args.name):
    raise errors.ConfigError(f'--name={args.name}: expected at most 40 of a-z, 0-9 and -, a letter first')
  if not _MEMORY.fullmatch(args.memory):
    raise errors.ConfigError(f'--memory={args.memory}: expected a number of Mi, Gi or Ti, such as 32Gi')
  plan.CheckAtLeast(1, cpus=args.cpus)
  plan.CheckAtLeast(0, max_restarts=args.max_restarts)
  plan.CheckFlags(args.flags)
  if args.scheduler == 'slurm':
    return _SlurmScript(args)
  if not args.image:
    raise errors.ConfigError("--image is missing: the container image with fm_lingvo's trainer")
  return yaml.safe_dump(_JobSet(args), sort_keys=False, width=1000)


def _DnsName(job):
  return job.replace('_', '-')


def _JobSet(args: argparse.Namespace) -> dict[str, Any]:
  """Returns a Kubernetes JobSet.

  The set is complete when the controller ends, after the last checkpoint. A pod that dies is restarted, and training
  resumes from the newest checkpoint.
  """
  names = plan.Names(args.mode, args.workers, args.ps, args.data_workers)
  counts = collections.Counter(job for job, _ in names)
  # A pod's number is its task. The command of a data worker contains its own address, which therefore has the number.
  addresses = {
    (job, task): f'{args.name}-{_DnsName(job)}-0-{_INDEX if job == "data_worker" else task}.{args.name}:{_PORT}'
    for job, task in names
  }
  first = [job for job in plan.Plan(args.mode, addresses, args.flags, args.worker_gpus) if job.task == 0]
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
  """Returns a JobSet's entry for `count` jobs with one name; `job` is the first of them."""
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


def _SlurmScript(args: argparse.Namespace) -> str:
  """Returns a script for sbatch.

  Each worker or trainer has a node; the other jobs are distributed over these nodes. If a job or a node fails, Slurm
  requeues the script, and training resumes from the newest checkpoint.
  """
  hosts = [f'${{host[{i}]}}' for i in range(args.workers)]
  names = plan.Names(args.mode, args.workers, args.ps, args.data_workers)
  jobs = plan.Plan(args.mode, plan.OnHosts(names, hosts), args.flags, args.worker_gpus)
  shared = [flag for flag in jobs[-1].flags if not flag.startswith(('--job=', '--task='))]
  srun = 'srun --nodes=1 --ntasks=1 --overlap --nodelist="$1"'
  srun += ' env CUDA_VISIBLE_DEVICES="$GPUS"' if args.worker_gpus else ''
  serve = [f'serve() {{ {srun} python -m {plan.DATA_SERVICE} "${{@:2}}" & }}'] if args.data_workers else []
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
    '# run HOST FLAG...: starts a job in the background; jobs may share a host.',
    f'run() {{ {srun} trainer "${{flags[@]}}" "${{@:2}}" & }}',
    *serve,
    '',
  ]
  for job in jobs:
    function = 'run' if job.module == plan.TRAINER else 'serve'
    lines.append(
      ' '.join(
        [
          *([f'GPUS={job.gpus}'] if args.worker_gpus else []),
          function,
          f'"{job.host}"',
          *(_Word(flag) for flag in job.flags if flag not in shared),
        ]
      )
    )
    if job.name == 'controller':
      lines.append('controller=$!')
  lines += [
    '',
    '# The controller ends after the last checkpoint; workers and parameter servers do not end.',
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
  """Quotes a word for the shell, which still expands host variables in it."""
  return f'"{word}"' if '${host[' in word else shlex.quote(word)
