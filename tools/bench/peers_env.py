"""The peers' environments, made once under build/ from requirements/peers.txt and peers_built.txt.

PyTorch's packages are in a virtual environment of their own, build/peers; those that need TensorFlow are in a folder,
build/peers_tf, that is added to this environment. For what cannot be installed the reason is kept: the rows name it.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

from fm_lingvo import errors

from ..common import exit_codes
from . import timing

FOLDER = os.path.join(timing.ROOT, 'build', 'peers')
_TF_FOLDER = FOLDER + '_tf'
_REQUIREMENTS = os.path.join(timing.ROOT, 'requirements')
_READY = os.path.join(FOLDER, 'ready.json')
_PYTHONS = ('python3.11', 'python3.12', 'python3.13')  # Of the releases in peers.txt.
_ON_TENSORFLOW = ('rnnt',)
# The CMake lists of the packages that are built here would download pybind11: they get the one that pip has installed.
_PYBIND11 = 'set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)\nfind_package(pybind11 REQUIRED CONFIG)\n'
# They ask for an older C++ than the headers of today's PyTorch need; the last flag wins.
_COMPILER = '#!/bin/sh\nexec c++ "$@" -std=gnu++20\n'


class Peers:
  """The installed packages and their versions, and why others are missing."""

  def __init__(self, ready):
    self._versions, self._missing = ready['versions'], ready['missing']

  def Versions(self, packages: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed."""
    return {p: self._versions[p] for p in packages if p in self._versions}

  def Worker(self, name: str, module: str, sizes: dict, *packages: str) -> timing.Worker:
    """A peer that needs packages, named as pip does; `failed` says which are missing."""
    missing = '; '.join(f'{p}: {self._missing.get(p, "not installed")}' for p in packages if p not in self._versions)
    where = (
      {'path': (_TF_FOLDER,)}
      if set(packages) & set(_ON_TENSORFLOW)
      else {'python': os.path.join(FOLDER, 'bin', 'python')}
    )
    return timing.Worker(name, module, sizes, is_peer=True, failed=missing, versions=self.Versions(packages), **where)


def Find() -> Peers:
  """The Peers that are installed; installs none."""
  if not os.path.exists(_READY):
    return Peers({'versions': {}, 'missing': {}})
  with open(_READY, encoding='utf-8') as f:
    return Peers(json.load(f))


def Make() -> Peers:
  """The Peers, installed first if they are not or the lists have changed.

  Raises:
    errors.ConfigError: The wheels of peers.txt cannot be installed.
  """
  lists = {name: _Pins(name) for name in ('peers.txt', 'peers_built.txt')}
  if os.path.exists(_READY):
    with open(_READY, encoding='utf-8') as f:
      if json.load(f)['lists'] == lists:
        return Find()
  print("benchmark: making the peers' environment, build/peers (once)", file=sys.stderr, flush=True)
  for folder in (FOLDER, _TF_FOLDER):
    shutil.rmtree(folder, ignore_errors=True)
  python = next(filter(None, map(shutil.which, _PYTHONS)), sys.executable)
  _Run([python, '-m', 'venv', FOLDER])
  pip = [os.path.join(FOLDER, 'bin', 'python'), '-m', 'pip', 'install', '-q']
  _Run([*pip, '--only-binary', ':all:', '-r', os.path.join(_REQUIREMENTS, 'peers.txt')])
  missing = {}
  for pin in lists['peers_built.txt']:
    name = pin.partition('==')[0]
    command = [*pip, '--no-deps', '--no-build-isolation', pin]
    if name in _ON_TENSORFLOW:
      command = [sys.executable, '-m', 'pip', 'install', '-q', '--no-deps', '--target', _TF_FOLDER, pin]
    try:
      _Run(command, _BuildEnvironment())
    except errors.ConfigError as e:
      missing[name] = str(e)
  ready = {'lists': lists, 'missing': missing, 'versions': _Versions()}
  with open(_READY, 'w', encoding='utf-8') as f:
    json.dump(ready, f, indent=1)
  return Find()


def _Pins(name):
  """Lines NAME==VERSION of a file in requirements/."""
  with open(os.path.join(_REQUIREMENTS, name), encoding='utf-8') as f:
    return [line.strip() for line in f if '==' in line and not line.startswith('#')]


def _BuildEnvironment():
  """For the packages that are compiled: one job, PyTorch's C++, no CUDA, pip's pybind11."""
  scratch = os.path.join(FOLDER, 'pybind11')
  os.makedirs(scratch, exist_ok=True)
  for name, text in (('CMakeLists.txt', _PYBIND11), ('c++', _COMPILER)):
    path = os.path.join(scratch, name)
    with open(path, 'w', encoding='utf-8') as f:
      f.write(text)
    os.chmod(path, 0o755)
  found = subprocess.run(
    [os.path.join(FOLDER, 'bin', 'python'), '-m', 'pybind11', '--cmakedir'], text=True, capture_output=True, check=False
  ).stdout.strip()
  flags = [
    '-DCMAKE_BUILD_TYPE=Release',
    f'-DFETCHCONTENT_SOURCE_DIR_PYBIND11={scratch}',
    f'-Dpybind11_DIR={found}',
    f'-DPYTHON_EXECUTABLE={FOLDER}/bin/python',
  ]
  flags = ' '.join(flags)
  return {
    **os.environ,
    'CXX': os.path.join(scratch, 'c++'),
    'PATH': f'{FOLDER}/bin{os.pathsep}{os.environ["PATH"]}',
    'FT_CMAKE_ARGS': f'{flags} -DFT_WITH_CUDA=OFF -DFT_BUILD_TESTS=OFF',
    'FT_MAKE_ARGS': '-j1',
    'OT_CMAKE_ARGS': f'{flags} -DOT_WITH_CUDA=OFF -DOT_BUILD_TESTS=OFF',
    'OT_MAKE_ARGS': '-j1',
  }


def _Versions():
  """Versions of all packages in both folders."""
  site = subprocess.run(
    [os.path.join(FOLDER, 'bin', 'python'), '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'],
    text=True,
    capture_output=True,
    check=True,
  ).stdout.strip()
  return {
    dist.metadata['Name'].lower().replace('_', '-'): dist.version
    for dist in importlib.metadata.distributions(path=[site, _TF_FOLDER])
  }


def _Run(command, env=None):
  """Runs a command; raises errors.ConfigError with the telling line of its output if it fails."""
  try:
    done = subprocess.run(command, text=True, capture_output=True, check=False, env=env)
  except OSError as e:
    raise errors.ConfigError(f'{command[0]}: {e}') from e
  if done.returncode:
    lines = (done.stdout + done.stderr).splitlines()
    said = next((line.strip() for line in lines if 'rror:' in line), exit_codes.Why(done.stderr, done.returncode))
    raise errors.ConfigError(f'{os.path.basename(command[0])} {" ".join(command[3:5])}: {said[:160]}')
