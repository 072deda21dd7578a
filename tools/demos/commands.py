"""Runs the project's commands, as a user would, with their output on the terminal."""

import re
import subprocess
import sys
import time

from ..common import training_env


def Code(*args: str) -> int:
  """Runs a module of the project; returns its exit code; exits with 130 after Ctrl-C, once the module has ended."""
  interrupted = False
  with subprocess.Popen([sys.executable, '-m', *args]) as process:
    while process.returncode is None:
      try:
        process.wait()
      except KeyboardInterrupt:  # The module was interrupted too: it cleans up, prints it, and ends.
        interrupted = True
  if interrupted:
    sys.exit(130)
  return process.returncode


def Run(*args: str) -> float:
  """Runs a module of the project; returns the seconds it took; exits if it fails."""
  started = time.time()
  Check(args[0], Code(*args))
  return time.time() - started


def Check(module: str, code: int) -> None:
  """Exits with a line unless the exit code of a module is 0."""
  if code:
    sys.exit(f'demo: python -m {module} ended with exit code {code}')


def Train(*flags: str) -> tuple[str, float]:
  """Runs the trainer; returns (run directory, seconds); exits if it fails."""
  print('$ ' + ' '.join(['trainer', *flags]), flush=True)
  started, logdir = time.time(), ''
  command = [sys.executable, '-m', 'fm_lingvo.trainer', *flags]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=training_env.Float32()) as process:
    assert process.stdout is not None
    ended = False
    while not ended:
      try:
        for line in process.stdout:
          print(line, end='', flush=True)
          found = re.match(r'run directory: (.*)', line)
          logdir = found.group(1) if found else logdir
        ended = True
      except KeyboardInterrupt:
        pass  # The trainer was interrupted too: it saves a checkpoint and prints it.
  if process.returncode:
    print(f'demo: the trainer ended with exit code {process.returncode}', file=sys.stderr)
    sys.exit(process.returncode)
  return logdir, time.time() - started
