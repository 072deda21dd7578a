"""Creates .venv with the stack that fits this machine: `python3 tools/setup_env.py`, which `make env` calls.

Runs with any Python >= 3.8 and only its standard library, since nothing is installed yet; never needs root.

  stack    classic: Python 3.10, any glibc; current: Python 3.11 to 3.13, glibc >= 2.38
  lock     requirements/STACK.txt, every package pinned
  stamp    VENV/ready, a digest of the inputs of the environment; if it is unchanged there is nothing to do
"""

import argparse
import collections
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CURRENT_GLIBC = (2, 38)
CURRENT_PYTHONS = ((3, 13), (3, 12), (3, 11))  # Best first.
CLASSIC_PYTHON = (3, 10)
PROGRESS_SECONDS = 10
INSTALLED_GB = 4  # Size of an environment.

# An interpreter: version (major, minor), path, has_venv (whether it can create an environment with pip).
Python = collections.namedtuple('Python', 'version path has_venv')
Choice = collections.namedtuple('Choice', 'stack python')


class SetupError(Exception):
  """Set-up failed; the message is one line that says what to do."""


def _Dots(version):
  return '.'.join(str(v) for v in version)


def ChooseStack(glibc, pythons, machine='x86_64', system='Linux'):
  """Chooses the stack and the interpreter for a machine. A pure function of its arguments.

  Args:
    glibc: (major, minor) of the C library, or None if it is not glibc.
    pythons: List of Python; of several with one version, the first is preferred.
    machine: Value of platform.machine().
    system: Value of platform.system().

  Returns:
    A Choice.

  Raises:
    SetupError: No stack fits; the message says what was found and what to install.
  """
  if system != 'Linux' or machine != 'x86_64' or not glibc:
    raise SetupError(
      'setup: no fitting stack: lingvo has wheels for Linux x86_64 with glibc only; '
      f'this is {system} {machine}{"" if glibc else " without glibc"}'
    )
  glibc = tuple(glibc)
  candidates = [('classic', CLASSIC_PYTHON)]
  if glibc >= CURRENT_GLIBC:
    candidates = [('current', v) for v in CURRENT_PYTHONS] + candidates
  fitting = [(stack, p) for stack, version in candidates for p in pythons if p.version == version]
  for stack, python in fitting:
    if python.has_venv:
      return Choice(stack, python)
  if fitting:
    python = fitting[0][1]
    raise SetupError(
      f'setup: Python {_Dots(python.version)} at {python.path} cannot make an environment, '
      f'it has no venv or ensurepip: install python{_Dots(python.version)}-venv (Debian, Ubuntu), '
      'or a Python of uv or pyenv'
    )
  need = 'Python 3.11 to 3.13' if glibc >= CURRENT_GLIBC else 'Python 3.10'
  hint = 'apt-get install python3 python3-venv' if glibc >= CURRENT_GLIBC else 'uv python install 3.10, or pyenv'
  found = ', '.join(sorted({_Dots(p.version) for p in pythons}, key=lambda v: [int(x) for x in v.split('.')]))
  raise SetupError(
    f'setup: no fitting stack: glibc {_Dots(glibc)} needs {need} (for example: {hint}); found {found or "no Python"}; '
    'docs/quick_start.md has the commands'
  )


def GlibcVersion():
  """Returns (major, minor) of this process's glibc, or None."""
  try:
    text = os.confstr('CS_GNU_LIBC_VERSION') or ''
  except (ValueError, OSError):  # Other C libraries, such as musl, do not know this name.
    text = ' '.join(platform.libc_ver())
  match = re.match(r'glibc (\d+)\.(\d+)', text)
  return (int(match.group(1)), int(match.group(2))) if match else None


