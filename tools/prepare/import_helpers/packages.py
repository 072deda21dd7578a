"""Where importers of Debian packages find their files: fetched by apt, or below --input, already unpacked."""

import glob
import gzip
import os

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ...common import files
from . import debian


def Root(importer: str, directory: str | None, packages: list[str]) -> str:
  """Returns the folder with the files of the packages.

  Args:
    importer: Name of the importer, for errors.
    directory: --input, or None to fetch the packages.
    packages: Names of Debian packages.

  Raises:
    exit_codes.UsageError: The folder is missing or remote, or apt cannot fetch the packages.
  """
  if directory:
    if file_system.IsRemote(directory):
      raise exit_codes.UsageError(f'--input={directory}: expected a local folder with unpacked packages')
    return files.RequireDirectory(importer, directory)
  try:
    return debian.FetchPackages(packages)[0]
  except debian.AptError as e:
    raise exit_codes.UsageError(f'{e}; give a directory with the unpacked packages: --input=DIRECTORY') from e


def FoldersWith(root: str, names: set[str]) -> dict[str, str]:
  """Returns name -> the first folder below `root` that has a file of that name, for those names that are found."""
  found = {}
  for directory, present in file_system.Walk(root):
    for name in names.intersection(present):
      found.setdefault(name, directory)
  return found


def Licenses(root: str, package: str) -> dict[str, str]:
  """Returns path below `root` -> text of the copyright and readme files of a package, for the report."""
  folder = os.path.join(glob.escape(root), 'usr', 'share', 'doc', package)
  texts = {}
  for path in sorted(glob.glob(f'{folder}/copyright') + glob.glob(f'{folder}/readme.txt*')):
    with (gzip.open if path.endswith('.gz') else open)(path, 'rb') as f:
      texts[os.path.relpath(path, root)] = f.read().decode('utf-8', 'replace')
  return texts
