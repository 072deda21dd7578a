"""The keys of an entry of a manifest, under the names that people use, and what their values must be."""

import math
from collections.abc import Collection
from typing import Any

from fm_lingvo.utils import audio

# Key -> its other names.
ALIASES: dict[str, list[str]] = {
  'audio_filepath': (
    'audio_path audio_file audio_filename audio wav_path wav wav_filename path file file_name filename'
  ).split(),
  'text': 'transcript transcription sentence wrd'.split(),
  'duration': 'dur length_seconds'.split(),
  'offset': 'start start_time begin begin_time'.split(),
  'end': 'end_time stop'.split(),
  'channel': 'channel_id channel_selector'.split(),
  'utt_id': 'id utterance_id uttid utt segment_id key'.split(),
  'speaker': 'speaker_id client_id spk spk_id speaker_name'.split(),
  'lang': 'language locale lang_id source_lang'.split(),
  'split': 'subset partition'.split(),
  'domain': 'corpus dataset'.split(),
}
_PART_TOLERANCE = 0.05  # Seconds that `duration` and `end` - `offset` may differ.
_NUMBERS = ('duration', 'offset', 'end', 'channel')
_KEY_OF = {name: key for key, names in ALIASES.items() for name in (key, *names)}


class BadEntry(ValueError):
  """An entry that cannot be used; the message is one line without the place of the entry."""


def KeyOf(name: str) -> str | None:
  """Returns the key of ALIASES that a name stands for, or None."""
  return _KEY_OF.get(name) or _KEY_OF.get(str(name).strip().lower())


def IsMissing(key: str | None, value: object) -> bool:
  """Returns whether a key of ALIASES, or None, has no value: null, or NaN, which pandas writes where a text is missing.

  Anything else, 0 too, is a value; a number that is NaN is a wrong one.
  """
  return value is None or (value != value and key not in _NUMBERS)


def Known(row: dict[str, Any], keys: Collection[str] = tuple(ALIASES)) -> tuple[dict[str, Any], list[str]]:
  """Returns the values of an entry by their keys; a key's own name goes before its other names.

  Args:
    row: An entry; IsMissing says which of its values count as missing.
    keys: Those of ALIASES that are wanted.

  Returns:
    (dict with some of `keys`, names in `row` whose values are not used).

  Raises:
    BadEntry: Two other names of one key have different values.
  """
  known: dict[str, Any] = {}
  names: dict[str, str] = {}
  unused = []
  for name, value in row.items():
    key = KeyOf(name)
    if IsMissing(key, value):
      continue
    if key is None or key not in keys:
      unused.append(str(name))
    elif name != key and not IsMissing(key, row.get(key)):
      if value != row[key]:
        unused.append(str(name))
    elif key not in known:
      known[key], names[key] = value, name
    elif known[key] != value:
      raise BadEntry(f'{names[key]} and {name} are both {key}, with different values')
  return known, unused


def Channel(known: dict[str, Any]) -> int | None:
  """Returns the channel of an entry, from 0; None if it has none. Raises BadEntry for anything else."""
  value = known.get('channel')
  if value is None or value == '':
    return None
  number = _Number(value)  # Tables have 1.0 where other rows have no channel.
  if not (number >= 0 and number.is_integer()):
    raise BadEntry(f'channel = {str(value)[:80]}: expected a channel from 0')
  return int(number)


def Part(known: dict[str, Any]) -> tuple[float, float | None, float | None]:
  """Returns which part of its recording an entry is.

  Args:
    known: As of Known. `duration` is that of the part if there is an `offset`, and otherwise of the recording.

  Returns:
    (offset, seconds of the part or None for all to the end, seconds of the recording if the entry says so or None).

  Raises:
    BadEntry: A time is no number or out of its range, or they contradict each other.
  """
  offset, end, duration = _Seconds(known, 'offset'), _Seconds(known, 'end'), _Seconds(known, 'duration')
  if end is not None:
    seconds = end - (offset or 0.0)
    if seconds <= 0:
      raise BadEntry(f'end = {end:g}: expected more than offset = {offset or 0.0:g}')
    if duration is not None and abs(duration - seconds) > _PART_TOLERANCE:
      raise BadEntry(f'duration = {duration:g}, but end - offset = {seconds:g}')
    return offset or 0.0, seconds, None
  if offset is None:
    return 0.0, None, duration
  if duration == 0:
    raise BadEntry('duration = 0: expected seconds > 0 of a part')
  return offset, duration, None


def _Seconds(known: dict[str, Any], key: str) -> float | None:
  """Returns a time of an entry, None if it is missing or an empty string."""
  value = known.get(key)
  if value is None or value == '':
    return None
  seconds = _Number(value)
  if not 0 <= seconds < audio.MOST_SECONDS:
    raise BadEntry(f'{key} = {str(value)[:80]}: expected seconds >= 0 and < {audio.MOST_SECONDS:g}')
  return seconds


def _Number(value: Any) -> float:
  """Returns a number, also one in a string; NaN for anything else."""
  try:
    return math.nan if isinstance(value, bool) else float(value)
  except (OverflowError, TypeError, ValueError):
    return math.nan
