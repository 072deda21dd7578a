"""Manifests that are one JSON object of all entries, as SpeechBrain's: {"ID": {"wav": ..., "words": ...}, ...}."""

import json
from collections.abc import Iterator
from typing import Any

from fm_lingvo import errors
from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import suggest
from fm_lingvo.utils import text_lines

# SpeechBrain's names that mean something else in other manifests -> keys of manifest_keys.ALIASES.
_KEYS = {'words': 'text', 'length': 'duration'}


def Objects(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields (number of the line, dict) of a manifest, as text_lines.Objects, or the entries of one JSON object."""
  entries = Read(path)
  yield from text_lines.Objects(path) if entries is None else ((1, entry) for entry in entries)


def Read(path: str) -> list[dict[str, Any]] | None:
  """Returns the entries of a manifest that is one JSON object, with `utt_id`; None if it has an object a line.

  Args:
    path: Local or remote file, decompressed if its name ends in .gz.

  Raises:
    errors.DatasetError: It is one object of another form, or see text_lines.Lines.
    OSError: The file cannot be read.
  """
  whole = _Whole(path)
  if whole is None:
    return None
  if not all(isinstance(entry, dict) and _HasRecording(entry) for entry in whole.values()):
    form = "ESPnet's data.json; prepare its wav.scp and text by --importer=kaldi" if 'utts' in whole else ''
    raise errors.DatasetError(
      f'{path}: one JSON object with {suggest.Some(map(str, whole), 3)}: '
      + (form or "expected a JSON object a line, or SpeechBrain's form, where each value has the path of a recording")
    )
  return [{'utt_id': utt_id, **_Entry(entry)} for utt_id, entry in whole.items()]


def _Whole(path):
  """Returns a file's JSON object if it is the only one and its values are objects, or if it is on several lines."""
  lines = (line for _, line in text_lines.Lines(path) if line.strip())
  first = next(lines, '')
  if not first.lstrip().startswith('{'):
    return None
  found = _Object(first)
  if found is None:
    found = _Object('\n'.join([first, *lines]))  # An object a line would not be one object.
    return found or None
  is_whole = found and all(isinstance(v, dict) and manifest_keys.KeyOf(k) is None for k, v in found.items())
  return found if is_whole and next(lines, None) is None else None


def _Object(text):
  try:
    found = json.loads(text)
  except (RecursionError, ValueError):
    return None
  return found if isinstance(found, dict) else None


def _HasRecording(entry):
  return any(manifest_keys.KeyOf(name) == 'audio_filepath' and isinstance(value, str) for name, value in entry.items())


def _Entry(entry):
  """Returns an entry with the keys of manifest_keys.ALIASES in the place of SpeechBrain's own."""
  present = {manifest_keys.KeyOf(name) for name in entry}
  return {_KEYS.get(n, n) if _KEYS.get(n) not in present else n: v for n, v in entry.items() if n != 'utt_id'}
