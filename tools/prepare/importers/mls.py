"""Multilingual LibriSpeech: mls_LANGUAGE/{train,dev,test}/transcripts.txt and audio/SPEAKER/BOOK/*.flac or *.opus."""

import os

from fm_lingvo.utils import files as file_system

from .. import importers
from ..import_helpers import inputs
from ..import_helpers import rows
from ..import_helpers import tables

OPTIONS = (
  'input',
  importers.Option('audio_format', 'auto', 'flac or opus; auto: opus if the name of the folder ends in _opus.'),
)
_LANGUAGES = {
  'dutch': 'nl',
  'english': 'en',
  'french': 'fr',
  'german': 'de',
  'italian': 'it',
  'polish': 'pl',
  'portuguese': 'pt',
  'spanish': 'es',
}


def Import(options):
  """Lists the utterances of --input, mls_LANGUAGE or mls_LANGUAGE_opus, or a folder of them.

  transcripts.txt has lines `SPEAKER_BOOK_NUMBER<tab>TEXT`. segments.txt says where LibriVox's recordings were cut, and
  is not used.

  Raises:
    exit_codes.UsageError: --input does not have this layout.
  """
  audio_format = inputs.Choice(options, 'audio_format', ('auto', 'flac', 'opus'))
  importer = rows.Importer(options, 'mls')
  for root in inputs.Roots('mls', options, [f'{split}/transcripts.txt' for split in ('train', 'dev', 'test')]):
    name = inputs.Name(root).removeprefix('mls_')
    language = name.removesuffix('_opus')
    extension = audio_format if audio_format != 'auto' else ('opus' if name.endswith('_opus') else 'flac')
    for split in ('train', 'dev', 'test'):
      path = os.path.join(root, split, 'transcripts.txt')
      if not file_system.Exists(path):
        continue
      for number, row in tables.Rows(importer.listing, path, names=('id', 'text')):
        parts = (row['id'] or '').split('_')
        if len(parts) != 3:
          importer.listing.Reject(row['id'] or '', f'{path}:{number}', 'bad_entry', 'expected SPEAKER_BOOK_NUMBER')
          continue
        entry = {
          'utt_id': row['id'],
          'audio_filepath': f'audio/{parts[0]}/{parts[1]}/{row["id"]}.{extension}',
          'text': row['text'],
          'speaker': parts[0],
          'lang': _LANGUAGES.get(language),
          'domain': f'mls/{language}',
        }
        importer.Add(entry, f'{path}:{number}', split=split)
  return importer.listing
