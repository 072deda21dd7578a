"""Data sets that prepare_data wrote: all utterances, or those of a list with its transcripts."""

import json
import os

from fm_lingvo.data import dataset
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import text_lines

from ...common import exit_codes
from ...common import files
from .. import importers
from ..import_helpers import prepared_shards

OPTIONS = (
  'input',
  importers.Option(
    'transcripts',
    None,
    'JSON lines with `utt_id` and `text`, such as of fm-pseudo-label: only these utterances, with these texts.',
  ),
)


def Import(options):
  """Lists the utterances of --input=DATASET,... with their ids and splits; the text is as it was normalised.

  Raises:
    exit_codes.UsageError: --input or --transcripts is missing, or the latter is no such file.
    dataset.DatasetError: A data set is incomplete, or --transcripts is not UTF-8.
  """
  path = options.own.get('transcripts')
  texts = _Texts(path) if path else None
  unused, left_out, listing = set(texts or ()), 0, importers.Listing()
  normalizers = set()
  for folder in (options.input or '').split(','):
    info = dataset.ReadDataset(files.RequireDirectory('dataset', folder))
    normalizers.add(info.settings.get('normalizer'))
    for row in dataset.ReadManifest(folder):
      utt_id, shard = row['utt_id'], os.path.join(folder, row['shard'])
      text = row['text'] if texts is None else texts.get(utt_id)
      if text is None:
        left_out += 1
        continue
      unused.discard(utt_id)
      listing.utterances.append(
        importers.Utterance(
          utt_id,
          text,
          row['speaker'],
          row['domain'],
          f'{shard}:{utt_id}',
          split=row['split'],
          language=info.settings.get('language'),
          container=prepared_shards.Shard(shard),
          member=utt_id,
        )
      )
  for utt_id in sorted(unused):
    listing.Reject(utt_id, path, 'no_audio', 'no such utterance in the data set')
  listing.normalizer = normalizers.pop() if len(normalizers) == 1 else None
  if texts is not None:
    listing.notes['not_in_transcripts'] = left_out
  return listing


def _Texts(path):
  """Returns {id: text} of a file of JSON lines."""
  if not file_system.Exists(path) or file_system.IsFolder(path):
    raise exit_codes.UsageError(f'--transcripts={path}: no such file{file_system.HintBeside(path)}')
  texts = {}
  for number, line in text_lines.Lines(path):
    try:
      row = json.loads(line)
      texts[row['utt_id']] = row['text']
    except (KeyError, TypeError, ValueError, RecursionError) as e:
      raise exit_codes.UsageError(f'{path}:{number}: expected a JSON object with utt_id and text ({e!r})') from e
  return texts
