"""Fetches Debian packages without root: `apt-get download` into a cache, unpacked there with `dpkg-deb -x`.

If the machine's package lists are missing or stale, fresh ones are fetched into a temporary directory, with the
machine's sources.list, keys and proxies. Nothing is written outside the cache.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

from fm_lingvo.utils import files

_UPDATE_SECONDS = 120
_DOWNLOAD_SECONDS = 300
_NETWORK = ('-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=15', '-o', 'Acquire::https::Timeout=15')


class AptError(RuntimeError):
  """Packages cannot be fetched or unpacked; the message is one line."""


def FetchPackages(packages, cache=None):
  """Downloads and unpacks the packages that the cache lacks.

  Args:
    packages: Names of Debian packages.
    cache: Directory for the packages, files.CacheFolder()/debian by default.

  Returns:
    (root, fetched): the directory of the packages' files (root/usr/share/...), and the number of downloaded packages.

  Raises:
    AptError: apt-get or dpkg-deb is missing or failed, or the cache cannot be written.
  """
  cache = cache or os.path.join(files.CacheFolder(), 'debian')
  root = os.path.join(cache, 'root')
  missing = [p for p in packages if not os.path.exists(_UnpackedMarker(cache, p))]
  if not missing:
    return root, 0
  for tool in ('apt-get', 'dpkg-deb'):
    if shutil.which(tool) is None:
      raise AptError(f'{tool} not found, so {len(missing)} packages cannot be fetched ({missing[0]}, ...)')
  try:
    os.makedirs(root, exist_ok=True)
  except OSError as e:
    raise AptError(f'cannot write the cache {cache} ({e.strerror}); set XDG_CACHE_HOME') from e
  print(f'fetching {len(missing)} Debian packages into {cache}', file=sys.stderr, flush=True)
  with tempfile.TemporaryDirectory(prefix='apt-', dir=cache) as scratch:
    absent = _Download(missing, scratch)
    if absent:
      absent = _DownloadWithOwnLists(absent, scratch)
    if absent:
      raise AptError(f'apt-get cannot download {", ".join(absent)}: {_LastError(scratch)}')
    for package in missing:
      _Run(['dpkg-deb', '-x', _Deb(scratch, package), root], scratch, _DOWNLOAD_SECONDS)
      _Touch(_UnpackedMarker(cache, package))
  return root, len(missing)


def _UnpackedMarker(cache, package):
  return os.path.join(cache, f'{package}.unpacked')


def _Touch(path):
  with open(path, 'w', encoding='utf-8'):
    pass


def _Deb(scratch, package):
  found = glob.glob(os.path.join(scratch, f'{package}_*.deb'))
  return found[0] if found else None


def _Download(packages, scratch, options=()):
  """Runs apt-get download; returns the packages that were not downloaded."""
  sandbox = ('-o', 'APT::Sandbox::User=root') if os.geteuid() == 0 else ()
  command = ['apt-get', '-q', *_NETWORK, *sandbox, *options, 'download', *packages]
  try:
    _Run(command, scratch, _DOWNLOAD_SECONDS)
  except AptError:
    pass  # The return value lists what is missing; the log in `scratch` has the reason.
  return [p for p in packages if _Deb(scratch, p) is None]


def _DownloadWithOwnLists(packages, scratch):
  state, archives = (os.path.join(scratch, d) for d in ('state', 'cache'))
  os.makedirs(os.path.join(state, 'lists', 'partial'))
  os.makedirs(os.path.join(archives, 'archives', 'partial'))
  options = (
    '-o',
    f'Dir::State={state}',
    '-o',
    f'Dir::State::lists={state}/lists',
    '-o',
    f'Dir::Cache={archives}',
    '-o',
    'Dir::State::status=/var/lib/dpkg/status',
    '-o',
    'Acquire::Languages=none',
  )
  sandbox = ('-o', 'APT::Sandbox::User=root') if os.geteuid() == 0 else ()
  try:
    _Run(['apt-get', '-q', *_NETWORK, *sandbox, *options, 'update'], scratch, _UPDATE_SECONDS)
  except AptError:
    pass  # Despite a broken source, or a hook that needs root, other lists may be usable: try the download.
  return _Download(packages, scratch, options)


def _Run(command, scratch, seconds):
  """Runs a command in `scratch` with its output in scratch/log; raises AptError with the error line of the log."""
  with open(os.path.join(scratch, 'log'), 'ab') as log:
    try:
      code = subprocess.run(
        command,
        cwd=scratch,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        timeout=seconds,
        env=dict(os.environ, LC_ALL='C', DEBIAN_FRONTEND='noninteractive'),
        check=False,
      ).returncode
    except subprocess.TimeoutExpired as e:
      raise AptError(f'{command[0]} took more than {seconds} s') from e
  if code:
    raise AptError(f'{command[0]} failed with exit code {code}: {_LastError(scratch)}')


def _LastError(scratch):
  """Returns the most informative line of the log: the last about the network, else the last error, else the last."""
  with open(os.path.join(scratch, 'log'), encoding='utf-8', errors='replace') as f:
    lines = [line.strip() for line in f if line.strip()]
  errors = [line for line in lines if line.startswith(('E:', 'Err:', 'dpkg-deb: error'))]
  network = [line for line in errors if 'Failed to fetch' in line]
  return (network or errors or lines or ['no output'])[-1]
