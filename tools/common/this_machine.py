"""Describes the machine and the software versions with which a figure is measured."""

import importlib.metadata
import os
import platform
import subprocess

from fm_lingvo import errors

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # Folder of the checkout.
# Uncommitted changes elsewhere (documentation, results) do not affect a measurement.
_CODE = ('fm_lingvo', 'params', 'tools', 'requirements')


def Machine() -> dict:
  """Returns dict: cpu (model), cores (available to this process), memory_gb, system."""
  return {
    'cpu': _CpuModel(),
    'cores': len(os.sched_getaffinity(0)),
    'memory_gb': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30),
    'system': f'{_Distribution()}, {" ".join(platform.libc_ver())}'.rstrip(', '),
  }


def _CpuModel():
  if os.path.exists('/proc/cpuinfo'):
    with open('/proc/cpuinfo', encoding='utf-8') as f:
      for line in f:
        if line.startswith('model name'):
          return line.partition(':')[2].strip()
  return platform.processor() or platform.machine()


def _Distribution():
  try:
    return platform.freedesktop_os_release()['PRETTY_NAME']
  except (OSError, KeyError):  # Not a Linux distribution.
    return platform.system()


def Describe(machine: dict) -> str:
  """Returns the dict of Machine as one phrase."""
  cores = machine['cores']
  return f'{cores} core{"s"[cores == 1 :]} of {machine["cpu"]}, {machine["memory_gb"]} GB, {machine["system"]}'


def DescribeVersions(versions: dict) -> str:
  """Returns the dict of Versions as one phrase, without the commit."""
  return f'Python {versions["python"]}, TensorFlow {versions["tensorflow"]}, lingvo {versions["lingvo"]}'


def Versions(root: str = ROOT, commit: str = '') -> dict:
  """Returns dict: python, tensorflow, lingvo, commit.

  Args:
    root: Folder of the checkout.
    commit: The commit; '' asks git.

  Raises:
    errors.ConfigError: TensorFlow or Lingvo is not installed, or git does not know the commit.
  """
  versions = {'python': platform.python_version()}
  for package in ('tensorflow', 'lingvo'):
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as e:
      raise errors.ConfigError(
        f'{package} is not installed: run this in the environment that was measured (make env)'
      ) from e
  versions['commit'] = commit or _Commit(root)
  return versions


def _Commit(root):
  """Returns the short hash of HEAD, with `+changes` if the code differs from it."""

  def _Git(*args):
    return subprocess.run(['git', '-C', root, *args], check=True, text=True, capture_output=True).stdout.strip()

  try:
    changed = _Git('status', '--porcelain', '--', *_CODE)
    return _Git('rev-parse', '--short=10', 'HEAD') + ('+changes' if changed else '')
  except (OSError, subprocess.CalledProcessError) as e:
    raise errors.ConfigError(
      f'{root}: no git checkout, whose commit belongs to a figure; tools.results and tools.benchmark take --commit=HASH'
    ) from e
