"""Files with a JSON object in each line, or in all: manifests of NeMo, Lhotse and SpeechBrain."""

import json

from fm_lingvo.data import dataset
from fm_lingvo.data import manifest_objects
from fm_lingvo.utils import text_lines


def Entries(listing, path):
  """As Objects; also reads a file that is one JSON object of entries, with FILE as their place."""
  entries = manifest_objects.Read(path)
  yield from Objects(listing, path) if entries is None else ((path, entry) for entry in entries)


def Objects(listing, path):
  """Yields (`FILE:LINE`, dict) of a file; rejects lines that are not JSON objects and skips empty ones.

  Args:
    listing: importers.Listing, gets the rejects.
    path: Local or remote file, decompressed if the name ends in .gz.

  Raises:
    dataset.DatasetError: The whole file is one JSON list, or see text_lines.Lines.
  """
  for number, line in text_lines.Lines(path):
    where = f'{path}:{number}'
    if number == 1 and line.startswith('['):
      raise dataset.DatasetError(f"{path}: a JSON list; expected an object a line, as jq -c '.[]' {path} writes them")
    if not line.strip():
      continue
    try:
      row = json.loads(line)
      if not isinstance(row, dict):
        raise ValueError(f'expected a JSON object, got {line[:40]}')
    except (RecursionError, ValueError) as e:
      listing.Reject('', where, 'bad_entry', f'{e}')
      continue
    yield where, row
