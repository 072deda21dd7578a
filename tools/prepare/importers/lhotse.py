"""Lhotse: cuts, or recordings and supervisions (JSON lines, also gzipped), or folders of Shar (cuts and tars)."""

import os

from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import files as file_system

from ...common import exit_codes
from ..import_helpers import inputs
from ..import_helpers import json_lines
from ..import_helpers import lhotse_cuts
from ..import_helpers import lhotse_shar
from ..import_helpers import patterns
from ..import_helpers import rows

OPTIONS = ('input', 'audio_roots', 'languages')


def Import(options):
  """Lists the supervisions of --input=PATTERN,... or --input=SPLIT=PATTERN,... , manifests or folders of Shar.

  A cut without supervisions is unlabeled, as are recordings if no supervisions are given. Paths of recordings are
  relative to the manifest that has them. The id is the supervision's. Without SPLIT=, the split is the one that the
  name has as a word, such as cuts_train.jsonl.gz.

  Raises:
    exit_codes.UsageError: --input is missing, names no file or a folder that is not Shar, or a split is unknown.
    dataset.DatasetError: A manifest is not text.
  """
  importer = rows.Importer(options, 'lhotse', inputs.Language(options))
  recordings, supervisions = {}, []
  for split, path in patterns.Files('lhotse', options.input, 'cuts.jsonl.gz or a folder of Shar'):
    split = split or inputs.SplitOfName(path)
    if not file_system.IsRemote(path) and os.path.isdir(path):
      lhotse_shar.ImportFolder(importer, path, split)
      continue
    for where, entry in json_lines.Objects(importer.listing, path):
      if 'sources' in entry:
        if recordings.setdefault(str(entry.get('id')), (entry, where, split))[0] != entry:
          raise exit_codes.UsageError(f'{where}: recording {entry.get("id")}: another one of this id was read before')
      elif 'recording_id' in entry:
        supervisions.append((split, where, entry))
      else:
        _AddCut(importer, entry, where, split)
  _AddSupervisions(importer, recordings, supervisions)
  return importer.listing


def _AddCut(importer, cut, where, split):
  try:
    for utt_id, row in lhotse_cuts.FromCut(importer.listing, cut, inside=False):
      if isinstance(row, manifest_keys.BadEntry):
        importer.listing.Reject(utt_id, where, 'bad_entry', str(row))
      else:
        importer.Add(row, where, split=split)
  except manifest_keys.BadEntry as e:
    importer.listing.Reject(str(cut.get('id', '')), where, 'bad_entry', str(e))


def _AddSupervisions(importer, recordings, supervisions):
  if not supervisions:
    supervisions = [(split, where, recording) for recording, where, split in recordings.values()]
  unused = set(recordings)
  for split, where, entry in supervisions:
    recording_id = str(entry.get('recording_id', entry.get('id')))
    unused.discard(recording_id)
    recording, place, _ = recordings.get(recording_id, (None, where, None))
    try:
      if recording is None:
        raise manifest_keys.BadEntry(f'recording_id = {recording_id}: no such recording in --input')
      importer.Add(lhotse_cuts.FromSupervision(importer.listing, entry, recording), place, split=split)
    except manifest_keys.BadEntry as e:
      importer.listing.Reject(str(entry.get('id', '')), where, 'bad_entry', str(e))
  for recording_id in sorted(unused):
    importer.listing.Reject(recording_id, recordings[recording_id][1], 'no_text', 'without a supervision')
