"""Entries of manifests and tables: the keys that they have, under the names that people use, as an Utterance."""

import json
import os

from fm_lingvo.data import dataset
from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import suggest

from .. import importers
from . import audio_paths

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


def _Text(row, key, default=''):
  """Returns the value of a key as text; numbers are written as text, lists and booleans refused."""
  value = row.get(key, default)
  if isinstance(value, bool) or not isinstance(value, (str, int, float)):
    raise manifest_keys.BadEntry(f'{key} = {json.dumps(value)[:80]}: expected a string')
  text = value if isinstance(value, str) else f'{value}'
  if text.isascii():  # Most are, and this is fast.
    return text
  try:
    text.encode('utf-8')
  except UnicodeEncodeError as e:
    raise manifest_keys.BadEntry(f'{key} has a lone surrogate, which is not Unicode text') from e
  return text


def _Path(row):
  path = row.get('audio_filepath', '')
  if not isinstance(path, str):
    raise manifest_keys.BadEntry(f'audio_filepath = {json.dumps(path)[:80]}: expected a string')
  if not path:
    names = ', '.join(manifest_keys.ALIASES['audio_filepath'][:3])
    raise manifest_keys.BadEntry(f'no audio_filepath (or {names}, ...)')
  if file_system.IsRemote(path):
    return _Text(row, 'audio_filepath')
  try:
    path.encode('utf-8', 'surrogateescape')  # Bytes of a name that are not UTF-8 are surrogates, in JSON escaped.
  except UnicodeEncodeError as e:
    raise manifest_keys.BadEntry('audio_filepath has a lone surrogate, which is not Unicode text') from e
  return path


def _Split(row, default):
  name = _Text(row, 'split')
  if not name:
    return default
  split = SplitName(name)
  if split is None:
    expected = f'expected one of {", ".join(dataset.SPLITS)}{suggest.Hint(name, _SPLITS)}'
    raise manifest_keys.BadEntry(f'split = {name[:80]!r}: {expected}')
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
    self.listing = importers.Listing(known=tuple(manifest_keys.ALIASES))
    self._options, self._domain, self._language = options, domain, language
    self._ids = audio_paths.UtteranceIds()

  def Add(self, row, where, *, split=None, container=None, member=None, name=None):
    """Adds an entry as an utterance, or rejects it.

    Args:
      row: dict with some of manifest_keys.ALIASES, or with their other names.
      where: `FILE:LINE`, for rejects and relative paths.
      split: Split of entries without `split`, or None.
      container: fm_lingvo.data.importers.Container with the recording; None: a file.
      member: The recording in the container.
      name: Path of the recording in the container, of which the id is made; None: str(member).
    """
    utt_id = ''
    try:
      row, unused = manifest_keys.Known(row)
      self.listing.ignored.update(unused)
      utt_id = _Text(row, 'utt_id')
      path = _Path(row) if container is None else str(member) if name is None else name
      offset, seconds, declared = manifest_keys.Part(row)
      channel = manifest_keys.Channel(row)
      utt_id = utt_id or self._ids.Make(path, offset, seconds, channel, os.path.dirname(where))
      utterance = dict(
        text=_Text(row, 'text'),
        speaker=_Text(row, 'speaker') or 'unknown',
        domain=_Text(row, 'domain') or self._domain,
        split=_Split(row, split),
        language=_Language(row, self._language),
      )
    except manifest_keys.BadEntry as e:
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
