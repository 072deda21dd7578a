"""WebDataset: tar files with KEY.wav (or .flac, .mp3, ...) and KEY.txt and/or KEY.json, whose keys are a manifest's."""

import collections
import json
import os

from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import audio_extensions

from ..import_helpers import inputs
from ..import_helpers import patterns
from ..import_helpers import rows
from ..import_helpers import tars

OPTIONS = ('input', 'languages')
_TEXTS = ('.txt', '.text', '.transcript', '.lab')


def Import(options):
  """Lists the recordings of the tars --input=PATTERN,... or --input=SPLIT=PATTERN,... .

  A pattern may have braces, shard-{000000..000012}.tar, and globs. The id is TAR/KEY, unless the JSON has one. Every
  recording is an utterance, so times in the JSON only say how long it must be. The transcript is that of KEY.txt,
  otherwise the JSON's. Other members, such as pickles, are counted and never read.

  Raises:
    exit_codes.UsageError: --input is missing or names no file, or a split or a language is unknown.
  """
  importer = rows.Importer(options, 'webdataset', inputs.Language(options))
  paths = patterns.Files('webdataset', options.input, 'SHARDS.tar')
  prefixes = patterns.Prefixes([path for _, path in paths])
  listed = [(split, path, _Samples(importer.listing, path)) for split, path in paths]
  labeled = any(sample.keys() & {*_TEXTS, '.json'} for _, _, (samples, _) in listed for sample in samples.values())
  for split, path, (samples, damage) in listed:
    split = split or inputs.SplitOfName(path)
    for key, sample in samples.items():
      _AddSample(importer, sample, f'{path}:{key}', f'{prefixes[path]}/{key}', split, damage if labeled else '')
  return importer.listing


def _Samples(listing, path):
  """Returns ({key: {extension: tars.Member}}, damage) of a tar; rejects what is refused, damaged or twice there."""
  contents = tars.List(path, lambda name: name.lower().endswith((*_TEXTS, '.json')))
  samples = collections.defaultdict(dict)
  for member in contents.members:
    key, extension = os.path.splitext(member.name)
    kind = 'audio' if extension.lower() in audio_extensions.ALL else extension.lower()
    if kind not in ('audio', '.json', *_TEXTS):
      listing.ignored[kind or member.name] += 1
    elif samples[key].setdefault(kind, member) is not member:
      listing.Reject('', f'{path}:{member.name}', 'duplicate_id', 'the tar has another one of this key')
  for name, why in contents.refused:
    listing.Reject('', f'{path}:{name}', 'bad_entry', why)
  if contents.damage:
    listing.Reject('', path, 'corrupt', contents.damage)
  return samples, contents.damage


def _AddSample(importer, sample, where, name, split, damage):
  audio, described = sample.get('audio'), sample.get('.json')
  text = next((sample[k] for k in _TEXTS if k in sample), None)
  if audio is None:
    importer.listing.Reject(name, where, 'no_audio', damage or 'no recording of this key in the tar')
    return
  if damage and described is None and text is None:
    importer.listing.Reject(name, where, 'corrupt', f'its transcript is missing; the tar is {damage}')
    return
  try:
    row = json.loads(described.text.decode('utf-8-sig')) if described else {}
    if not isinstance(row, dict):
      raise ValueError(f'expected a JSON object, got {str(row)[:40]}')
    if text:
      row = {k: v for k, v in row.items() if manifest_keys.KeyOf(k) != 'text'}
      row['text'] = text.text.decode('utf-8-sig').strip()
  except (RecursionError, ValueError) as e:
    importer.listing.Reject(name, where, 'bad_entry', f'{e}')
    return
  row = {k: v for k, v in rows.Whole(row).items() if manifest_keys.KeyOf(k) != 'audio_filepath'}
  importer.Add(row, where, split=split, container=audio.container, member=audio.span, name=name)
