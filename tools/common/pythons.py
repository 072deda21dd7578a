"""The Pythons of this machine, and which stack fits it. For any Python >= 3.8, standard library only.

stack    classic: Python 3.10, any glibc; current: Python 3.11 to 3.13, glibc >= 2.38
"""

from __future__ import annotations

import glob
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

CURRENT_GLIBC = (2, 38)
CURRENT_PYTHONS = ((3, 13), (3, 12), (3, 11))  # Best first.
CLASSIC_PYTHON = (3, 10)


class Python(NamedTuple):
  """An interpreter; `has_venv`: whether it can create an environment with pip."""

  version: tuple[int, int]
  path: str
  has_venv: bool


class Choice(NamedTuple):
  """A stack, 'classic' or 'current', and its interpreter."""

  stack: str
  python: Python


class NoneFits(Exception):
  """No stack fits this machine; the message is one line that says what to install."""


def Dots(version: Sequence[int]) -> str:
  """Returns '3.10' of (3, 10)."""
  return '.'.join(str(v) for v in version)


def ChooseStack(
  glibc: tuple[int, int] | None, pythons: Sequence[Python], machine: str = 'x86_64', system: str = 'Linux'
) -> Choice:
  """Chooses the stack and the interpreter for a machine. A pure function of its arguments.

  Args:
    glibc: (major, minor) of the C library, or None if it is not glibc.
    pythons: List of Python; of several with one version, the first is preferred.
    machine: Value of platform.machine().
    system: Value of platform.system().

  Returns:
    A Choice.

  Raises:
    NoneFits: No stack fits; the message says what was found and what to install.
  """
  if system != 'Linux' or machine != 'x86_64' or not glibc:
    raise NoneFits(
      'setup: no fitting stack: lingvo has wheels for Linux x86_64 with glibc only; '
      f'this is {system} {machine}{"" if glibc else " without glibc"}'
    )
  candidates = [('classic', CLASSIC_PYTHON)]
  if glibc >= CURRENT_GLIBC:
    candidates = [('current', v) for v in CURRENT_PYTHONS] + candidates
  fitting = [(stack, p) for stack, version in candidates for p in pythons if p.version == version]
  for stack, python in fitting:
    if python.has_venv:
      return Choice(stack, python)
  if fitting:
    python = fitting[0][1]
    raise NoneFits(
      f'setup: Python {Dots(python.version)} at {python.path} cannot make an environment, '
      f'it has no venv or ensurepip: install python{Dots(python.version)}-venv (Debian, Ubuntu), '
      'or a Python of uv or pyenv'
    )
  need = 'Python 3.11 to 3.13' if glibc >= CURRENT_GLIBC else 'Python 3.10'
  hint = 'apt-get install python3 python3-venv' if glibc >= CURRENT_GLIBC else 'uv python install 3.10, or pyenv'
  found = ', '.join(sorted({Dots(p.version) for p in pythons}, key=lambda v: [int(x) for x in v.split('.')]))
  raise NoneFits(
    f'setup: no fitting stack: glibc {Dots(glibc)} needs {need} (for example: {hint}); found {found or "no Python"}; '
    'docs/quick_start.md has the commands'
  )


def GlibcVersion() -> tuple[int, int] | None:
  """Returns (major, minor) of this process's glibc, or None."""
  try:
    text = os.confstr('CS_GNU_LIBC_VERSION') or ''
  except (ValueError, OSError):  # Other C libraries, such as musl, do not know this name.
    text = ' '.join(platform.libc_ver())
  match = re.match(r'glibc (\d+)\.(\d+)', text)
  return (int(match.group(1)), int(match.group(2))) if match else None


def Probe(path: str) -> Python | None:
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


def Find(environ: Mapping[str, str] | None = None) -> list[Python]:
  """Finds every CPython that runs, first those on PATH, then pyenv's and uv's versions.

  Args:
    environ: Mapping with PATH, HOME, and the variables that move the folders of pyenv and uv; os.environ by default.

  Returns:
    List of Python.
  """
  environ = os.environ if environ is None else environ
  path = environ.get('PATH', '')
  names = [f'python{Dots(v)}' for v in CURRENT_PYTHONS + (CLASSIC_PYTHON,)] + ['python3']
  paths = [shutil.which(name, path=path) for name in names]
  # pyenv's root: PYENV_ROOT, the one in the home directory, or that of a shim on PATH.
  roots = [environ.get('PYENV_ROOT'), os.path.join(environ.get('HOME', ''), '.pyenv')]
  roots += [os.path.dirname(d) for d in path.split(os.pathsep) if os.path.basename(d) == 'shims']
  data = environ.get('XDG_DATA_HOME') or os.path.join(environ.get('HOME', ''), '.local', 'share')
  uv = environ.get('UV_PYTHON_INSTALL_DIR') or os.path.join(data, 'uv', 'python')
  patterns = [os.path.join(root, 'versions', '{}.*') for root in filter(None, roots)]
  for pattern in patterns + [os.path.join(uv, 'cpython-{}.*')]:
    for version in map(Dots, CURRENT_PYTHONS + (CLASSIC_PYTHON,)):
      # Newest patch release first: 3.10.13 before 3.10.9.
      homes = glob.glob(pattern.format(version))
      homes.sort(key=lambda d: [int(n) for n in re.findall(r'\d+', os.path.basename(d))], reverse=True)
      paths += [os.path.join(d, 'bin', 'python' + version) for d in homes]
  found = [Probe(p) for p in dict.fromkeys(filter(None, paths))]
  return list(dict.fromkeys(p for p in found if p))
