"""A cluster's jobs as processes on this machine: started, started again when they die, ended when training is over."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from fm_lingvo import errors

from ..common import interrupts
from . import plan

_POLL_SECONDS = 0.5
_LAST_SECONDS = 600  # For the last checkpoint and its evaluation, after the trainers have ended.
_STOP_SECONDS = 10


def FreeAddresses(names: Sequence[plan.Name]) -> dict[plan.Name, str]:
  """localhost:PORT for each job, with ports that nothing listens on."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.create_server(('localhost', 0))) for _ in names]
    return {name: f'localhost:{s.getsockname()[1]}' for name, s in zip(names, sockets)}


class Cluster:
  """The processes of a list of jobs."""

  def __init__(self, jobs: Sequence[plan.Job], log_dir: str, max_restarts: int = 0):
    """Creates it; nothing is started.

    Args:
      jobs: of plan.Plan and plan.Evaluations.
      log_dir: for JOB-TASK.log, the output of each job; it is made.
      max_restarts: times that each job is started again after it has died.
    """
    self._jobs, self._log_dir, self._restarts = jobs, log_dir, dict.fromkeys(jobs, max_restarts)
    self._processes = {}
    self._done = set()

  def Start(self) -> None:
    """Starts every job.

    Raises:
      errors.RunError: the folder for the logs cannot be made.
    """
    with errors.Writing(self._log_dir):
      os.makedirs(self._log_dir, exist_ok=True)
    for job in self._jobs:
      self._StartJob(job)

  def _StartJob(self, job):
    with open(self._Log(job), 'ab') as log, interrupts.Held():
      self._processes[job] = subprocess.Popen(
        job.Command([sys.executable, '-m', plan.TRAINER], sys.executable),
        stdout=log,
        stderr=log,
        start_new_session=True,
      )

  def _Log(self, job):
    return os.path.join(self._log_dir, f'{job.title}.log')

  def Wait(self) -> None:
    """Waits until training is over and the last checkpoint is saved and evaluated.

    Raises:
      errors.RunError: a job ended too early, more often than it may, or did not end.
    """
    while not any(job.trains for job in self._done):
      self._Poll()
    deadline = time.time() + _LAST_SECONDS
    while late := [job for job in self._jobs if job.ends_last and job not in self._done]:
      if time.time() > deadline:
        raise errors.RunError(
          f'{", ".join(job.title for job in late)}: not ended {_LAST_SECONDS} s after training; see {self._log_dir}'
        )
      self._Poll()

  def _Poll(self):
    """Looks once which jobs have ended, and starts those again that have died."""
    for job, process in list(self._processes.items()):
      code = process.poll()
      if code is None or job in self._done:
        continue
      if code == 0 and job.name not in plan.SERVERS:
        print(f'{job.title}: done', flush=True)
        self._done.add(job)
      elif self._restarts[job]:
        self._restarts[job] -= 1
        print(f'{job.title}: ended with exit code {code}, started again', flush=True)
        self._StartJob(job)
      else:
        raise errors.RunError(f'{job.title} ended with exit code {code}; see {self._Log(job)}')
    time.sleep(_POLL_SECONDS)

  def Stop(self) -> None:
    """Ends every job that still runs."""
    running = [process for process in self._processes.values() if process.poll() is None]
    for process in running:
      process.terminate()
    deadline = time.time() + _STOP_SECONDS
    for process in running:
      try:
        process.wait(max(0.1, deadline - time.time()))
      except subprocess.TimeoutExpired:  # TensorFlow's servers ignore SIGTERM.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
