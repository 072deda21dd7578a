"""The demo data: human prompts in 5 languages, if apt can fetch them, and half an hour of synthetic speech."""

import os

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

from ..common import exit_codes
from . import pipeline


def PrepareDemo(output, overwrite=False, human=True):
  """Prepares output/human (prompts) and output/synthetic (synth), or reuses complete ones.

  Args:
    output: Directory of both data sets.
    overwrite: Whether to replace existing data sets.
    human: Whether to try the prompts, too.

  Returns:
    {'human': dataset.Dataset or None, 'synthetic': dataset.Dataset}.

  Raises:
    exit_codes.UsageError: No synthesiser is installed.
    errors.RunError: The disk failed.
  """
  result = {'human': None}
  if human:
    try:
      result['human'] = _Prepare('prompts', os.path.join(output, 'human'), overwrite)
    except exit_codes.UsageError as e:
      print(f'demo data: no human prompts: {e}')
  result['synthetic'] = _Prepare('synth', os.path.join(output, 'synthetic'), overwrite)
  used = ', '.join(
    f'{name} {sum(d.hours.values()) * 60:.1f} min ({", ".join(d.domains)})'
    for name, d in result.items()
    if d is not None
  )
  print(f'demo data: using {used}')
  return result


def _Prepare(importer, path, overwrite):
  found = None if overwrite else _Read(path, say_why=True)
  if found is not None:
    print(f'{path}: reused, {sum(found.hours.values()):.2f} h')
    return found
  try:
    made, _ = pipeline.PrepareData(importer, path, overwrite=overwrite or file_system.Exists(path))
    return made
  except exit_codes.UsageError:
    found = None if overwrite else _Read(path)  # A concurrent run may have prepared it in the meantime.
    if found is None:
      raise
    return found


def _Read(path, say_why=False):
  """Returns the data set, or None if it does not exist or is incomplete."""
  try:
    return dataset.ReadDataset(path)
  except dataset.DatasetError as e:
    if say_why and file_system.Exists(path):
      print(f'{e}; preparing it again')
    return None