def _Probe(path):
  """Returns a Python for an executable, or None if it does not run, such as a pyenv shim of an inactive version."""
  code = (
    'import sys; v = sys.version_info\n'
    'try:\n  import venv, ensurepip; ok = 1\n'
    'except ImportError:\n  ok = 0\n'
    'print(v[0], v[1], ok, sys.implementation.name)\n'
    # In an active environment, report the base interpreter: recreating .venv would delete the one in use.
    'import os\n'
    'print(os.path.realpath(sys.executable) if sys.prefix != sys.base_prefix else "")'
  )
  try:
    run = subprocess.run([path, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
  except (OSError, subprocess.TimeoutExpired):
    return None
  lines = run.stdout.decode(errors='replace').splitlines()
  words = lines[0].split() if lines else []
  if run.returncode or len(words) != 4 or words[3] != 'cpython':
    return None
  return Python((int(words[0]), int(words[1])), lines[1] or path, words[2] == '1')


def FindPythons(environ=None):
  """Finds every CPython that runs, first those on PATH, then pyenv's and uv's versions.

  Args:
    environ: Mapping with PATH, HOME, and the variables that move the folders of pyenv and uv; os.environ by default.

  Returns:
    List of Python.
  """
  environ = os.environ if environ is None else environ
  path = environ.get('PATH', '')
  names = [f'python{_Dots(v)}' for v in CURRENT_PYTHONS + (CLASSIC_PYTHON,)] + ['python3']
  paths = [shutil.which(name, path=path) for name in names]
  # pyenv's root: PYENV_ROOT, the one in the home directory, or that of a shim on PATH.
  roots = [environ.get('PYENV_ROOT'), os.path.join(environ.get('HOME', ''), '.pyenv')]
  roots += [os.path.dirname(d) for d in path.split(os.pathsep) if os.path.basename(d) == 'shims']
  data = environ.get('XDG_DATA_HOME') or os.path.join(environ.get('HOME', ''), '.local', 'share')
  uv = environ.get('UV_PYTHON_INSTALL_DIR') or os.path.join(data, 'uv', 'python')
  patterns = [os.path.join(root, 'versions', '{}.*') for root in filter(None, roots)]
  for pattern in patterns + [os.path.join(uv, 'cpython-{}.*')]:
    for version in map(_Dots, CURRENT_PYTHONS + (CLASSIC_PYTHON,)):
      # Newest patch release first: 3.10.13 before 3.10.9.
      homes = glob.glob(pattern.format(version))
      homes.sort(key=lambda d: [int(n) for n in re.findall(r'\d+', os.path.basename(d))], reverse=True)
      paths += [os.path.join(d, 'bin', 'python' + version) for d in homes]
  found = [_Probe(p) for p in dict.fromkeys(filter(None, paths))]
  return list(dict.fromkeys(p for p in found if p))


def _Digest(choice):
  """Returns a digest of the environment's inputs: the lock, the project's metadata, this file and the interpreter."""
  digest = hashlib.sha256(repr((choice.stack, choice.python.version)).encode())
  for name in (f'requirements/{choice.stack}.txt', 'pyproject.toml', 'setup.py', 'tools/setup_env.py'):
    with open(os.path.join(ROOT, name), 'rb') as f:
      digest.update(f.read())
  return digest.hexdigest()


def _Stamp(venv):
  try:
    with open(os.path.join(venv, 'ready')) as f:
      return json.load(f)
  except (OSError, ValueError):
    return {}


def _Run(command, log_path, what, total=0, check=True):
  """Runs a command with its output in a log and prints a progress line every PROGRESS_SECONDS.

  Args:
    command: List of strings.
    log_path: File that the output is appended to.
    what: Name of the step in progress and error lines.
    total: Number of packages; if set, progress lines count the fetched ones, then say that pip writes them.
    check: Whether a failing command is an error.

  Raises:
    SetupError: The command failed; the last lines of the log are printed first.
  """
  start = last = time.time()
  with open(log_path, 'a+') as log:
    offset = log.seek(0, os.SEEK_END)
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
      while process.poll() is None:
        time.sleep(0.2)
        if time.time() - last < PROGRESS_SECONDS:
          continue
        last = time.time()
        with open(log_path, errors='replace') as text:
          text.seek(offset)
          printed = text.read()
        fetched = len(re.findall(r'^(?:Collecting|Processing) ', printed, re.M))
        count = f', {min(fetched, total)} of {total} packages fetched' if total else ''
        if total and '\nInstalling collected packages' in printed:
          count = f', all are fetched, writing {INSTALLED_GB} GB to the disk'
        print(f'  {what}: {last - start:.0f} s{count}', flush=True)
    except BaseException:
      process.terminate()
      raise
  if process.returncode and check:
    with open(log_path, errors='replace') as text:
      text.seek(offset)
      sys.stderr.writelines('  ' + line for line in text.read().splitlines(True)[-15:])
    raise SetupError(f'setup: {what} failed (exit code {process.returncode}); the whole log is in {log_path}')


def _IsBelow(path, folder):
  """Returns whether `path`, with links resolved, is inside `folder`; False if `folder` is None."""
  return folder is not None and os.path.realpath(path).startswith(os.path.realpath(folder) + os.sep)


def MakeEnvironment(choice, venv):
  """Creates or updates the environment `venv` with the lock of `choice.stack`; the stamp is written last.

  Args:
    choice: A Choice.
    venv: Path of the environment.

  Raises:
    SetupError: A command failed, or `venv` is a link to another checkout's environment.
  """
  digest = _Digest(choice)
  stamp_path = os.path.join(venv, 'ready')
  python = os.path.join(venv, 'bin', 'python')
  old = _Stamp(venv)
  if old.get('digest') == digest and old.get('root') == ROOT and _Probe(python):
    os.utime(stamp_path)
    print(f'setup: {venv} is up to date ({choice.stack} stack)')
    return
  if os.path.islink(venv) and _IsBelow(venv, old.get('root')) and not os.path.samefile(old['root'], ROOT):
    raise SetupError('setup: {} is the environment of {}: remove the link, or run make there'.format(venv, old['root']))
  start = time.time()
  if os.path.exists(stamp_path):
    os.remove(stamp_path)
  lock = os.path.join(ROOT, 'requirements', choice.stack + '.txt')
  with open(lock) as f:
    total = len({line.split('==')[0] for line in f if '==' in line})
  print(
    f'setup: {choice.stack} stack, Python {_Dots(choice.python.version)} ({choice.python.path}), '
    f'{total} packages into {venv}: {INSTALLED_GB} GB, some minutes',
    flush=True,
  )
  existing = _Probe(python)
  log_path = os.path.join(os.path.dirname(os.path.abspath(venv)), '.setup.log')
  with open(log_path, 'w'):
    pass
  if not existing or existing.version != choice.python.version:
    _Run([choice.python.path, '-m', 'venv', '--clear', venv], log_path, 'make ' + venv)
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
  _Run(pip + ['--only-binary', ':all:', '--no-compile', '-r', lock], log_path, 'install', total)
  _Run(pip + ['--no-build-isolation', '-e', '.'], log_path, 'install fm_lingvo')
  # pip would compile on one core. check=False: some packages ship files for other Pythons, which cannot be compiled.
  _Run([python, '-m', 'compileall', '-qq', '-j', '0', os.path.join(venv, 'lib')], log_path, 'compile', check=False)
  with open(stamp_path, 'w') as f:
    json.dump({'stack': choice.stack, 'digest': digest, 'root': ROOT}, f)
    f.write('\n')
  os.replace(log_path, os.path.join(venv, 'setup.log'))
  print(f'setup: ready in {time.time() - start:.0f} s; activate it with: . {venv}/bin/activate', flush=True)


def main(argv=None):
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--venv', type=os.path.expanduser, default='.venv', help='path of the environment')
  parser.add_argument('--dry_run', action='store_true', help='only print the stack and the interpreter')
  args = parser.parse_args(argv)
  try:
    choice = ChooseStack(GlibcVersion(), FindPythons(), platform.machine(), platform.system())
    if args.dry_run:
      print(f'{choice.stack} {choice.python.path}')
    else:
      MakeEnvironment(choice, args.venv)
  except SetupError as e:
    print(e, file=sys.stderr)
    return 2
  return 0


if __name__ == '__main__':
  sys.exit(main())
