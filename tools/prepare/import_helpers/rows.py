"""Entries of manifests and tables: the keys that they have, under the names that people use, as an Utterance."""

import json
import math
import os

from fm_lingvo.data import dataset
from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import audio
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import suggest

from .. import importers
from . import audio_paths

ALIASES, KEYS = manifest_keys.ALIASES, tuple(manifest_keys.ALIASES)
_SPLITS = {
  **{split: split for split in dataset.SPLITS},
  **{name: 'train' for name in ('training', 'tr')},
  **{name: 'dev' for name in ('development', 'val', 'valid', 'validation', 'eval_dev', 'cv')},
  **{name: 'test' for name in ('testing', 'eval', 'evaluation', 'tt')},
}
# Names of languages and codes of three letters, as Lhotse's and Hugging Face's data have them.
_LANGUAGES = {
  **{name: 'en' for name in ('english', 'eng')},
  **{name: 'es' for name in ('spanish', 'spa')},
  **{name: 'fr' for name in ('french', 'fra', 'fre')},
  **{name: 'it' for name in ('italian', 'ita')},
  **{name: 'ru' for name in ('russian', 'rus')},
}
_PART_TOLERANCE = 0.05  # Seconds that `duration` and `end` - `offset` may differ.


class BadEntry(ValueError):
  """An entry that cannot be used; the message is one line without the place of the entry."""


def SplitName(name):
  """Returns dataset.SPLITS's name of a split, such as dev for validation or dev-clean; None if it is none of them."""
  lower = name.strip().lower()
  first = lower.replace('_', '-').partition('-')[0]
  return _SPLITS.get(lower) or (_SPLITS.get(first) if len(first) > 2 else None)  # tr-TR and tt-RU are languages.


def SplitNameOfPath(name):
  """As SplitName, for the name of a file or folder; tr, tt and cv are languages there."""
  return SplitName(name) if len(name) > 2 else None


def Whole(row):
  """Returns an entry whose recording was cut out of a longer one: times only say how long it must be."""
  result = {name: value for name, value in row.items() if manifest_keys.KeyOf(name) not in ('offset', 'end')}
  try:
    times = [
      float(value) for key in ('offset', 'end') for name, value in row.items() if manifest_keys.KeyOf(name) == key
    ]
  except (OverflowError, TypeError, ValueError):
    times = []
  if len(times) == 2 and times[1] > times[0] and not any(manifest_keys.KeyOf(name) == 'duration' for name in result):
    result['duration'] = times[1] - times[0]
  return result


def Canonical(listing, row):
  """Renames the keys of an entry; of several names of one key, the key's own goes before the others.

  Args:
    listing: importers.Listing; keys that are not used, but have a value, are counted in `ignored`.
    row: dict of an entry; manifest_keys.IsMissing says which values count as missing.

  Returns:
    dict with some of KEYS.

  Raises:
    BadEntry: Two other names of one key have different values.
  """
  result, names = {}, {}
  listing.known = KEYS
  for name, value in row.items():
    key = manifest_keys.KeyOf(name)
    if manifest_keys.IsMissing(key, value):
      continue
    if key is None:
      listing.ignored[str(name)] += 1
    elif key not in result:
      result[key], names[key] = value, name
    elif result[key] != value and not manifest_keys.IsMissing(key, row.get(key)):
      listing.ignored[str(name)] += 1
      result[key] = row[key]
    elif result[key] != value:
      raise BadEntry(f'{names[key]} and {name} are both {key}, with different values')
  return result


def _Text(row, key, default=''):
  """Returns the value of a key as text; numbers are written as text, lists and booleans refused."""
  value = row.get(key, default)
  if isinstance(value, bool) or not isinstance(value, (str, int, float)):
    raise BadEntry(f'{key} = {json.dumps(value)[:80]}: expected a string')
  text = value if isinstance(value, str) else f'{value}'
  if text.isascii():  # Most are, and this is fast.
    return text
  try:
    text.encode('utf-8')
  except UnicodeEncodeError as e:
    raise BadEntry(f'{key} has a lone surrogate, which is not Unicode text') from e
  return text


def _Path(row):
  path = row.get('audio_filepath', '')
  if not isinstance(path, str):
    raise BadEntry(f'audio_filepath = {json.dumps(path)[:80]}: expected a string')
  if not path:
    raise BadEntry(f'no audio_filepath (or {", ".join(ALIASES["audio_filepath"][:3])}, ...)')
  if file_system.IsRemote(path):
    return _Text(row, 'audio_filepath')
  try:
    path.encode('utf-8', 'surrogateescape')  # Bytes of a name that are not UTF-8 are surrogates, in JSON escaped.
  except UnicodeEncodeError as e:
    raise BadEntry('audio_filepath has a lone surrogate, which is not Unicode text') from e
  return path


