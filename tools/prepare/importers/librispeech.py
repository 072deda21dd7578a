"""Imports LibriSpeech: SUBSET/SPEAKER/CHAPTER/*.flac and SPEAKER-CHAPTER.trans.txt with a line `ID TEXT` per file."""

import functools
import os

from fm_lingvo.data import dataset

from ...common import audio
from ...common import exit_codes
from ...common import files
from ...common import normalize
from .. import importers
from ..import_helpers import lines

OPTIONS = ('input', 'official_splits')


def Import(options):
  """Lists every utterance below --input, one or more comma-separated directories.

  The id is LibriSpeech's (SPEAKER-CHAPTER-NUMBER), the speaker is SPEAKER, the domain librispeech/SUBSET, where SUBSET
  is the parent directory of SPEAKER. With official_splits, the first part of SUBSET is the split. Transcripts without
  audio and audio without a transcript are rejected.

  Raises:
    exit_codes.UsageError: --input is missing or does not have this layout, or a SUBSET is of no official split.
  """
  listing = importers.Listing()
  for part in (options.input or '').split(','):
    _ImportTree(listing, files.RequireDirectory('librispeech', part), options.official_splits)
  return listing


def _ImportTree(listing, root, official_splits):
  chapters = 0
  for directory, names in files.Walk(root):
    transcripts = [n for n in names if n.endswith('.trans.txt')]
    chapters += bool(transcripts)
    _ImportChapter(listing, directory, names, transcripts, official_splits)
  if not chapters:
    raise exit_codes.UsageError(f'--input={root}: no *.trans.txt below it; expected the layout of LibriSpeech')


def _ImportChapter(listing, directory, names, transcripts, official_splits):
  parts = directory.rstrip('/').split('/')
  speaker = parts[-2] if len(parts) > 1 else parts[-1]
  domain = f'librispeech/{parts[-3]}' if len(parts) > 2 and parts[-3] else 'librispeech'
  split = _OfficialSplit(directory, domain) if official_splits and transcripts else None
  recordings = {os.path.splitext(n)[0]: n for n in names if n.endswith(('.flac', '.wav', '.mp3', '.ogg'))}
  for name in transcripts:
    path = os.path.join(directory, name)
    for number, line in lines.Lines(path):
      if not line.strip():
        continue
      utt_id, _, text = line.strip().partition(' ')
      recording = recordings.pop(utt_id, None)
      if recording is None:
        listing.Reject(utt_id, f'{path}:{number}', 'no_audio', f'no {utt_id}.flac beside the transcript')
        continue
      source = os.path.join(directory, recording)
      listing.utterances.append(
        importers.Utterance(
          utt_id,
          normalize.NormalizeText(text, 'en'),
          speaker,
          domain,
          source,
          functools.partial(audio.Decode, source),
          split=split,
        )
      )
  for utt_id, recording in recordings.items():
    listing.Reject(utt_id, os.path.join(directory, recording), 'no_text', 'not in a *.trans.txt of its folder')


def _OfficialSplit(directory, domain):
  """Returns the split that the name of the subset begins with."""
  split = domain.partition('/')[2].partition('-')[0]
  if split not in dataset.SPLITS:
    raise exit_codes.UsageError(
      f'--official_splits: {directory} is in no subset train-*, dev-* or test-*; expected '
      'SUBSET/SPEAKER/CHAPTER, with the subset in --input or below it'
    )
  return split
