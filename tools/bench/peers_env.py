"""The peers' environments: made from requirements/peers.txt and peers_built.txt, under build/, once.

PyTorch's packages lie in a virtual environment of their own, build/peers; those that need TensorFlow in a folder,
build/peers_tf, beside this environment's. What cannot be installed is kept with its reason: the benchmark's rows name it.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

from fm_lingvo import errors

from . import party

FOLDER = os.path.join(party.ROOT, 'build', 'peers')
_TF_FOLDER = FOLDER + '_tf'
_REQUIREMENTS = os.path.join(party.ROOT, 'requirements')
_READY = os.path.join(FOLDER, 'ready.json')
_PYTHONS = ('python3.11', 'python3.12', 'python3.13')  # Of the releases in peers.txt.
_ON_TENSORFLOW = ('rnnt',)
# CMake lists of the packages that are built download pybind11; they are given the one that pip has installed instead.
_PYBIND11 = 'set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)\nfind_package(pybind11 REQUIRED CONFIG)\n'
# They ask for an older C++ than today's PyTorch has headers for; the last flag wins.
_COMPILER = '#!/bin/sh\nexec c++ "$@" -std=gnu++20\n'


class Peers:
  """Which packages there are: their versions, or why not."""

  def __init__(self, ready):
    self._versions, self._missing = ready['versions'], ready['missing']

  def Versions(self, packages):
    """dict: package -> its version, of those that there are."""
    return {p: self._versions[p] for p in packages if p in self._versions}

  def Party(self, name, module, sizes, *packages):
    """A Party that needs packages, as pip names them; `missing` says why where one is not there."""
    missing = '; '.join(f'{p}: {self._missing.get(p, "not installed")}' for p in packages if p not in self._versions)
    return party.Party(
      name,
      module,
      sizes,
      missing=missing,
      versions=self.Versions(packages),
      **(
        {'path': (_TF_FOLDER,)}
        if set(packages) & set(_ON_TENSORFLOW)
        else {'python': os.path.join(FOLDER, 'bin', 'python')}
      ),
    )


def Find():
  """The Peers that there are, without making any."""
  if not os.path.exists(_READY):
    return Peers({'versions': {}, 'missing': {}})
  with open(_READY, encoding='utf-8') as f:
    return Peers(json.load(f))


def Make():
  """The Peers, made if they are not there or their lists have changed.

  Raises:
    errors.ConfigError: Not even the wheels of peers.txt can be installed.
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
  """Lines NAME==VERSION of a list in requirements/."""
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
  """dict: package -> version, of all in both folders."""
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
  """Raises errors.ConfigError with the line of the output that says most if a command fails."""
  try:
    done = subprocess.run(command, text=True, capture_output=True, check=False, env=env)
  except OSError as e:
    raise errors.ConfigError(f'{command[0]}: {e}') from e
  if done.returncode:
    lines = (done.stdout + done.stderr).strip().splitlines() or [f'exit code {done.returncode}']
    said = next((line for line in lines if 'rror:' in line), lines[-1]).strip()
    raise errors.ConfigError(f'{os.path.basename(command[0])} {" ".join(command[3:5])}: {said[:160]}')
