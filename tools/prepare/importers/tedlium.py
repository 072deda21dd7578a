"""TED-LIUM 3, 2 and 1: legacy/{train,dev,test}/ or {train,dev,test}/ with stm/*.stm and sph/*.sph."""

import os
import re

from fm_lingvo.utils import files as file_system

from .. import importers
from ..import_helpers import audio_paths
from ..import_helpers import inputs
from ..import_helpers import lines
from ..import_helpers import rows
from ..import_helpers import stm

OPTIONS = (
  'input',
  importers.Option('unknown_words', 'drop', "drop the transcripts' <unk>, or reject the utterances that have it."),
)
_SPLITS = ('train', 'dev', 'test')
_MARKS = re.compile(r'\{[^}]*\}|\[[^\]]*\]|<sil>|\(\d+\)(?=\s|$)')  # {NOISE}, [BREATH], pronunciations such as a(2).
_NAME = re.compile(r'\([^() ]*\)$')  # The name of the utterance at the end of a line of release 1.
_UNKNOWN = re.compile(r'<unk>', re.IGNORECASE)
_APOSTROPHE = re.compile(r"(?<=\w) +(?='\w)")  # it 's


def Import(options):
  """Lists the segments of --input, the folder of a release; an utterance is a part of the recording of a talk.

  Segments to be ignored in scoring are rejected as not_speech. `it 's` is joined; {NOISE}, <sil> and the numbers of
  pronunciations are taken out. notes[tedlium] counts the texts that lost an <unk>.

  Raises:
    exit_codes.UsageError: --input does not have this layout.
  """
  unknown = inputs.Choice(options, 'unknown_words', ('drop', 'reject'))
  marks = [f'{layout}{split}/stm' for layout in ('legacy/', '') for split in _SPLITS]
  roots = inputs.Roots('tedlium', options, marks)
  importer = rows.Importer(inputs.Trusting(options, roots), 'tedlium', 'en')
  importer.listing.notes['tedlium'] = {'texts_without_their_unknown_words': 0}
  folders = [os.path.join(root, *mark.split('/')) for root in roots for mark in marks]
  for folder in filter(file_system.Exists, folders):
    for directory, names in file_system.Walk(folder):
      for name in (name for name in names if name.endswith('.stm')):
        path = os.path.join(directory, name)
        with lines.Rejecting(importer.listing, '', path):
          _ImportTalk(importer, path, rows.SplitName(inputs.Name(os.path.dirname(folder))), unknown)
  return importer.listing


def _ImportTalk(importer, path, split, unknown):
  listing, ids = importer.listing, audio_paths.UtteranceIds()
  for number, segment in stm.Segments(listing, path):
    where, seconds = f'{path}:{number}', segment.end - segment.start
    utt_id = ids.Make(segment.recording, segment.start, seconds)
    text = _MARKS.sub(' ', _NAME.sub('', segment.text))
    if stm.IGNORED in text:
      listing.Reject(utt_id, where, 'not_speech', stm.IGNORED)
      continue
    if _UNKNOWN.search(text):
      if unknown == 'reject':
        listing.Reject(utt_id, where, 'no_text', f'a word is not known: {text[:80]}')
        continue
      listing.notes['tedlium']['texts_without_their_unknown_words'] += 1
    entry = {
      'utt_id': utt_id,
      'audio_filepath': f'../sph/{segment.recording}.sph',
      'text': _APOSTROPHE.sub('', ' '.join(_UNKNOWN.sub(' ', text).split())),
      'speaker': segment.speaker,
      'offset': segment.start,
      'duration': seconds,
    }
    importer.Add(entry, where, split=split)
