"""One process in a race: started, told to take its turn, ended; what it fails at is kept as a reason."""

import dataclasses
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading

from fm_lingvo.runtime import huge_pages

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def FromRoot(text):
  """A text with files of the checkout named from its root, those of a linked environment too."""
  linked = [os.path.dirname(os.path.realpath(os.path.join(ROOT, name))) for name in ('build', '.venv')]
  for folder in (ROOT, *linked):
    text = text.replace(folder + os.sep, '')
  return text


@dataclasses.dataclass
class Party:
  """Who runs: a module that calls worker.Serve, in some Python."""

  name: str  # As the table calls it.
  module: str
  sizes: dict
  python: str = sys.executable
  path: tuple = ()  # Folders of packages beside that Python's own.
  versions: dict = dataclasses.field(default_factory=dict)
  missing: str = ''  # Why it cannot run at all; '' if it can.


@dataclasses.dataclass
class Measured:
  """What a Party's turns took."""

  party: Party
  clock: str  # seconds or cpu_seconds: which of them counts.
  turns: list = dataclasses.field(default_factory=list)  # See worker.py.
  facts: dict = dataclasses.field(default_factory=dict)
  failed: str = ''  # Why there are no figures, or why they do not count.

  @property
  def seconds(self):
    """Median over the turns."""
    return self.Median(self.clock)

  @property
  def peak_gb(self):
    """Median of the most memory that a turn took beside the inputs."""
    return self.Median('peak_gb')

  def Median(self, figure):
    """Median over the turns of a figure that they have."""
    return statistics.median(turn[figure] for turn in self.turns)

  def Json(self):
    """What benchmark.json keeps of a party."""
    if self.failed:
      return {'versions': self.party.versions, 'failed': self.failed}
    return {
      'versions': self.party.versions,
      'seconds': self.seconds,
      'peak_gb': self.peak_gb,
      'turns': [turn[self.clock] for turn in self.turns],
    }


class Runner:
  """A Party's process, which begins to set up at once. Once `measured.failed` is set, the process has ended."""

  def __init__(self, party, threads, clock, limit_seconds):
    self.measured = Measured(party, clock, failed=party.missing)
    self._limit = limit_seconds
    if party.missing:
      return
    self._errors = tempfile.TemporaryFile()
    self._process = subprocess.Popen(
      [party.python, '-m', party.module, json.dumps({**party.sizes, 'threads': threads})],
      cwd=ROOT,
      text=True,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=self._errors,
      env=_Environment(threads, party.path),
    )

  def AwaitSetUp(self):
    """Returns once it is set up."""
    if not self.measured.failed:
      self._Read()

  def WarmUp(self):
    """The first call."""
    self.measured.facts = self._Ask().get('facts', {})

  def Turn(self):
    """One turn more."""
    answer = self._Ask()
    if answer:
      self.measured.turns.append(answer)

  def _Ask(self):
    """Its answer to a line; {} after a failure."""
    if self.measured.failed:
      return {}
    try:
      self._process.stdin.write('go on\n')
      self._process.stdin.flush()
    except BrokenPipeError:
      pass  # Its end is what _Read finds.
    return self._Read()

  def _Read(self):
    """The process' next answer; {} once it has failed."""
    timer = threading.Timer(self._limit, self._process.kill)
    timer.start()
    line = self._process.stdout.readline()
    late = not timer.is_alive()
    timer.cancel()
    if line:
      return json.loads(line)
    self._process.wait()
    self._errors.seek(0)
    text = FromRoot(self._errors.read().decode(errors='replace'))
    self.measured.failed = (
      f'took over {self._limit:g} s' if late else _Reason(text) or f'exit code {self._process.returncode}'
    )
    return {}

  def Close(self):
    """Ends the process."""
    if not self.measured.party.missing:
      self._process.stdin.close()
      self._process.stdout.close()
      self._process.kill()  # It may wait in threads of its own.
      self._process.wait()
      self._errors.close()


def Race(parties, rounds, threads, clock='seconds', limit_seconds=600.0):
  """Lets parties take turns: A B C, A B C, ..., so that whatever slows the machine slows all.

  All stay loaded, and wait while others run. Only setting up, which nothing measures, as many do at a time as have a thread.

  Args:
    parties: List of Party.
    rounds: Turns of each.
    threads: Of each.
    clock: seconds (wall clock) or cpu_seconds (of the processor).
    limit_seconds: A process that takes longer to set up, or for a turn, is ended.

  Returns:
    dict: party's name -> Measured.
  """
  runners = []
  try:
    for start in range(0, len(parties), threads):
      for party in parties[start : start + threads]:
        runners.append(Runner(party, threads, clock, limit_seconds))
      for runner in runners[start:]:
        runner.AwaitSetUp()
    for runner in runners:
      runner.WarmUp()
    for _ in range(rounds):
      for runner in runners:
        runner.Turn()
  finally:
    for runner in runners:
      runner.Close()
  return {runner.measured.party.name: runner.measured for runner in runners}


def _Reason(text):
  """The line of a process' errors that says what went wrong: its last exception, else its last line."""
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  raised = [line for line in lines if re.match(r'[\w.]*(Error|Exception)\w*: .*[^:]$', line)]
  return (raised or lines or [''])[-1][:200]


def _Environment(threads, path):
  """Of a process: its threads, its packages, no chatter, and no kernels of NumPy but the processor's best."""
  env = {name: value for name, value in os.environ.items() if not name.startswith('OPENBLAS_')}
  for name in (
    'OMP_NUM_THREADS',
    'MKL_NUM_THREADS',
    'OPENBLAS_NUM_THREADS',
    'TF_NUM_INTRAOP_THREADS',
    'TF_NUM_INTEROP_THREADS',
  ):
    env[name] = str(threads)
  # As the trainer's, and the peers' too, which do not ask for it themselves: fm_lingvo/runtime/huge_pages.py.
  env['GLIBC_TUNABLES'] = huge_pages.TUNABLE
  env.update(PYTHONPATH=os.pathsep.join([ROOT, *path]), TF_CPP_MIN_LOG_LEVEL='3', CUDA_VISIBLE_DEVICES='')
  return env
