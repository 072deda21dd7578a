"""Hugging Face data sets on disk: Parquet files as on the Hub, or Arrow files as of save_to_disk."""

import dataclasses
import os

from fm_lingvo.utils import files as file_system

from .. import importers
from ..import_helpers import audio_table
from ..import_helpers import dataset_folders
from ..import_helpers import inputs
from ..import_helpers import patterns
from ..import_helpers import rows

OPTIONS = (
  'input',
  'audio_roots',
  'languages',
  importers.Option('audio_column', None, 'Column with the audio; none: the one that the data set declares, or audio.'),
  importers.Option('text_column', None, 'Column with the transcript; none: text, transcript, sentence, ...'),
  importers.Option('speaker_column', None, 'Column with the speaker; none: speaker, speaker_id, client_id, ...'),
  importers.Option('language_column', None, 'Column with the language of the transcript; none: language, locale, ...'),
  importers.Option('id_column', None, 'Column with ids; none: file and row, because `id` is often not unique.'),
)
_COLUMNS = {'text': 'text_column', 'speaker': 'speaker_column', 'lang': 'language_column', 'utt_id': 'id_column'}


def Import(options):
  """Lists the rows of --input=PATH,... or --input=SPLIT=PATH,... , files, folders or patterns.

  The audio of a row is its bytes, or a file: its path is relative to the data set's folder. A row is a whole recording;
  times only say how long it must be. Splits are those of save_to_disk, or of the names of files and folders.

  Raises:
    exit_codes.UsageError: --input is missing, names no file or has several configurations; a split or a column is
      unknown.
  """
  columns = {key: options.own[name] for key, name in _COLUMNS.items() if options.own.get(name)}
  found = []
  for split, path in patterns.Files('huggingface', options.input, 'a folder of the data set or its Parquet files'):
    inside = dataset_folders.Files(path)
    root = os.path.dirname(path) if [file for _, file in inside] == [path] else path
    found += [(split or own, file, root or '.') for own, file in inside]
  # Paths in a table are relative to the data set, not to the table.
  roots = (*options.audio_roots, *dict.fromkeys(root for _, _, root in found))
  importer = rows.Importer(dataclasses.replace(options, audio_roots=roots), 'huggingface', inputs.Language(options))
  prefixes = patterns.Prefixes([file for _, file, _ in found])
  for split, file, root in found:
    up = '' if file_system.IsRemote(file) else os.path.relpath(root, os.path.dirname(file) or '.')
    for row, entry, container, member in audio_table.Rows(
      importer.listing, file, audio_column=options.own.get('audio_column'), columns=columns
    ):
      where, name = f'{file}:{row}', f'{prefixes[file]}/{row}'
      if container is None and not entry['audio_filepath']:
        importer.listing.Reject(name, where, 'no_audio', 'neither bytes nor a path')
        continue
      if container is None:
        entry = {'utt_id': name, **entry, 'audio_filepath': os.path.join(up, entry['audio_filepath'])}
      importer.Add(rows.Whole(entry), where, split=split, container=container, member=member, name=name)
  return importer.listing
