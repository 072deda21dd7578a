"""Imports JSONL manifests as in NeMo: {"audio_filepath": ..., "text": ..., "duration": ..., "offset": ...} per line."""

import functools
import json
import math
import os

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

from ...common import audio
from ...common import exit_codes
from ...common import files
from ...common import normalize
from .. import importers

OPTIONS = ('input', 'audio_roots', 'languages')


def Import(options):
  """Lists the utterances of the manifest --input.

  audio_filepath is relative to the manifest, absolute or remote. With symbolic links resolved, it must be in the
  manifest's folder or in one of options.audio_roots; other files are rejected because a manifest is not trusted. `text`
  may be missing (unlabeled speech). With `offset`, the utterance is `duration` seconds from there; without it, the
  utterance is the whole file, and its duration must match `duration`.
  Optional keys: `utt_id` or `id`, `speaker`, `domain`, `lang`. The default id is the audio's path as written, plus the
  offset. Numbers are spelled by the rules of `lang` or else options.languages; without either they remain digits.

  Raises:
    exit_codes.UsageError: --input is missing or not a file, or a language is unknown, or there are several languages.
    dataset.DatasetError: The manifest is not UTF-8.
  """
  if not options.input:
    raise exit_codes.UsageError('--importer=manifest needs --input=MANIFEST.jsonl')
  if not file_system.Exists(options.input) or (
    not file_system.IsRemote(options.input) and os.path.isdir(options.input)
  ):
    raise exit_codes.UsageError(f'--input={options.input}: expected a JSONL manifest, found no such file')
  importers.CheckLanguages(options.languages)
  if len(options.languages) > 1:
    raise exit_codes.UsageError(
      f'--languages={",".join(options.languages)}: expected one language, that of texts without a `lang`'
    )
  language = options.languages[0] if options.languages else None
  listing = importers.Listing()
  base = os.path.dirname(options.input)
  roots = [base if file_system.IsRemote(base) else base or '.', *options.audio_roots]
  with dataset.OpenText(options.input) as f:
    for number, line in enumerate(f, 1):
      if line.strip():
        _ImportLine(listing, line, f'{options.input}:{number}', base, roots, language)
  return listing


def _ImportLine(listing, line, where, base, roots, language):
  try:
    row = _Parse(line)
    language = row['lang'].partition('-')[0] if row.get('lang') else language
    text = normalize.NormalizeText(row.get('text') or '', language)
  except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as e:
    listing.Reject('', where, 'bad_entry', f'{type(e).__name__}: {e}')
    return
  path, duration, offset = row['audio_filepath'], row['duration'], row['offset']
  name = os.path.splitext(path)[0].replace('\\', '/').lstrip('./')
  utt_id = str(row.get('utt_id') or row.get('id') or (name if offset is None else f'{name}@{offset:g}'))
  source = path if file_system.IsRemote(path) else os.path.join(base, path)
  if not any(files.IsInside(source, root) for root in roots):
    listing.Reject(utt_id, source, 'outside', f'{where}: not in {", ".join(roots)}; --audio_roots allows other folders')
    return
  segment = bool(offset) or (offset is not None and duration is not None)
  if segment:
    load = functools.partial(audio.Decode, source, offset=offset, seconds=duration)
  else:
    load = functools.partial(audio.Decode, source)
  listing.utterances.append(
    importers.Utterance(
      utt_id,
      text,
      str(row.get('speaker') or 'unknown'),
      str(row.get('domain') or 'manifest'),
      source,
      load,
      declared_duration=None if segment else duration,
    )
  )


def _Parse(line):
  """Parses a line to a dict with `duration` and `offset` as floats or None.

  Raises:
    AttributeError, KeyError, OverflowError, RecursionError, TypeError or ValueError: The line is malformed.
  """
  row = json.loads(line)
  for key in ('duration', 'offset'):
    row[key] = None if row.get(key) is None else float(row[key])
  if not isinstance(row['audio_filepath'], str) or not row['audio_filepath']:
    raise ValueError('audio_filepath must be a string')
  for key in ('text', 'lang'):
    if not isinstance(row.get(key) or '', str):
      raise ValueError(f'{key} must be a string')
  if not (
    0 <= (row['offset'] or 0.0) < math.inf and 0 < (1.0 if row['duration'] is None else row['duration']) < math.inf
  ):
    raise ValueError('duration must be > 0 and offset >= 0, both finite')
  json.dumps(row, ensure_ascii=False).encode('utf-8')  # Raises for a lone surrogate, which could not be written.
  return row
