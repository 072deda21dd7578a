"""Reads every shard of data sets and reports what is damaged, missing, or does not match the manifest.

  python -m tools.check_data data/recipe/target data/recipe/unlabeled

Exit code 0: all intact; 1: problems were found, one line each; 2: a folder is not a data set; 130: Ctrl-C.
Training makes the same check when it cannot read a record; it skips at most max_damaged_records per stream.
"""

import collections
import os
import sys

from fm_lingvo.data import dataset
from fm_lingvo.data import shard_integrity
from fm_lingvo.utils import files as file_system

from .common import command_line
from .common import exit_codes


def Check(path):
  """Returns a line for each problem of a data set.

  Raises:
    dataset.DatasetError: The folder has no readable dataset.json.
  """
  info = dataset.ReadDataset(path, check_shards=False)
  lines, rows = [], None
  try:
    rows = collections.Counter(row['shard'] for row in dataset.ReadManifest(path))
  except dataset.DatasetError as e:
    lines.append(str(e))
  for split in dataset.SPLITS:
    for shard in info.shards[split]:
      name = os.path.join(path, shard.name)
      if not file_system.Exists(name):
        lines.append(f'{name}: missing, {shard.utterances} records')
        continue
      found = shard_integrity.Scan(name, shard.utterances)
      if found:
        lines.append(found.line)
      if rows is not None and rows[shard.name] != shard.utterances:
        lines.append(f'{name}: {rows[shard.name]} lines in manifest.jsonl, but dataset.json says {shard.utterances}')
  listed = {shard.name for split in dataset.SPLITS for shard in info.shards[split]}
  lines += [
    f'{os.path.join(path, "manifest.jsonl")}: {count} lines of {name}, which dataset.json does not list'
    for name, count in sorted((rows or {}).items())
    if name not in listed
  ]
  return lines


def Main(argv: list[str] | None = None) -> int:
  """Runs the tool; returns the exit code."""
  parser = command_line.Parser('check_data', __doc__)
  parser.add_argument(
    'data', type=file_system.ExpandUser, nargs='+', metavar='DATA_SET', help='folder with a dataset.json'
  )
  args = parser.parse_args((argv or sys.argv)[1:])
  return exit_codes.Report('check_data', lambda: _Run(args.data))


def _Run(paths):
  """Checks one data set after the other; returns the exit code."""
  code = 0
  for path in paths:
    try:
      lines = Check(path)
    except dataset.DatasetError as e:
      print(f'check_data: {e}', file=sys.stderr)
      code = 2
      continue
    print('\n'.join(lines) or f'{path}: intact')
    code = max(code, 1 if lines else 0)
  return code


if __name__ == '__main__':
  sys.exit(Main(sys.argv))
