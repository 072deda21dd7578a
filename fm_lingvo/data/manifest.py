"""Manifests as in NeMo, a JSON object a line: the keys that they have, under the names that people use."""

import dataclasses
import math
import os
from typing import Any

from fm_lingvo import errors
from fm_lingvo.data import manifest_keys
from fm_lingvo.data import manifest_objects
from fm_lingvo.utils import audio
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest


@dataclasses.dataclass(frozen=True)
class Entry:
  """A recording, or a part of one, and its transcript."""

  utt_id: str
  path: str
  text: str
  speaker: str = ''
  language: str = ''
  offset: float = 0.0  # Seconds.
  seconds: float | None = None  # None: to the end.
  channel: int | None = None  # From 0; None: the mean of all.

  @property
  def is_whole(self) -> bool:
    """Whether this is the whole recording with all of its channels."""
    return not self.offset and self.seconds is None and self.channel is None


def Read(path: str) -> list[Entry]:
  """Reads a manifest of transcribed recordings; their paths are relative to its folder.

  It has an object a line, or is one object of them (manifest_objects).

  Args:
    path: Local or remote file, decompressed if its name ends in .gz.

  Raises:
    errors.ConfigError: There is no such file.
    errors.DatasetError: A line is no JSON object, has no recording, no text or a wrong value, or an id appears twice.
  """
  if not files.Exists(path) or not files.IsRemote(path) and os.path.isdir(path):
    expected = 'expected a file with a JSON object a line'
    raise errors.ConfigError(f'{path}: no such manifest; {expected}{files.HintBeside(path)}')
  entries: dict[str, Entry] = {}
  for number, row in manifest_objects.Objects(path):
    where = f'{path}:{number}'
    entry = _Entry(row, where, os.path.dirname(path))
    if entry.utt_id in entries:
      raise errors.DatasetError(f'{where}: {entry.utt_id} appears twice; expected one line for an id')
    entries[entry.utt_id] = entry
  if not entries:
    raise errors.DatasetError(f'{path}: no utterances')
  return list(entries.values())


def _Entry(row: dict[str, Any], where: str, folder: str) -> Entry:
  known = _Known(row, where)
  for key in ('audio_filepath', 'text'):
    if not isinstance(known.get(key), str):
      raise errors.DatasetError(f'{where}: {key}: expected a string; found {suggest.Some(row)}')
  name = known['audio_filepath']
  offset, end = _Seconds(known, 'offset', where), _Seconds(known, 'end', where)
  seconds = None if offset is None else _Seconds(known, 'duration', where)  # Without offset, that of the recording.
  if end is not None:
    seconds = end - (offset or 0.0)
    if seconds <= 0:
      raise errors.DatasetError(f'{where}: end = {end:g}: expected more than offset = {offset or 0.0:g}')
  channel = _Channel(known, where)
  part = '' if offset is None and end is None else f'@{offset or 0.0:g}'
  part += '' if channel is None else f'#{channel}'
  return Entry(
    utt_id=files.Printable(str(known.get('utt_id', name + part))),
    path=name if files.IsRemote(name) else os.path.join(folder, name),
    text=known['text'],
    speaker=str(known.get('speaker', '')),
    language=str(known.get('lang', '')),
    offset=offset or 0.0,
    seconds=seconds,
    channel=channel,
  )


def _Known(row: dict[str, Any], where: str) -> dict[str, Any]:
  """Returns the values of a row by their keys; a key's own name goes before its other names."""
  known: dict[str, Any] = {}
  names: dict[str, str] = {}
  for name, value in sorted(row.items(), key=lambda item: item[0] not in manifest_keys.ALIASES):
    key = manifest_keys.KeyOf(name)
    if key is None or manifest_keys.IsMissing(key, value):
      continue
    if names.get(key, key) != key and known[key] != value:
      raise errors.DatasetError(f'{where}: {names[key]} and {name} are both {key}, with different values')
    if key not in known:
      known[key], names[key] = value, name
  return known


def _Channel(known: dict[str, Any], where: str) -> int | None:
  value = known.get('channel')
  if value is None or value == '':
    return None
  try:
    channel = -1 if isinstance(value, bool) or float(value) != int(float(value)) else int(float(value))
  except (OverflowError, TypeError, ValueError):
    channel = -1
  if channel < 0:
    raise errors.DatasetError(f'{where}: channel = {str(value)[:40]}: expected a channel from 0')
  return channel


def _Seconds(known: dict[str, Any], key: str, where: str) -> float | None:
  value = known.get(key)
  if value is None or value == '':
    return None
  try:
    seconds = math.nan if isinstance(value, bool) else float(value)
  except (OverflowError, TypeError, ValueError):
    seconds = math.nan
  if not 0 <= seconds < audio.MOST_SECONDS:
    raise errors.DatasetError(f'{where}: {key} = {str(value)[:40]}: expected seconds >= 0 and < {audio.MOST_SECONDS:g}')
  return seconds
