"""Creates .venv with the stack that fits this machine: `python3 -m tools.setup_env`, which `make env` calls.

Runs with any Python >= 3.8 and only its standard library, since nothing is installed yet; never needs root.

  lock     requirements/STACK.txt, every package pinned
  stamp    VENV/ready, written last: a digest of what the environment is made from; if it is unchanged there is nothing
           to do. An environment without a stamp was not finished: it is made anew, as no package in it can be trusted

Exit code 0: ready; 1: a step failed, such as a full disk; 2: no Python that fits, or wrong usage; 130: Ctrl-C; 143:
SIGTERM.
"""

import argparse
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

from .common import pythons

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRESS_SECONDS = 10
STOP_SECONDS = 10
INSTALLED_GB = 4  # Size of an environment while it is made: packages, and their files as fetched.


class SetupError(Exception):
  """Set-up failed; the message is one line that says what to do.

  Attributes:
    code: Exit code.
  """

  def __init__(self, message, code=1):
    super().__init__(message)
    self.code = code


def _Steps(choice, venv):
  """The commands that make an environment.

  Returns:
    Dict of name -> command, in their order.
  """
  python = os.path.join(venv, 'bin', 'python')
  pip = [
    python,
    '-m',
    'pip',
    '--disable-pip-version-check',
    '--no-input',
    'install',
    '--progress-bar',
    'off',
    '--no-deps',
  ]
  # The locks list all packages, each available as a wheel: nothing to resolve or build (requirements/README.md).
  lock = os.path.join('requirements', choice.stack + '.txt')
  return {
    'make': [choice.python.path, '-m', 'venv', '--clear', venv],
    'install': pip + ['--only-binary', ':all:', '--no-compile', '-r', lock],
    'install fm_lingvo': pip + ['--no-build-isolation', '-e', '.'],
    'compile': [python, '-m', 'compileall', '-qq', '-j', '0', os.path.join(venv, 'lib')],  # pip takes one core.
  }


def _Digest(choice):
  """Returns a digest of what an environment is made from: commands, interpreter, the lock, the project's metadata.

  Other edits of this file make no environment old.
  """
  placeless = choice._replace(python=choice.python._replace(path='python'))
  digest = hashlib.sha256(repr((placeless, _Steps(placeless, ''))).encode())
  for name in (f'requirements/{choice.stack}.txt', 'pyproject.toml', 'setup.py'):
    with open(os.path.join(ROOT, name), 'rb') as f:
      digest.update(f.read())
  return digest.hexdigest()


def _Stamp(venv):
  try:
    with open(os.path.join(venv, 'ready')) as f:
      return json.load(f)
  except (OSError, ValueError):
    return {}


def _Fetched(printed, total):
  """What pip's output says about its progress; '' without a number of packages."""
  if not total:
    return ''
  if '\nInstalling collected packages' in printed:
    return f', all are fetched, writing {INSTALLED_GB} GB to the disk'
  return f', {min(len(re.findall(r"^(?:Collecting|Processing) ", printed, re.M)), total)} of {total} packages fetched'


def _Run(command, log_path, what, total=0, check=True, environ=None):
  """Runs a command with its output in a log and prints a progress line every PROGRESS_SECONDS.

  Args:
    command: List of strings.
    log_path: File that the output is appended to.
    what: Name of the step in progress and error lines.
    total: Number of packages; if set, progress lines count the fetched ones, then say that pip writes them.
    check: Whether a failing command is an error.
    environ: The command's environment; this process's by default.

  Raises:
    SetupError: The command failed; the last lines of the log are printed first.
  """

  def Printed():
    with open(log_path, errors='replace') as text:
      text.seek(offset)
      return text.read()

  start = last = time.time()
  with open(log_path, 'a') as log:
    offset = log.seek(0, os.SEEK_END)
    # A session of its own: processes that it starts are stopped with it.
    process = subprocess.Popen(
      command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=environ, start_new_session=True
    )
    try:
      while process.poll() is None:
        time.sleep(0.2)
        if time.time() - last >= PROGRESS_SECONDS:
          last = time.time()
          print(f'  {what}: {last - start:.0f} s{_Fetched(Printed(), total)}', flush=True)
    except BaseException:
      _Stop(process)
      raise
  if process.returncode and check:
    printed = Printed()
    if os.strerror(errno.ENOSPC) in printed:
      raise SetupError(f'setup: {what} failed: the disk is full')
    sys.stderr.writelines(f'  {line}\n' for line in printed.splitlines()[-15:])
    raise SetupError(f'setup: {what} failed (exit code {process.returncode}); the whole log is in {log_path}')


def _Stop(process):
  """Ends a process and those that it has started."""
  for number in (signal.SIGINT, signal.SIGKILL):  # pip removes its temporary files at SIGINT alone.
    try:
      os.killpg(process.pid, number)
      process.wait(STOP_SECONDS)
    except (ProcessLookupError, subprocess.TimeoutExpired):
      pass


def _IsBelow(path, folder):
  """Returns whether `path`, with links resolved, is inside `folder`; False if `folder` is None."""
  return folder is not None and os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def _CheckPlace(venv):
  """Refuses a place where an environment must not or cannot be made: `venv --clear` deletes what is there."""
  root = _Stamp(venv).get('root')
  if os.path.islink(venv) and _IsBelow(venv, root) and not os.path.samefile(root, ROOT):
    raise SetupError(f'setup: {venv} is the environment of {root}: remove the link, or run make there', 2)
  if os.path.isdir(venv) and os.listdir(venv) and not os.path.exists(os.path.join(venv, 'pyvenv.cfg')):
    raise SetupError(f'setup: {venv} is no environment of Python: remove it, or name another folder', 2)


