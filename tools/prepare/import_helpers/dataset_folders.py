"""The Parquet and Arrow files of a Hugging Face data set on disk, and their splits.

Layouts: what `save_to_disk` writes (dataset_dict.json, state.json and *.arrow), a repository of the Hub
(data/train-00000-of-00002.parquet, CONFIGURATION/train/0000.parquet), and any folder with such files.
"""

import json
import os
import re

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from . import rows

_SHARD = re.compile(r'-\d{4,}(-of-\d{4,})?$|^\d{4,}$')


def Files(path):
  """Returns [(split or None, file)] of a file or folder.

  Raises:
    exit_codes.UsageError: The folder has no such files, lacks one that it names, or has several configurations.
  """
  if file_system.IsRemote(path):
    folder = path.endswith('/') or not path.endswith(('.parquet', '.arrow'))
  else:
    folder = os.path.isdir(path)
  if not folder:
    return [(_Split(os.path.basename(path)), path)]
  splits = os.path.join(path, 'dataset_dict.json')
  if file_system.Exists(splits):
    names = _Json(splits).get('splits') or ()
    return [(rows.SplitName(name), file) for name in names for _, file in _Saved(os.path.join(path, name))]
  if file_system.Exists(os.path.join(path, 'state.json')):
    return _Saved(path)
  return _Found(path)


def _Json(path):
  try:
    with file_system.Open(path) as f:
      content = json.load(f)
    if not isinstance(content, dict):
      raise ValueError('expected a JSON object')
    return content
  except (OSError, RecursionError, ValueError) as e:
    raise exit_codes.UsageError(f'--input={path}: not what save_to_disk writes ({e})') from e


def _Saved(folder):
  """Returns [(split or None, file)] of a data set that save_to_disk has written."""
  state = _Json(os.path.join(folder, 'state.json'))
  if state.get('_indices_data_files'):
    raise exit_codes.UsageError(
      f'--input={folder}: a selection by indices (datasets 1.x); save flatten_indices() of it'
    )
  found = [os.path.join(folder, os.path.basename(str(file['filename']))) for file in state.get('_data_files') or ()]
  for file in found:
    if not file_system.Exists(file):
      raise exit_codes.UsageError(f'--input={folder}: {os.path.basename(file)}, named in state.json, is missing')
  split = rows.SplitName(str(state.get('_split') or ''))
  return [(split, file) for file in found]


def _Found(root):
  """Returns [(split or None, file)] of all Parquet and Arrow files in a folder."""
  found = [
    os.path.join(folder, name)
    for folder, names in file_system.Walk(root)
    for name in names
    if name.endswith('.parquet') or (name.endswith('.arrow') and not name.startswith(('cache-', 'indices')))
  ]
  if not found:
    raise exit_codes.UsageError(f'--input={root}: no *.parquet and no *.arrow in it')
  result, configurations = [], set()
  for file in found:
    parts = file[len(root) :].strip('/').split('/')
    splits = [_Split(part) for part in parts]
    result.append((next((split for split in reversed(splits) if split), None), file))
    configurations.add('/'.join(p for p, split in zip(parts[:-1], splits) if not split and p != 'data'))
  if len(configurations) > 1:
    names = ', '.join(sorted(name or '.' for name in configurations))
    raise exit_codes.UsageError(f'--input={root}: has several configurations, {names}; give the folder of one')
  return result


def _Split(name):
  """Returns the split of a name such as train-00000-of-00002.parquet, corpus-validation.arrow or train.clean.100."""
  stem = _SHARD.sub('', re.sub(r'\.(parquet|arrow)$', '', name)).replace('.', '-')
  return rows.SplitNameOfPath(stem) or rows.SplitNameOfPath(stem.rpartition('-')[2])
