"""Manifests as in NeMo, a JSON object a line: the keys that they have, under the names that people use."""

import dataclasses
import os
from typing import Any

from fm_lingvo import errors
from fm_lingvo.data import manifest_keys
from fm_lingvo.data import manifest_objects
from fm_lingvo.utils import files
from fm_lingvo.utils import suggest

_KEYS = ('audio_filepath', 'text', 'duration', 'offset', 'end', 'channel', 'utt_id', 'speaker', 'lang')


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
  try:
    known, _ = manifest_keys.Known(row, _KEYS)
    offset, seconds, _ = manifest_keys.Part(known)
    channel = manifest_keys.Channel(known)
  except manifest_keys.BadEntry as e:
    raise errors.DatasetError(f'{where}: {e}') from e
  for key in ('audio_filepath', 'text'):
    if not isinstance(known.get(key), str):
      raise errors.DatasetError(f'{where}: {key}: expected a string; found {suggest.Some(row)}')
  name = known['audio_filepath']
  part = f'@{offset:g}' if 'offset' in known or 'end' in known else ''
  part += '' if channel is None else f'#{channel}'
  return Entry(
    utt_id=files.Printable(str(known.get('utt_id', name + part))),
    path=name if files.IsRemote(name) else os.path.join(folder, name),
    text=known['text'],
    speaker=str(known.get('speaker', '')),
    language=str(known.get('lang', '')),
    offset=offset,
    seconds=seconds,
    channel=channel,
  )
