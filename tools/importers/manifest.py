"""A JSONL manifest as NeMo uses: {"audio_filepath": ..., "text": ..., "duration": ..., "offset": ...} per line."""

import functools
import json
import os

from fm_lingvo import dataset
from tools import audio
from tools import importers
from tools import normalize

OPTIONS = ('input', 'audio_roots', 'languages')


def Import(options):
  """Lists the utterances of the manifest --input.

  audio_filepath is relative to the manifest, absolute or remote; it must lie in the manifest's folder or in one of
  options.audio_roots, symbolic links followed. Others are rejected: a manifest may come from anyone. `text` may be missing (unlabeled speech). With `offset`,
  the utterance is `duration` seconds from there; without, it is the whole file and `duration` is checked against it.
  Optional keys: `utt_id` or `id`, `speaker`, `domain`, `lang`. Without an id it is the audio's path as written, plus the
  offset.

  Raises:
    importers.UsageError: no --input, or not a file; an unknown language, or several.
    dataset.DatasetError: not UTF-8.
  """
  if not options.input:
    raise importers.UsageError('--importer=manifest needs --input=MANIFEST.jsonl')
  if not dataset.Exists(options.input) or (not dataset.IsRemote(options.input) and os.path.isdir(options.input)):
    raise importers.UsageError(f'--input={options.input}: expected a JSONL manifest, found no such file')
  importers.CheckLanguages(options.languages)
  if len(options.languages) > 1:
    raise importers.UsageError(f'--languages={",".join(options.languages)}: expected one, of the texts without a `lang`')
  language = options.languages[0] if options.languages else None
  listing = importers.Listing()
  base = os.path.dirname(options.input)
  roots = [base if dataset.IsRemote(base) else base or '.', *options.audio_roots]
  with dataset.OpenText(options.input) as f:
    for number, line in enumerate(f, 1):
      if line.strip():
        _ImportLine(listing, line, f'{options.input}:{number}', base, roots, language)
  return listing


def IsInside(path, root):
  """Whether a local or remote path lies in a folder, once links and `..` are resolved; `~` is an ordinary character."""
  if dataset.IsRemote(path) or dataset.IsRemote(root):
    return path.startswith(root.rstrip('/') + '/') and '..' not in path.split('/')
  if '\0' in path:
    return False
  return os.path.commonpath([os.path.realpath(path), os.path.realpath(root)]) == os.path.realpath(root)


def _ImportLine(listing, line, where, base, roots, language):
  try:
    row = json.loads(line)
    path = row['audio_filepath']
    duration = None if row.get('duration') is None else float(row['duration'])
    offset = float(row.get('offset') or 0.0)
    if not isinstance(path, str) or not path or not isinstance(row.get('text') or '', str):
      raise ValueError('audio_filepath and text must be strings')
    if offset < 0 or (duration is not None and duration <= 0):
      raise ValueError('duration must be > 0 and offset >= 0')
  except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as e:
    listing.Reject('', where, 'bad_entry', f'{type(e).__name__}: {e}')
    return
  name = os.path.splitext(path)[0].replace('\\', '/').lstrip('./')
  utt_id = str(row.get('utt_id') or row.get('id') or (f'{name}@{offset:g}' if row.get('offset') is not None else name))
  source = path if dataset.IsRemote(path) else os.path.join(base, path)
  if not any(IsInside(source, root) for root in roots):
    listing.Reject(utt_id, source, 'outside', f'{where}: not in {", ".join(roots)}; --audio_roots allows other folders')
    return
  segment = offset > 0 or (row.get('offset') is not None and duration is not None)
  if segment:
    load = functools.partial(audio.Decode, source, offset=offset, seconds=duration)
  else:
    load = functools.partial(audio.Decode, source)
  text = normalize.NormalizeText(row.get('text') or '', row.get('lang') or language)
  listing.utterances.append(importers.Utterance(
      utt_id, text, str(row.get('speaker') or 'unknown'), str(row.get('domain') or 'manifest'), source, load,
      declared_duration=None if segment else duration))