def _Seconds(row, key, lowest, including):
  """Returns the value of a key as float, None if it is missing or an empty string."""
  value = row.get(key)
  if value is None or value == '':
    return None
  try:
    seconds = math.nan if isinstance(value, bool) else float(value)
  except (TypeError, ValueError, OverflowError):
    seconds = math.nan
  if not ((seconds > lowest or (including and seconds == lowest)) and seconds < audio.MOST_SECONDS):
    limits = f'{">=" if including else ">"} {lowest:g} and < {audio.MOST_SECONDS:g}'
    raise BadEntry(f'{key} = {str(value)[:80]}: expected seconds {limits}')
  return seconds


def _Channel(row):
  value = row.get('channel')
  if value is None or value == '':
    return None
  try:
    channel = int(float(value))  # Tables have 1.0 where other rows have no channel.
    if isinstance(value, bool) or channel != float(value) or channel < 0:
      raise ValueError
  except (TypeError, ValueError, OverflowError) as e:
    raise BadEntry(f'channel = {str(value)[:80]}: expected a channel from 0') from e
  return channel


def _Part(row):
  """Returns (offset, seconds or None, declared duration or None) of an entry."""
  offset, end = _Seconds(row, 'offset', 0.0, True), _Seconds(row, 'end', 0.0, False)
  duration = _Seconds(row, 'duration', 0.0, False)
  if end is not None:
    seconds = end - (0.0 if offset is None else offset)
    if seconds <= 0:
      raise BadEntry(f'end = {end:g}: expected more than offset = {offset:g}')
    if duration is not None and abs(duration - seconds) > _PART_TOLERANCE:
      raise BadEntry(f'duration = {duration:g}, but end - offset = {seconds:g}')
    return offset or 0.0, seconds, None
  if offset is None:
    return 0.0, None, duration
  return offset, duration, None


def _Split(row, default):
  name = _Text(row, 'split')
  if not name:
    return default
  split = SplitName(name)
  if split is None:
    raise BadEntry(f'split = {name[:80]!r}: expected one of {", ".join(dataset.SPLITS)}{suggest.Hint(name, _SPLITS)}')
  return split


def _Language(row, default):
  name = _Text(row, 'lang').replace('_', '-').partition('-')[0].lower()
  return _LANGUAGES.get(name, name) or default


class Importer:
  """Adds the entries of one or several files to a listing.

  Attributes:
    listing: importers.Listing.
  """

  def __init__(self, options, domain, language=None):
    """Keeps what entries without these keys get.

    Args:
      options: importers.Options.
      domain: Default of `domain`.
      language: Default of `lang`, or None.
    """
    self.listing = importers.Listing()
    self._options, self._domain, self._language = options, domain, language
    self._ids = audio_paths.UtteranceIds()

  def Add(self, row, where, *, split=None, container=None, member=None, name=None):
    """Adds an entry as an utterance, or rejects it.

    Args:
      row: dict with some of KEYS or their other names (ALIASES).
      where: `FILE:LINE`, for rejects and relative paths.
      split: Split of entries without `split`, or None.
      container: fm_lingvo.data.importers.Container with the recording; None: a file.
      member: The recording in the container.
      name: Path of the recording in the container, of which the id is made; None: str(member).
    """
    utt_id = ''
    try:
      row = Canonical(self.listing, row)
      utt_id = _Text(row, 'utt_id')
      path = _Path(row) if container is None else str(member) if name is None else name
      offset, seconds, declared = _Part(row)
      channel = _Channel(row)
      utt_id = utt_id or self._ids.Make(path, offset, seconds, channel, os.path.dirname(where))
      utterance = dict(
        text=_Text(row, 'text'),
        speaker=_Text(row, 'speaker') or 'unknown',
        domain=_Text(row, 'domain') or self._domain,
        split=_Split(row, split),
        language=_Language(row, self._language),
      )
    except BadEntry as e:
      self.listing.Reject(utt_id, where, 'bad_entry', str(e))
      return
    source = where if container is not None else audio_paths.Resolve(self.listing, utt_id, where, path, self._options)
    if source is not None:
      self.listing.utterances.append(
        importers.Utterance(
          utt_id,
          source=source,
          declared_duration=declared,
          offset=offset,
          seconds=seconds,
          channel=channel,
          container=container,
          member=member,
          **utterance,
        )
      )