def MakeEnvironment(choice, venv):
  """Creates or updates the environment `venv` with the lock of `choice.stack`; the stamp is written last.

  Args:
    choice: A pythons.Choice.
    venv: Path of the environment.

  Raises:
    SetupError: A command failed, or `venv` is a link to another checkout's environment, or no environment.
    OSError: The disk is full, or the folder cannot be written.
  """
  digest = _Digest(choice)
  if not _IsReady(venv, digest):
    _CheckPlace(venv)
    log_path = os.path.join(os.path.dirname(os.path.abspath(venv)), '.setup.log')
    with open(log_path, 'a') as log:
      try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        print(f'setup: another set-up is at work on {venv}: waiting for it', flush=True)
        fcntl.flock(log, fcntl.LOCK_EX)
      if not _IsReady(venv, digest):
        log.truncate(0)
        _Make(choice, venv, digest, log_path)
        return
  os.utime(os.path.join(venv, 'ready'))
  print(f'setup: {venv} is up to date ({choice.stack} stack)')


def _IsReady(venv, digest):
  """Whether the environment is finished, this checkout's, and made from what `digest` says."""
  stamp = _Stamp(venv)
  return stamp.get('digest') == digest and stamp.get('root') == ROOT and pythons.Probe(_Python(venv)) is not None


def _Python(venv):
  return os.path.join(venv, 'bin', 'python')


def _Make(choice, venv, digest, log_path):
  """See MakeEnvironment."""
  start = time.time()
  stamp_path = os.path.join(venv, 'ready')
  # Of another checkout: its scripts name the Python of that one.
  finished = _Stamp(venv).get('root') == ROOT and pythons.Probe(_Python(venv))
  if os.path.exists(stamp_path):
    os.remove(stamp_path)
  with open(os.path.join(ROOT, 'requirements', choice.stack + '.txt')) as f:
    total = len({line.split('==')[0] for line in f if '==' in line})
  print(
    f'setup: {choice.stack} stack, Python {pythons.Dots(choice.python.version)} ({choice.python.path}), '
    f'{total} packages into {venv}: {INSTALLED_GB} GB, some minutes',
    flush=True,
  )
  steps = _Steps(choice, venv)
  if not (finished and finished.version == choice.python.version):
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(venv))).free / 1e9
    if free < INSTALLED_GB:
      raise SetupError(f'setup: {venv} needs {INSTALLED_GB} GB, {free:.1f} GB are free on that disk')
    _Run(steps['make'], log_path, 'make ' + venv)
  # pip's temporary files, over a gigabyte, go where the environment goes: /tmp may be in memory, as on Debian 13.
  temporary = os.path.join(venv, 'tmp')
  os.makedirs(temporary, exist_ok=True)
  environ = {'TMPDIR': os.path.abspath(temporary), **os.environ}
  _Run(steps['install'], log_path, 'install', total, environ=environ)
  _Run(steps['install fm_lingvo'], log_path, 'install fm_lingvo', environ=environ)
  _Run(steps['compile'], log_path, 'compile', check=False)  # Some packages ship files for other Pythons.
  shutil.rmtree(temporary)
  _WriteStamp(stamp_path, {'stack': choice.stack, 'digest': digest, 'root': ROOT})
  os.replace(log_path, os.path.join(venv, 'setup.log'))
  print(f'setup: ready in {time.time() - start:.0f} s; activate it with: . {venv}/bin/activate', flush=True)


def _WriteStamp(path, content):
  """Writes the stamp whole or not at all: make trusts a file of that name."""
  with open(path + '.new', 'w') as f:
    json.dump(content, f)
    f.write('\n')
    f.flush()
    os.fsync(f.fileno())
  os.replace(path + '.new', path)


def _Interrupt(number, frame):
  raise KeyboardInterrupt(number)


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0], epilog='Example: python3 -m tools.setup_env --dry_run'
  )
  parser.add_argument('--venv', type=os.path.expanduser, default='.venv', help='path of the environment')
  parser.add_argument('--dry_run', action='store_true', help='only print the stack and the interpreter')
  args = parser.parse_args(argv)
  old = signal.signal(signal.SIGTERM, _Interrupt)
  try:
    choice = pythons.ChooseStack(pythons.GlibcVersion(), pythons.Find(), platform.machine(), platform.system())
    if args.dry_run:
      print(f'{choice.stack} {choice.python.path}')
    else:
      MakeEnvironment(choice, args.venv)
    return 0
  except pythons.NoneFits as e:
    code, line = 2, str(e)
  except SetupError as e:
    code, line = e.code, str(e)
  except OSError as e:
    code, line = 1, f'setup: {e.filename}: {e.strerror}' if e.filename else f'setup: {e.strerror}'
  except KeyboardInterrupt as e:
    code = 128 + (e.args[0] if e.args else signal.SIGINT)
    line = 'setup: interrupted; the environment is not ready, the same command makes it'
  finally:
    signal.signal(signal.SIGTERM, old)
  print(line, file=sys.stderr)
  return code


if __name__ == '__main__':
  sys.exit(main())
