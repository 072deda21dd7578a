"""Real processes for the fault suite, started quickly: each is a fork of one process that has imported TensorFlow and the project.

  with Started(['trainer', '--model=...'], folder) as child: child.Kill(signal.SIGTERM)
  done = Run(['trainer', '--model=...', '--dry_run'], folder)

`trainer`, `prepare_data` and `transcribe` are the programs; a patch (tools/faults/patches.py) breaks something inside one.
"""

import importlib
import multiprocessing
import os
import re
import signal
import sys
import time
import typing
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIMEOUT_SECONDS = 300.0
_MODULES = {'trainer': 'fm_lingvo.trainer', 'prepare_data': 'tools.prepare_data', 'transcribe': 'tools.transcribe'}
PRELOADED = ['fm_lingvo.launch', 'lingvo.trainer', 'params.asr', 'tools.faults.patches', 'fm_lingvo.trainer']


class Done(typing.NamedTuple):
  """A process that has ended."""

  code: int  # Exit code, -N after signal N.
  out: str
  err: str
  seconds: float
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
  """A process that runs; as a context, it is dead at the end."""

  def __init__(self, argv, folder, patch=(), env=None, warm=True):
    """Starts it.

    Args:
      argv: Name of the program and its arguments.
      folder: Where its output goes, and its working directory.
      patch: Name of a function of tools/faults/patches.py and its arguments.
      env: Variables of the environment to set.
      warm: Whether it is a fork; else it begins with an interpreter of its own, as a command does.
    """
    os.makedirs(folder, exist_ok=True)
    base = os.path.join(folder, f'.process-{uuid.uuid4().hex[:8]}')
    self._out, self._err = base + '.out', base + '.err'
    context = multiprocessing.get_context('forkserver' if warm else 'spawn')
    if warm:
      context.set_forkserver_preload(PRELOADED)
    self._process = context.Process(
      target=_Target, args=(list(argv), folder, self._out, self._err, tuple(patch), dict(env or {}))
    )
    self._started = time.monotonic()
    self._process.start()

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    KillGroup(self._process)

  @property
  def pid(self):
    return self._process.pid

  @property
  def alive(self):
    return self._process.is_alive()

  def Kill(self, signum=signal.SIGKILL):
    """Sends a signal."""
    if signum == signal.SIGKILL:
      KillGroup(self._process)
    elif self.alive:
      os.kill(self.pid, signum)

  def Output(self):
    """Standard output so far."""
    return _Read(self._out)

  def WaitFor(self, pattern, seconds=TIMEOUT_SECONDS):
    """Waits until its output has a regular expression, or it has ended; returns whether it has."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
      alive = self.alive
      if re.search(pattern, self.Output()):
        return True
      if not alive:
        return False
      time.sleep(0.02)
    return False

  def Wait(self, seconds=TIMEOUT_SECONDS):
    """Waits for its end, kills it after some time; returns a Done."""
    self._process.join(seconds)
    hung = self.alive
    if hung:
      self.Kill()
    done = Done(self._process.exitcode, _Read(self._out), _Read(self._err), time.monotonic() - self._started, hung)
    for path in (self._out, self._err):
      if os.path.exists(path):
        os.remove(path)
    return done


def KillGroup(process):
  """Kills a multiprocessing process that called os.setsid, with all that it has started, and waits for its end."""
  try:
    os.killpg(process.pid, signal.SIGKILL)
  except ProcessLookupError:  # It has not called it yet, or nothing is left.
    process.kill()
  process.join()


def Run(argv, folder, patch=(), env=None, warm=True, seconds=TIMEOUT_SECONDS):
  """Runs a process to its end, as Started; returns a Done."""
  return Started(argv, folder, patch, env, warm).Wait(seconds)


def _Read(path):
  if not os.path.exists(path):
    return ''
  with open(path, encoding='utf-8', errors='replace') as f:
    return f.read()


def _Target(argv, folder, out, err, patch, env):
  """What the process does."""
  for path, number in ((out, 1), (err, 2)):
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(opened, number)
    os.close(opened)
  os.setsid()  # It is killed with what it starts.
  os.environ.update(env)
  os.chdir(folder)
  sys.argv = argv
  if patch:
    from . import patches

    getattr(patches, patch[0])(*patch[1:])
  module = importlib.import_module(_MODULES[argv[0]])
  try:
    code = module.Main(argv) if argv[0] != 'prepare_data' else module.Main()
  finally:
    sys.stdout.flush()
    sys.stderr.flush()
  os._exit(code or 0) if argv[0] == 'transcribe' else sys.exit(code or 0)
