"""Data sets that are made once: a complete one is reused."""

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

from ..common import exit_codes


def Find(path: str) -> dataset.Dataset | None:
  """Returns the data set in a folder and says that it is reused; None: it is missing or incomplete."""
  try:
    found = dataset.ReadDataset(path)
  except dataset.DatasetError as e:
    if file_system.Exists(path):
      print(f'{e}; preparing it again')
    return None
  print(f'{path}: reused, {sum(found.hours.values()):.2f} h', flush=True)
  return found


def Get(path: str, importer: str, overwrite: bool = False, **arguments) -> dataset.Dataset:
  """Returns a data set, which is prepared unless it is complete.

  Args:
    path: Its folder.
    importer: See pipeline.PrepareData.
    overwrite: Whether to prepare it in any case.
    **arguments: Further ones of pipeline.PrepareData.

  Raises:
    exit_codes.UsageError, errors.RunError: See pipeline.PrepareData.
  """
  from . import pipeline  # Beam takes a second to import, and --help does not need it.

  found = None if overwrite else Find(path)
  if found is not None:
    return found
  try:
    return pipeline.PrepareData(importer, path, overwrite=file_system.Exists(path), **arguments)[0]
  except exit_codes.UsageError:
    found = None if overwrite else Find(path)  # Another run may have made it in the meantime.
    if found is None:
      raise
    return found
