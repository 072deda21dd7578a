"""AN4 (CMU's census database): etc/an4_{train,test}.fileids and .transcription, wav/.../*.sph or *.raw."""

import os
import re

from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

from .. import importers
from ..import_helpers import audio_paths
from ..import_helpers import inputs
from ..import_helpers import raw_audio

OPTIONS = ('input',)
_LINE = re.compile(r'(?:<s>)? *(.*?) *(?:</s>)? *\(([^() ]+)\) *')  # The test set has lines without <s> and </s>.
_EXTENSIONS = ('.sph', '.raw', '.wav')


def Import(options):
  """Lists the utterances of --input, the folder with etc and wav, as unpacked from any of the three archives.

  .raw has no header: 16 kHz PCM16, big-endian or little-endian as the archive's name says. The speaker is the folder of
  the recording.

  Raises:
    exit_codes.UsageError: --input does not have this layout.
  """
  listing = importers.Listing()
  for root in inputs.Roots('an4', options, [f'etc/an4_{split}.transcription' for split in ('train', 'test')]):
    for split in ('train', 'test'):
      path = os.path.join(root, 'etc', f'an4_{split}.transcription')
      if file_system.Exists(path):
        _ImportSplit(listing, root, path, split, inputs.Trusting(options, [root]))
  return listing


def _ImportSplit(listing, root, path, split, options):
  ids = path.removesuffix('transcription') + 'fileids'
  names = [line.strip() for _, line in text_lines.Lines(ids) if line.strip()] if file_system.Exists(ids) else []
  by_name = {name.rpartition('/')[2]: name for name in names}
  for number, line in text_lines.Lines(path):
    where = f'{path}:{number}'
    match = _LINE.fullmatch(line)
    if not match:
      if line.strip():
        listing.Reject('', where, 'bad_entry', f'expected <s> TEXT </s> (ID), found {line[:80]}')
      continue
    text, utt_id = match.groups()
    name = by_name.pop(utt_id, None)
    if name is None:
      listing.Reject(utt_id, where, 'no_audio', f'not in {ids}, or twice in {path}')
      continue
    stem = os.path.join(root, 'wav', name)
    extension = next((e for e in _EXTENSIONS if file_system.Exists(stem + e)), _EXTENSIONS[0])
    source = audio_paths.Resolve(listing, utt_id, where, f'../wav/{name}{extension}', options)
    if source is not None:
      load = raw_audio.Loader(source) if extension == '.raw' else None
      speaker = name.split('/')[-2] if '/' in name else 'unknown'
      listing.utterances.append(
        importers.Utterance(utt_id, text, speaker, 'an4', source, load, split=split, language='en')
      )
  for utt_id, name in by_name.items():
    listing.Reject(utt_id, os.path.join(root, 'wav', name), 'no_text', f'not in {path}')
