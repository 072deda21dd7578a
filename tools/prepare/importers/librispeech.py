"""Imports LibriSpeech: SUBSET/SPEAKER/CHAPTER/*.flac and SPEAKER-CHAPTER.trans.txt with a line `ID TEXT` per file."""

import os

from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

from ...common import exit_codes
from ...common import files
from .. import importers
from ..import_helpers import lines
from ..import_helpers import rows

OPTIONS = ('input',)
REQUIRE_TEXT = True
OFFICIAL_SPLITS = False


def Import(options):
  """Lists every utterance below --input, one or more comma-separated directories.

  The id is LibriSpeech's (SPEAKER-CHAPTER-NUMBER), the speaker is SPEAKER, the domain librispeech/SUBSET, where SUBSET
  is the parent directory of SPEAKER, and its first part, such as dev of dev-clean, the split. Transcripts without
  audio and audio without a transcript are rejected, and so are the lines of a file from one that is not UTF-8 on.

  Raises:
    exit_codes.UsageError: --input is missing or does not have this layout.
  """
  listing = importers.Listing()
  for part in (options.input or '').split(','):
    _ImportTree(listing, files.RequireDirectory('librispeech', part))
  return listing


def _ImportTree(listing, root):
  chapters = 0
  for directory, names in file_system.Walk(root):
    transcripts = [n for n in names if n.endswith('.trans.txt')]
    chapters += bool(transcripts)
    _ImportChapter(listing, directory, names, transcripts)
  if not chapters:
    raise exit_codes.UsageError(f'--input={root}: no *.trans.txt below it; expected the layout of LibriSpeech')


def _ImportChapter(listing, directory, names, transcripts):
  parts = directory.rstrip('/').split('/')
  speaker = parts[-2] if len(parts) > 1 else parts[-1]
  domain = f'librispeech/{parts[-3]}' if len(parts) > 2 and parts[-3] else 'librispeech'
  split = rows.SplitName(domain.partition('/')[2])
  recordings = {os.path.splitext(n)[0]: n for n in names if n.endswith(('.flac', '.wav', '.mp3', '.ogg'))}
  for name in transcripts:
    path = os.path.join(directory, name)
    with lines.Rejecting(listing, '', path):
      for number, line in text_lines.Lines(path):
        if not line.strip():
          continue
        utt_id, _, text = line.strip().partition(' ')
        recording = recordings.pop(utt_id, None)
        if recording is None:
          listing.Reject(utt_id, f'{path}:{number}', 'no_audio', f'no {utt_id}.flac beside the transcript')
          continue
        source = os.path.join(directory, recording)
        listing.utterances.append(
          importers.Utterance(utt_id, text, speaker, domain, source, split=split, language='en')
        )
  for utt_id, recording in recordings.items():
    listing.Reject(utt_id, os.path.join(directory, recording), 'no_text', 'not in a *.trans.txt of its folder')
