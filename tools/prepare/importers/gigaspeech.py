"""GigaSpeech: GigaSpeech.json and audio/{audiobook,podcast,youtube}/; a subset for training, DEV and TEST."""

import json
import os
import re

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system

from .. import importers
from ..import_helpers import inputs
from ..import_helpers import rows

OPTIONS = (
  'input',
  importers.Option('subset', 'XL', 'Subset for training: XL, L, M, S or XS (10,000 to 10 hours).'),
)
_SUBSETS = ('XL', 'L', 'M', 'S', 'XS')
_OFFICIAL = {'{DEV}': 'dev', '{TEST}': 'test'}
_PUNCTUATION = {'COMMA': ',', 'PERIOD': '.', 'QUESTIONMARK': '?', 'EXCLAMATIONPOINT': '!'}
_TAG = re.compile(r' *<(\w+)>')
_NO_SPEECH = frozenset(('SIL', 'MUSIC', 'NOISE', 'OTHER'))  # The whole text of a segment of DEV or TEST.


def Import(options):
  """Lists the segments of --input, the folder with GigaSpeech.json; an utterance is a part of a recording.

  <COMMA> and the like become punctuation; segments that are <MUSIC>, <NOISE>, <SIL> or <OTHER> are rejected. The whole
  GigaSpeech.json is in memory: about four times its size, and 0.5 KB for each segment.

  Raises:
    exit_codes.UsageError: --input does not have this layout, or the subset is unknown.
    dataset.DatasetError: GigaSpeech.json is not JSON, or of another form.
  """
  wanted = {f'{{{inputs.Choice(options, "subset", _SUBSETS)}}}', *_OFFICIAL}
  importer = rows.Importer(options, 'gigaspeech', 'en')
  for root in inputs.Roots('gigaspeech', options, ['GigaSpeech.json']):
    path = os.path.join(root, 'GigaSpeech.json')
    try:
      with file_system.Open(path) as f:
        recordings = json.load(f)['audios']
      for recording in recordings:
        if wanted.intersection(recording['subsets']):
          for segment in recording['segments']:
            subsets = wanted.intersection(segment['subsets'])
            if subsets:
              _ImportSegment(importer, path, recording, segment, subsets)
    except (AttributeError, LookupError, TypeError, ValueError) as e:
      raise dataset.DatasetError(f'{path}: not in the format of GigaSpeech ({type(e).__name__}: {e})') from e
  return importer.listing


def _ImportSegment(importer, path, recording, segment, subsets):
  utt_id, text = segment['sid'], segment['text_tn']
  tags = set(_TAG.findall(text))
  if tags & _NO_SPEECH:
    importer.listing.Reject(utt_id, path, 'not_speech', text[:80])
    return
  unknown = tags - set(_PUNCTUATION)
  if unknown:
    importer.listing.Reject(utt_id, path, 'bad_entry', f'<{sorted(unknown)[0]}> is no tag of GigaSpeech: {text[:80]}')
    return
  entry = {
    'utt_id': utt_id,
    'audio_filepath': recording['path'],
    'text': _TAG.sub(lambda match: _PUNCTUATION[match[1]], text),
    'speaker': None if segment['speaker'] == 'N/A' else segment['speaker'],
    'offset': segment['begin_time'],
    'end': segment['end_time'],
    'domain': 'gigaspeech/' + recording['path'].split('/')[1],
  }
  split = next((_OFFICIAL[subset] for subset in sorted(subsets) if subset in _OFFICIAL), 'train')
  importer.Add(entry, path, split=split)
