"""Locks a run's folder, so that only one process writes it; the lock ends with the process."""

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from typing import IO

from fm_lingvo import errors
from fm_lingvo.utils import files


def Check(run_dir: str) -> None:
  """Raises the errors of Hold, as far as they can be known without writing a file."""
  if files.IsRemote(run_dir):
    return
  folder = os.path.abspath(run_dir)
  while not os.path.lexists(folder):
    folder = os.path.dirname(folder)
  if not os.path.isdir(folder):
    raise _CannotWrite(run_dir, os.strerror(errno.ENOTDIR))
  if not os.access(folder, os.W_OK | os.X_OK):
    raise _CannotWrite(run_dir, os.strerror(errno.EACCES))
  path = os.path.join(run_dir, 'lock')
  if os.path.exists(path):
    try:
      with open(path, 'r+', encoding='utf-8') as lock:
        try:
          fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as e:
          raise _Locked(run_dir, lock) from e
        except OSError:
          pass  # A file system without locks.
    except OSError as e:
      raise _CannotWrite(run_dir, e.strerror) from e


@contextlib.contextmanager
def Hold(run_dir: str) -> Iterator[None]:
  """Context that holds the lock RUN/lock; creates the folder if needed.

  The kernel releases the lock when the process ends, even if it is killed. Object stores have no locks; nothing is
  locked there.

  Args:
    run_dir: Folder of the run.

  Raises:
    errors.ConfigError: Another process holds the lock, or the folder cannot be written.
  """
  if files.IsRemote(run_dir):
    yield
    return
  path = os.path.join(run_dir, 'lock')
  try:
    os.makedirs(run_dir, exist_ok=True)
    lock = open(path, 'a+', encoding='utf-8')
  except OSError as e:
    raise _CannotWrite(run_dir, e.strerror) from e
  with lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as e:
      raise _Locked(run_dir, lock) from e
    except OSError as e:
      print(
        f'{path}: this file system has no locks ({e.strerror}); make sure that no other trainer writes this run',
        flush=True,
      )
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {socket.gethostname()}, since {time.strftime("%Y-%m-%d %H:%M:%S")}\n')
    lock.flush()
    yield


def _CannotWrite(run_dir: str, reason: str | None) -> errors.ConfigError:
  return errors.ConfigError(f'--logdir={run_dir}: cannot be written ({reason})')


def _Locked(run_dir: str, lock: IO[str]) -> errors.ConfigError:
  lock.seek(0)
  return errors.ConfigError(
    f'--logdir={run_dir}: another trainer is writing this run ({lock.read().strip() or "unknown"}); '
    'wait until it ends or choose another folder'
  )
