"""Runs a training cluster as processes on this machine, or prints its commands for several hosts.

  python -m tools.run_local_cluster --mode=sync --workers=2 -- --model=asr.BestRqPretrain --logdir=runs/cluster
  python -m tools.run_local_cluster --mode=async --workers=2 --ps=1 -- --model=asr.BestRqPretrain --logdir=runs/cluster
  python -m tools.run_local_cluster --mode=sync --workers=2 --hosts=a,b -- --model=...   # only prints the commands

The arguments after -- are flags of the trainer. The output of each job goes to LOGDIR/jobs/JOB-TASK.log, or to
runs/jobs/JOB-TASK.log on this machine if LOGDIR is remote. A job that dies is restarted, up to --max_restarts times,
and training resumes from the newest checkpoint. Servers are stopped when training is over, all jobs on Ctrl-C. Exit
codes: 0 trained, 1 a job failed, 2 wrong usage, 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import os
import shlex
import sys

from fm_lingvo import errors

from .cluster import local
from .cluster import loopback
from .cluster import plan
from .common import command_line
from .common import exit_codes
from .common import interrupts


def _Parser():
  parser = command_line.Parser('run_local_cluster', __doc__)
  plan.AddFlags(parser)
  parser.add_argument(
    '--max_restarts', type=int, default=0, help='how often each job is restarted if it dies (default: 0)'
  )
  parser.add_argument(
    '--network',
    choices=('loopback', 'host'),
    default='loopback',
    help="loopback: the jobs' own network, isolated from all others; host: the machine's network (default: loopback)",
  )
  parser.add_argument('--evaluate', default='', help='data sets to evaluate, comma-separated; each gets its own job')
  parser.add_argument(
    '--hosts', default='', help='only print the commands for these hosts, comma-separated; start nothing'
  )
  return parser


def _EnterLoopback(log_dir):
  """Isolates the cluster's ports from other machines and processes, or warns that they are open."""
  reason = 'a remote --logdir needs the network' if '://' in log_dir else loopback.Enter()
  if reason:
    print(
      f'run_local_cluster: warning: the jobs listen on every interface and accept any connection ({reason})',
      file=sys.stderr,
      flush=True,
    )


def _Jobs(args, logdir):
  """Returns the jobs that the arguments describe, on --hosts or on this machine, whose network it then enters."""
  names = plan.Names(args.mode, args.workers, args.ps, args.data_workers)
  hosts = [host for host in args.hosts.split(',') if host]
  if args.hosts and not hosts:
    raise errors.ConfigError(f'--hosts={args.hosts}: expected names of hosts, such as a,b')
  for host in hosts:
    if ':' in host and not (host.startswith('[') and host.endswith(']')):
      raise errors.ConfigError(f'--hosts: {host}: expected a name without a port, or [{host}] for an address of IPv6')
  if not hosts and args.network == 'loopback':
    _EnterLoopback(logdir)
  addresses = plan.OnHosts(names, hosts) if hosts else local.FreeAddresses(names)
  return plan.Plan(args.mode, addresses, args.flags, args.worker_gpus) + plan.Evaluations(
    [name for name in args.evaluate.split(',') if name], args.flags, hosts[-1] if hosts else 'localhost'
  )


def _Run(args):
  """Prints the jobs' commands and, without --hosts, runs them; returns the exit code."""
  plan.CheckAtLeast(0, max_restarts=args.max_restarts)
  logdir = plan.CheckFlags(args.flags)['logdir']
  jobs = _Jobs(args, logdir)
  for job in jobs:
    print(f'# {job.title} on {job.host}\n{shlex.join(job.Command())}', flush=True)
  if args.hosts:
    return 0
  cluster = local.Cluster(jobs, os.path.join('runs' if '://' in logdir else logdir, 'jobs'), args.max_restarts)
  try:
    cluster.Start()
    cluster.Wait()
  finally:
    cluster.Stop()
  print(f'done: {logdir}')
  return 0


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args((argv or sys.argv)[1:])
  interrupts.Raise()
  return exit_codes.Report(
    'run_local_cluster', lambda: _Run(args), 'stopped; the same command resumes from the newest checkpoint'
  )


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
