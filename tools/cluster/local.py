"""Runs a cluster's jobs as processes on this machine, restarts those that die, and stops all when training is over."""

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
_LAST_SECONDS = 600  # Time for the last checkpoint and its evaluation after the trainers have ended.
_STOP_SECONDS = 10


def FreeAddresses(names: Sequence[plan.Name]) -> dict[plan.Name, str]:
  """Returns localhost:PORT for each job, with free ports."""
  with contextlib.ExitStack() as stack:
    sockets = [stack.enter_context(socket.create_server(('localhost', 0))) for _ in names]
    return {name: f'localhost:{s.getsockname()[1]}' for name, s in zip(names, sockets)}


class Cluster:
  """The processes of a list of jobs."""

  def __init__(self, jobs: Sequence[plan.Job], log_dir: str, max_restarts: int = 0):
    """Constructor; starts nothing.

    Args:
      jobs: Jobs of plan.Plan and plan.Evaluations.
      log_dir: Folder for the outputs of the jobs, JOB-TASK.log; Start creates it.
      max_restarts: How often each job is restarted after it has died.
    """
    self._jobs, self._log_dir, self._restarts = jobs, log_dir, dict.fromkeys(jobs, max_restarts)
    self._processes = {}
    self._done = set()

  def Start(self) -> None:
    """Starts every job.

    Raises:
      errors.RunError: The folder for the logs cannot be created.
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
    """Waits until training is over and the last checkpoint is saved and evaluated; restarts jobs that die.

    Raises:
      errors.RunError: A job died more often than it may be restarted, or did not end in time.
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
    """Checks once which jobs have ended, restarts those that died, and sleeps."""
    for job, process in list(self._processes.items()):
      code = process.poll()
      if code is None or job in self._done:
        continue
      if code == 0 and job.name not in plan.SERVERS:
        print(f'{job.title}: done', flush=True)
        self._done.add(job)
      elif self._restarts[job]:
        self._restarts[job] -= 1
        print(f'{job.title}: ended with exit code {code}, restarted', flush=True)
        self._StartJob(job)
      else:
        raise errors.RunError(f'{job.title} ended with exit code {code}; see {self._Log(job)}')
    time.sleep(_POLL_SECONDS)

  def Stop(self) -> None:
    """Stops every job that is still running."""
    running = [process for process in self._processes.values() if process.poll() is None]
    for process in running:
      process.terminate()
    deadline = time.time() + _STOP_SECONDS
    for process in running:
      try:
        process.wait(max(0.1, deadline - time.time()))
      except subprocess.TimeoutExpired:  # TensorFlow's servers ignore SIGTERM.
        with contextlib.suppress(ProcessLookupError):  # It has ended meanwhile.
          os.killpg(process.pid, signal.SIGKILL)
        process.wait()
