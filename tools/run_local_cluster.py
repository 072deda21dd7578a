"""A training cluster of real processes on this machine, as it would be on several hosts.

  python -m tools.run_local_cluster --mode=sync --workers=2 -- --model=asr.BestRqPretrain --logdir=runs/cluster
  python -m tools.run_local_cluster --mode=async --workers=2 --ps=1 -- --model=asr.BestRqPretrain --logdir=runs/cluster
  python -m tools.run_local_cluster --mode=sync --workers=2 --hosts=a,b -- --model=...   # only prints the commands

What follows -- are flags of the trainer. Each job's output is in LOGDIR/jobs/JOB-TASK.log, of a remote LOGDIR in
runs/jobs/JOB-TASK.log here. A job that dies is started again, up to --max_restarts times, and goes on from the newest
checkpoint. The jobs that wait for ever are ended once training is over, all of them on Ctrl-C. Exit codes: 0 trained, 1 a job
failed, 2 wrong usage, 130 and 143 stopped by Ctrl-C and SIGTERM.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

from fm_lingvo import errors

from . import cluster_plan
from . import loopback
from .common import interrupts

_POLL_SECONDS = 0.5
# After the trainers have ended the controller saves the last checkpoint, and evaluation jobs look for it.
_LAST_SECONDS = 600


def FreeAddresses(names):
  """dict (job, task) -> localhost:PORT, of ports that nothing listens on."""
  sockets = []
  try:
    for _ in names:
      sockets.append(socket.socket())
      sockets[-1].bind(('localhost', 0))
    return {name: f'localhost:{s.getsockname()[1]}' for name, s in zip(names, sockets)}
  finally:
    for s in sockets:
      s.close()


class JobFailed(Exception):
  """A job ended too early, or not at all."""


class Cluster:
  """The processes of a list of cluster_plan.Job."""

  def __init__(self, jobs, log_dir, max_restarts=0):
    self._jobs, self._log_dir, self._restarts = jobs, log_dir, dict.fromkeys(jobs, max_restarts)
    self._children = {}
    self._done = set()

  def Start(self):
    """Starts every job."""
    with errors.Writing(self._log_dir):
      os.makedirs(self._log_dir, exist_ok=True)
    for job in self._jobs:
      self._StartJob(job)

  def _StartJob(self, job):
    with open(os.path.join(self._log_dir, f'{job.title}.log'), 'ab') as log, interrupts.Held():
      self._children[job] = subprocess.Popen(
        job.Command([sys.executable, '-m', cluster_plan.TRAINER], sys.executable),
        stdout=log,
        stderr=log,
        start_new_session=True,
      )

  def Wait(self):
    """Waits until training is over.

    Raises:
      JobFailed: a job ended too early, more often than it may.
    """
    while not any(job.leads for job in self._done):
      self._Poll()
      time.sleep(_POLL_SECONDS)
    deadline = time.time() + _LAST_SECONDS
    while not self._done.issuperset(job for job in self._jobs if job.name == 'controller' or job.evaluates):
      if time.time() > deadline:
        late = [job.title for job in self._jobs if job.evaluates or job.name == 'controller' if job not in self._done]
        raise JobFailed(f'{", ".join(late)}: not ended {_LAST_SECONDS} s after training; see {self._log_dir}')
      self._Poll()
      time.sleep(_POLL_SECONDS)

  def _Poll(self):
    for job, child in list(self._children.items()):
      code = child.poll()
      if code is None or job in self._done:
        continue
      if code == 0 and job.name not in cluster_plan.SERVERS:
        print(f'{job.title}: done', flush=True)
        self._done.add(job)
      elif self._restarts[job]:
        self._restarts[job] -= 1
        print(f'{job.title}: ended with exit code {code}, started again', flush=True)
        self._StartJob(job)
      else:
        raise JobFailed(f'{job.title} ended with exit code {code}; see {os.path.join(self._log_dir, job.title)}.log')

  def Stop(self):
    """Ends every job that still runs."""
    running = [child for child in self._children.values() if child.poll() is None]
    for child in running:
      child.terminate()
    deadline = time.time() + 10
    for child in running:
      try:
        child.wait(max(0.1, deadline - time.time()))
      except subprocess.TimeoutExpired:  # TensorFlow's servers heed no SIGTERM.
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _Parser():
  parser = argparse.ArgumentParser(
    prog='run_local_cluster', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  cluster_plan.AddFlags(parser)
  parser.add_argument(
    '--max_restarts', type=int, default=0, help='times that each job that dies is started again (default: 0)'
  )
  parser.add_argument(
    '--network',
    choices=('loopback', 'host'),
    default='loopback',
    help='loopback: jobs reach each other and '
    "nothing else, nobody reaches them; host: the machine's network (default: loopback)",
  )
  parser.add_argument('--evaluate', default='', help='data sets to evaluate, comma-separated, a job for each')
  parser.add_argument(
    '--hosts', default='', help='print the commands for these hosts, comma-separated, and start nothing'
  )
  parser.add_argument('flags', nargs='*', metavar='-- TRAINER_FLAGS', help='--model and --logdir at least')
  return parser


def _LogDir(flags):
  """Value of --logdir among the trainer's flags."""
  cluster_plan.CheckFlags(flags)
  return [flag for flag in flags if flag.startswith('--logdir=')][-1].partition('=')[2]


