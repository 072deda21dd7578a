"""Staging directories: a data set is prepared next to its output and moved there when it is complete."""

import os
import re
import socket
import uuid

from fm_lingvo.utils import files as file_system

from ..common import exit_codes
from ..common import files

_NAMES = re.compile(r'(dataset|report)\.json|manifest\.jsonl|(train|dev|test)-\d{5}-of-\d{5}\.tfrecord')


def CheckReplaceable(output, sources=()):
  """Refuses an output if replacing it would delete anything but a data set.

  Args:
    output: Path of the data set; an older one, complete or not, may exist there.
    sources: Local paths that the data set is made from.

  Raises:
    exit_codes.UsageError: `output` is a file, or a folder that contains other files or one of the sources.
  """
  if not file_system.IsFolder(output):
    if file_system.Exists(output):
      raise exit_codes.UsageError(f'--output={output}: is a file; give a directory')
    return
  other = [name for name in file_system.List(output) if not _NAMES.fullmatch(name)]
  if other:
    more = f' and {len(other) - 1} more' if len(other) > 1 else ''
    raise exit_codes.UsageError(
      f'--output={output}: has {other[0]}{more}, which no data set has; give another directory: '
      'this one would be replaced'
    )
  for source in sources:
    if files.IsInside(source, output):
      raise exit_codes.UsageError(
        f'--output={output}: has {source}, which the data set is made from; give another directory'
      )


def Make(output):
  """Creates a staging directory next to the output; first removes those of runs that died on this machine.

  Args:
    output: Path of the data set.

  Returns:
    Path of the staging directory.

  Raises:
    errors.ConfigError: The parent directory cannot be created.
  """
  parent, name = os.path.split(output)
  host = socket.gethostname()
  staging = os.path.join(parent, f'.{name}.partial-{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}')
  if file_system.IsRemote(output):
    file_system.MakeFolder(staging)
    return staging
  files.MakeFolder(parent, f'--output={output}')
  prefix = f'.{name}.partial-{host}-'
  for entry in os.listdir(parent or '.'):
    if entry.startswith(prefix) and not _IsAlive(entry[len(prefix) :].split('-')[0]):
      file_system.RemoveTree(os.path.join(parent, entry))
  os.makedirs(staging)
  return staging


def _IsAlive(pid):
  try:
    os.kill(int(pid), 0)
  except ProcessLookupError:
    return False
  except (PermissionError, ValueError):
    pass
  return True


def Publish(staging, output, overwrite):
  """Moves a complete data set to its output; a reader sees the old one, none, or the new one.

  Args:
    staging: The directory that Make returned, with the data set.
    output: Path of the data set.
    overwrite: Whether to replace an existing output.

  Raises:
    exit_codes.UsageError: Another run has created the output in the meantime, and `overwrite` is false.
  """
  if file_system.Exists(output) and not overwrite:
    raise exit_codes.UsageError(
      f"--output={output}: another run has created it in the meantime; this run's result is discarded"
    )
  if file_system.IsRemote(output):
    file_system.RemoveTree(output)
    file_system.MakeFolder(output)
    names = sorted(file_system.List(staging), key=lambda n: (n == 'dataset.json', n))
    for name in names:  # Object stores cannot rename a directory atomically: dataset.json comes last.
      file_system.Replace(os.path.join(staging, name), os.path.join(output, name))
  elif os.path.exists(output):
    old = staging + '.old'
    os.rename(output, old)
    os.rename(staging, output)
    file_system.RemoveTree(old)
  else:
    os.rename(staging, output)
