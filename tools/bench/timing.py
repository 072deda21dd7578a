"""Interleaved timing of worker processes: A B C, A B C, ..., so that whatever slows the machine slows all of them."""

import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from typing import Any

from fm_lingvo.runtime import huge_pages

from ..common import exit_codes
from ..common import this_machine

ROOT = this_machine.ROOT


@dataclasses.dataclass
class Worker:
  """A process that times one function, and what it measured. worker.py is what it runs."""

  name: str  # As the table shows it.
  module: str  # With the function SetUp, such as `.ours.step`.
  sizes: dict  # Argument of SetUp.
  is_peer: bool = False
  max_turns: int | None = None  # Fewer than the others take.
  python: str = dataclasses.field(default_factory=lambda: sys.executable)  # Read anew: tests replace it by forks.
  path: tuple[str, ...] = ()  # Folders of packages beside that Python's own.
  versions: dict = dataclasses.field(default_factory=dict)
  failed: str = ''  # Why there are no figures, or why they do not count; set before Time: why it cannot run.
  # Set by Time.
  turns: list[dict] = dataclasses.field(default_factory=list)  # Figures of each turn, see worker.py.
  facts: dict = dataclasses.field(default_factory=dict)
  clock: str = 'seconds'

  @property
  def seconds(self) -> float:
    """Median over the turns, by the clock that counts."""
    return self.Median(self.clock)

  @property
  def peak_gb(self) -> float:
    """Median over the turns of the peak memory beside the inputs."""
    return self.Median('peak_gb')

  def Median(self, figure: str) -> float:
    """Median over the turns of one of their figures."""
    return statistics.median(turn[figure] for turn in self.turns)

  def Json(self) -> dict[str, Any]:
    """What benchmark.json keeps of a worker."""
    if self.failed:
      return {'versions': self.versions, 'failed': self.failed}
    return {
      'versions': self.versions,
      'seconds': self.seconds,
      'peak_gb': self.peak_gb,
      'turns': [turn[self.clock] for turn in self.turns],
    }


def Time(
  workers: list[Worker], rounds: int, threads: int, clock: str = 'seconds', limit_seconds: float = 600.0
) -> None:
  """Starts all workers, then lets each take a turn in every round, and fills in what they measured.

  All stay loaded, and wait while others run. As many as there are threads set up at the same time: that is not
  measured.

  Args:
    workers: A worker that fails gets `failed`, and the others go on.
    rounds: Turns of each.
    threads: Of each.
    clock: seconds (wall clock) or cpu_seconds (processor time).
    limit_seconds: A process that takes longer to set up, or for a turn, is killed.
  """
  processes = []
  try:
    for start in range(0, len(workers), threads):
      processes += [
        _Process(w, threads, clock, limit_seconds) for w in workers[start : start + threads] if not w.failed
      ]
      for process in processes:
        process.AwaitSetUp()
    for process in processes:
      process.worker.facts = process.Ask().get('facts', {})  # After a call that is not measured.
    for turn in range(rounds):
      for process in processes:
        if process.worker.max_turns is None or turn < process.worker.max_turns:
          answer = process.Ask()
          if answer:
            process.worker.turns.append(answer)
  finally:
    for process in processes:
      process.Close()


class _Process:
  """The running process of a worker. Once `worker.failed` is set, the process has ended."""

  def __init__(self, worker, threads, clock, limit_seconds):
    """Starts it; it begins to set up at once."""
    self.worker, self._limit, self._is_set_up = worker, limit_seconds, False
    worker.clock = clock
    self._errors = tempfile.TemporaryFile()
    self._process = subprocess.Popen(
      [worker.python, '-m', f'{__package__}.worker', worker.module, json.dumps({**worker.sizes, 'threads': threads})],
      cwd=ROOT,
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      env=_Environment(threads, worker.path),
    )

  def AwaitSetUp(self):
    """Returns once it is set up."""
    if not self._is_set_up:
      self._is_set_up = True
      self._Read()

  def Ask(self):
    """Sends a line and returns the answer; {} once it has failed."""
    if self.worker.failed:
      return {}
    try:
      self._process.stdin.write('\n')
      self._process.stdin.flush()
    except BrokenPipeError:
      pass  # The process has ended: _Read says why.
    return self._Read()

  def _Read(self):
    """The next answer; {} if there is none, and then `worker.failed` says why."""
    timer = threading.Timer(self._limit, self._process.kill)
    timer.start()
    line = self._process.stdout.readline()
    late = not timer.is_alive()
    timer.cancel()
    if line:
      return json.loads(line)
    self._process.wait()
    self._errors.seek(0)
    why = exit_codes.Why(FromRoot(self._errors.read().decode(errors='replace')), self._process.returncode)
    self.worker.failed = f'took over {self._limit:g} s' if late else why
    return {}

  def Close(self):
    """Ends the process."""
    with contextlib.suppress(BrokenPipeError):  # It has ended, and what Ask wrote is still in the buffer.
      self._process.stdin.close()
    self._process.stdout.close()
    self._process.kill()  # Its own threads may keep it alive.
    self._process.wait()
    self._errors.close()


def FromRoot(text: str) -> str:
  """A text in which paths in the checkout are relative to its root, those in linked environments too."""
  linked = [os.path.dirname(os.path.realpath(os.path.join(ROOT, name))) for name in ('build', '.venv')]
  for folder in (ROOT, *linked):
    text = text.replace(folder + os.sep, '')
  return text


def _Environment(threads, path):
  """Of a worker: threads, packages, no log lines, no GPU, huge pages, and NumPy's best kernels for the processor."""
  env = {name: value for name, value in os.environ.items() if not name.startswith('OPENBLAS_')}
  for name in (
    'OMP_NUM_THREADS',
    'MKL_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'TF_NUM_INTRAOP_THREADS',
    'TF_NUM_INTEROP_THREADS',
  ):
    env[name] = str(threads)
  # The trainer asks for huge pages; peers do not, but get them too: see fm_lingvo/runtime/huge_pages.py.
  env['GLIBC_TUNABLES'] = huge_pages.TUNABLE
  env.update(PYTHONPATH=os.pathsep.join([ROOT, *path]), TF_CPP_MIN_LOG_LEVEL='3', CUDA_VISIBLE_DEVICES='')
  return env
