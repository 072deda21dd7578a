"""Programs run as real processes, which a fault can kill, starve or break.

  with Started(['trainer', '--model=...'], folder) as child: child.Kill(signal.SIGTERM)
  done = Run(['trainer', '--model=...', '--dry_run'], folder)
  done = Command('tools.transcribe', [...], folder)

Importing TensorFlow takes seconds, so Started and Run fork a process that has imported it. Command starts a new
interpreter, as a user's command does.
"""

import importlib
import multiprocessing
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time
import typing
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT_SECONDS = 300.0


class Done(typing.NamedTuple):
  """A process that has ended."""

  code: int  # Exit code; -N after signal N.
  out: str
  err: str
  cpu_seconds: float = 0.0  # User time, without start-up in a fork; 0 where the process was killed.
  hung: bool = False  # It did not end in time, and was killed.

  @property
  def last_error(self):
    """Last line of standard error."""
    return (self.err.strip().splitlines() or [''])[-1]

  @property
  def is_clean(self):
    """Whether it ended by itself and without a traceback."""
    return not self.hung and 'Traceback (most recent call last)' not in self.out + self.err


class Started:
  """A running trainer, or another program; as a context, it is killed at the end."""

  def __init__(self, argv, folder, patch=None, module='fm_lingvo.trainer'):
    """Starts it.

    Args:
      argv: 'trainer' and its arguments.
      folder: Its working directory, which also holds its output while it runs.
      patch: Called in the process before the trainer; a function of a module, or a functools.partial of one.
      module: Of the program, with a function Main.
    """
    os.makedirs(folder, exist_ok=True)
    self._base = os.path.join(folder, f'.process-{uuid.uuid4().hex[:8]}')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['tests.faults.preload'])
    self._process = context.Process(target=_Main, args=(list(argv), folder, self._base, patch, module))
    self._process.start()

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self.Kill()

  @property
  def pid(self):
    return self._process.pid

  @property
  def alive(self):
    return self._process.is_alive()

  def Kill(self, signum=signal.SIGKILL):
    """Sends a signal; SIGKILL goes to all that the process has started, too, and its end is waited for."""
    if signum != signal.SIGKILL:
      if self.alive:
        os.kill(self.pid, signum)
      return
    try:
      os.killpg(self.pid, signal.SIGKILL)
    except ProcessLookupError:  # It does not lead its group yet, or nothing is left.
      self._process.kill()
    self._process.join()

  def WaitFor(self, pattern, seconds=TIMEOUT_SECONDS):
    """Waits until its output matches a regular expression or it has ended; returns the match, or None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
      alive = self.alive
      found = re.search(pattern, self._Read('out'))
      if found or not alive:
        return found
      time.sleep(0.02)
    return None

  def Wait(self, seconds=TIMEOUT_SECONDS):
    """Waits for its end, and kills it after some time; returns a Done."""
    self._process.join(seconds)
    hung = self.alive
    self.Kill()
    done = Done(self._process.exitcode, self._Read('out'), self._Read('err'), float(self._Read('cpu') or 0), hung)
    for suffix in ('out', 'err', 'cpu'):
      self._File(suffix).unlink(missing_ok=True)
    return done

  def _File(self, suffix):
    return pathlib.Path(f'{self._base}.{suffix}')

  def _Read(self, suffix):
    return self._File(suffix).read_text(errors='replace') if self._File(suffix).exists() else ''


def Run(argv, folder, patch=None, seconds=TIMEOUT_SECONDS):
  """Runs a trainer to its end, as Started; returns a Done."""
  return Started(argv, folder, patch).Wait(seconds)


def Command(module, argv, folder, env=None, prefix=(), seconds=TIMEOUT_SECONDS):
  """Runs `python -m MODULE ARGV` to its end.

  Args:
    module: Of the program.
    argv: Its arguments.
    folder: Its working directory.
    env: Variables of the environment to set.
    prefix: Words before the command, such as unshare --net.
    seconds: After these it is killed.

  Returns:
    A Done.
  """
  before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
  child = subprocess.Popen(
    [*prefix, sys.executable, '-m', module, *argv],
    cwd=folder,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    errors='replace',
    start_new_session=True,
    env={**os.environ, 'PYTHONPATH': ROOT, **(env or {})},
  )
  try:
    hung, (out, err) = False, child.communicate(timeout=seconds)
  except subprocess.TimeoutExpired:
    os.killpg(child.pid, signal.SIGKILL)
    hung, (out, err) = True, child.communicate()
  return Done(child.returncode, out, err, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before, hung)


def _Main(argv, folder, base, patch, module):
  """What the forked process does: the program, with its output in files."""
  for name, number in (('out', 1), ('err', 2)):
    opened = os.open(f'{base}.{name}', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(opened, number)
    os.close(opened)
  os.setsid()  # So that it is killed with all that it starts.
  os.chdir(folder)
  sys.argv = argv
  if patch:
    patch()
  program = importlib.import_module(module)
  started = time.process_time()
  try:
    sys.exit(program.Main(argv))
  finally:
    pathlib.Path(f'{base}.cpu').write_text(str(time.process_time() - started))