def _EnterLoopback(log_dir):
  """Hides the cluster's ports from other machines and processes, or says that they are open."""
  reason = 'a remote --logdir needs the network' if '://' in log_dir else loopback.Enter()
  if reason:
    print(
      f'run_local_cluster: warning: the jobs listen on every interface, and obey whoever connects ({reason})',
      file=sys.stderr,
      flush=True,
    )


def _Run(args):
  """Runs what is asked for; returns the exit code."""
  cluster_plan.CheckAtLeast(0, max_restarts=args.max_restarts)
  run = _LogDir(args.flags)
  log_dir = os.path.join('runs' if '://' in run else run, 'jobs')
  names = cluster_plan.Names(args.mode, args.workers, args.ps, args.data_workers)
  hosts = [host for host in args.hosts.split(',') if host]
  if args.hosts and not hosts:
    raise errors.ConfigError(f'--hosts={args.hosts}: expected names of hosts, such as a,b')
  addresses = cluster_plan.OnHosts(names, hosts) if hosts else FreeAddresses(names)
  if not hosts and args.network == 'loopback':
    _EnterLoopback(run)
    addresses = FreeAddresses(names)  # Of the network that it is in now.
  jobs = cluster_plan.Plan(args.mode, addresses, args.flags, args.worker_gpus)
  jobs += cluster_plan.Evaluations(
    [name for name in args.evaluate.split(',') if name], args.flags, hosts[-1] if hosts else 'localhost'
  )
  for job in jobs:
    print(f'# {job.title} on {job.address.partition(":")[0]}\n{job.CommandLine()}', flush=True)
  if hosts:
    return 0
  cluster = Cluster(jobs, log_dir, args.max_restarts)
  try:
    cluster.Start()
    cluster.Wait()
  finally:
    cluster.Stop()
  print(f'done: {run}')
  return 0


def Main(argv):
  """Runs the tool; returns the exit code."""
  args = _Parser().parse_args(argv[1:])
  interrupts.Raise()
  try:
    return _Run(args)
  except (errors.ConfigError, errors.RunError, JobFailed) as e:
    print(f'run_local_cluster: {e}', file=sys.stderr)
    return 2 if isinstance(e, errors.ConfigError) else 1
  except KeyboardInterrupt as e:
    print('run_local_cluster: stopped; the same command goes on from the newest checkpoint', file=sys.stderr)
    return 128 + e.args[0]


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
