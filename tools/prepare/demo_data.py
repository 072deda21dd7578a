"""The demo data: human prompts in 5 languages, if apt can fetch them, and half an hour of synthetic speech."""

import os

from fm_lingvo.data import dataset

from ..common import exit_codes
from . import reuse


def PrepareDemo(output: str, overwrite: bool = False) -> dict[str, dataset.Dataset]:
  """Prepares output/human (prompts) and output/synthetic (synth), or reuses complete ones.

  Args:
    output: Directory of both data sets.
    overwrite: Whether to replace existing data sets.

  Returns:
    {'human': dataset.Dataset, 'synthetic': dataset.Dataset}; without the first if the prompts cannot be fetched.

  Raises:
    exit_codes.UsageError: No synthesiser is installed.
    errors.RunError: The disk failed.
  """
  made = {}
  try:
    made['human'] = reuse.Get(os.path.join(output, 'human'), 'prompts', overwrite)
  except exit_codes.UsageError as e:
    print(f'demo data: no human prompts: {e}')
  made['synthetic'] = reuse.Get(os.path.join(output, 'synthetic'), 'synth', overwrite)
  used = ', '.join(f'{name} {sum(d.hours.values()) * 60:.1f} min ({", ".join(d.domains)})' for name, d in made.items())
  print(f'demo data: using {used}')
  return made
