"""A folder of audio, each file with the transcript of the same name in .txt or .lab beside it, or without one."""

import collections
import os

from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ...common import files
from .. import importers
from ..import_helpers import audio_paths
from ..import_helpers import inputs
from ..import_helpers import lines
from ..import_helpers import rows

OPTIONS = ('input', 'languages')
_NO_SPEAKERS = frozenset('audio clip clips flac mp3 recordings wav wavs'.split())  # Folders that are not speakers.


def Import(options):
  """Lists the recordings below --input=FOLDER,... or --input=SPLIT=FOLDER,...

  A folder train, dev or test (or validation, ...) in FOLDER is a split. The first other folder on the way is the
  speaker: FOLDER/train/alice/1.wav is one of alice. A recording without a transcript is unlabeled, a transcript
  without a recording is rejected, and so is a recording whose transcript is not UTF-8. Every file is taken for audio
  unless its extension is of another kind of file; these are counted in notes[folder].

  Raises:
    exit_codes.UsageError: --input is missing, not a folder, or without files; a split or language is unknown.
  """
  listing, language = importers.Listing(), inputs.Language(options)
  others = collections.Counter()
  parts = (options.input or '').split(',')
  for part in parts:
    split, root = inputs.SplitOf(part)
    root = files.RequireDirectory('folder', root).rstrip('/')
    found = 0
    for directory, names in file_system.Walk(root or '/'):
      names = [name for name in names if not name.startswith('.')]
      found += _ImportDirectory(listing, root, root if parts[1:] else '', directory, names, split, language)
      known = {name for name in names if audio_paths.MayBeAudio(name) or audio_paths.IsTranscript(name)}
      others.update(os.path.splitext(name)[1].lower() or name for name in names if name not in known)
    if not found:
      raise exit_codes.UsageError(f'--input={part}: no audio files below it')
  listing.notes['folder'] = {'other_files': {file_system.Printable(k): n for k, n in sorted(others.items())}}
  return listing


def _ImportDirectory(listing, root, id_root, directory, names, split, language):
  """Lists the recordings of a folder; returns their number."""
  parts = [part for part in directory[len(root) :].split('/') if part]
  splits = {part: rows.SplitNameOfPath(part) for part in parts}
  split = split or next(filter(None, splits.values()), None)
  speaker = next((part for part in parts if not splits[part] and part.lower() not in _NO_SPEAKERS), 'unknown')
  transcripts, recordings = audio_paths.Transcripts(names), {}
  for name in (name for name in names if audio_paths.MayBeAudio(name)):
    stem, source = audio_paths.Stem(name), os.path.join(directory, name)
    utt_id = os.path.join(id_root, *parts, stem)
    if recordings.setdefault(stem, name) != name:
      listing.Reject(utt_id, source, 'duplicate_id', f'of the same name as {recordings[stem]}')
      continue
    mine = [text for key in (stem, name) for text in transcripts.pop(audio_paths.NameKey(key), ())]
    texts = {lines.Text(listing, utt_id, source, os.path.join(directory, text)) for text in mine}
    if None in texts:
      continue
    if len(texts) > 1:
      listing.Reject(utt_id, source, 'bad_entry', f'{" and ".join(mine)}: different texts')
      continue
    text = texts.pop() if texts else ''
    listing.utterances.append(
      importers.Utterance(utt_id, text, speaker, 'folder', source, split=split, language=language)
    )
  for name in sorted(name for unused in transcripts.values() for name in unused):
    listing.Reject(audio_paths.Stem(name), os.path.join(directory, name), 'no_audio', 'no recording of the same name')
  return len(recordings)
