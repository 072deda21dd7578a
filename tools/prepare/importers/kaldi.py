"""Kaldi data directories: wav.scp with files (no commands), segments, text, utt2spk, utt2lang."""

import os

from fm_lingvo.utils import files as file_system

from ...common import files
from .. import importers
from ..import_helpers import inputs
from ..import_helpers import kaldi_files
from ..import_helpers import rows

OPTIONS = (
  'input',
  'audio_roots',
  'languages',
  importers.Option(
    'kaldi_root', None, 'Folder where relative paths of wav.scp begin, if it is not the data directory.'
  ),
)


def Import(options):
  """Lists the utterances of --input=DIRECTORY,... or SPLIT=DIRECTORY,...

  Without SPLIT, the name of a directory, such as train_si284 or eval92, gives the split. `text` without a recording is
  rejected, a recording without `text` is unlabeled. kaldi_files.Channels says where channels come from.

  Raises:
    exit_codes.UsageError: A directory or its wav.scp is missing, or a split or language is unknown.
    dataset.DatasetError: A file is not UTF-8.
  """
  root = options.own.get('kaldi_root')
  if root and not file_system.IsRemote(root):
    root = os.path.abspath(files.RequireDirectory('kaldi', root))
  importer = rows.Importer(inputs.Trusting(options, [root] if root else []), 'kaldi', inputs.Language(options))
  for part in (options.input or '').split(','):
    split, folder = inputs.SplitOf(part)
    kaldi_files.RequireData(part, folder)
    _ImportFolder(importer, folder, root, split or rows.SplitName(inputs.Name(folder).rstrip('0123456789')))
  return importer.listing


def _ImportFolder(importer, folder, root, split):
  listing = importer.listing

  def Read(name):
    path = os.path.join(folder, name)
    return kaldi_files.Table(listing, path) if file_system.Exists(path) else {}

  scp, texts = Read('wav.scp'), Read('text')
  speakers, languages = Read('utt2spk'), Read('utt2lang')
  channels = kaldi_files.Channels(scp, Read('reco2file_and_channel'))
  has_segments = file_system.Exists(os.path.join(folder, 'segments'))
  segments = Read('segments') if has_segments else {key: (number, key) for key, (number, _) in scp.items()}
  for utt_id, (number, value) in segments.items():
    where = place = os.path.join(folder, f'{"segments" if has_segments else "wav.scp"}:{number}')
    try:
      part = kaldi_files.Part(value) if has_segments else {}
      recording = kaldi_files.Fields(value)[0]
      if recording not in scp:
        listing.Reject(utt_id, where, 'no_audio', f'no {recording} in wav.scp')
        continue
      place = os.path.join(folder, f'wav.scp:{scp[recording][0]}')
      path = kaldi_files.AudioPath(scp[recording][1])
      if recording in channels and part.setdefault('channel', channels[recording]) is None:
        raise ValueError(
          f'{path}: recordings share it, and the channel is neither in segments nor reco2file_and_channel'
        )
    except ValueError as e:
      listing.Reject(utt_id, place, 'bad_entry', str(e))
      continue
    row = {'utt_id': utt_id, 'audio_filepath': os.path.join(root, path) if root else path, **part}
    for key, table in (('text', texts), ('speaker', speakers), ('lang', languages)):
      row[key] = table[utt_id][1] if utt_id in table else None
    importer.Add(row, where, split=split)
  kaldi_files.RejectUnused(listing, os.path.join(folder, 'text'), texts, segments)
