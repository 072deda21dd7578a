"""A server as a process, for tests and for figures: `Server` starts it, waits until it is ready, and ends it."""

import os
import re
import signal
import subprocess
import sys
import tempfile

import psutil

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Server:
  """A running server; a context, at whose end it is killed if it has not ended."""

  def __init__(self, command, environ=None, stderr_limit=2000):
    """Starts `python -m COMMAND`, a list, and waits for its line `ready, URL`."""
    self._stderr = tempfile.TemporaryFile('w+')
    self._uploads = tempfile.TemporaryDirectory()
    self.folder = self._uploads.name  # Where it keeps uploads.
    self._limit = stderr_limit
    path = os.pathsep.join([ROOT, os.environ.get('PYTHONPATH', '')])
    self._process = subprocess.Popen(
      [sys.executable, '-m', *command],
      env={**os.environ, 'PYTHONPATH': path, 'TMPDIR': self.folder, **(environ or {})},
      stdout=subprocess.PIPE,
      stderr=self._stderr,
      text=True,
    )
    line = self._process.stdout.readline()
    ready = re.fullmatch(r'serve: ready, (http://\S+)\n', line)
    if not ready:
      self.Kill()
      raise AssertionError(f'{command}: {line}{self.Stderr()}')
    self.url = ready.group(1)

  @property
  def pid(self):
    return self._process.pid

  def Memory(self):
    """Resident bytes."""
    return psutil.Process(self.pid).memory_info().rss

  def Stderr(self):
    """What it wrote to standard error so far, the end of it."""
    self._stderr.seek(0)
    return self._stderr.read()[-self._limit :]

  def End(self, signum=signal.SIGTERM, seconds=60):
    """Sends a signal and returns the exit code."""
    self._process.send_signal(signum)
    return self._process.wait(seconds)

  def Kill(self):
    self._process.kill()
    self._process.wait()
    self._process.stdout.close()
    self._uploads.cleanup()

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.Kill()
