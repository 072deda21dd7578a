"""Lhotse Shar: a folder with cuts.N.jsonl.gz and recording.N.tar, which has the audio of each cut as CUT_ID.flac."""

import os
import re

from fm_lingvo.data import manifest_keys

from ...common import exit_codes
from . import inputs
from . import json_lines
from . import lhotse_cuts
from . import tars

_CUTS = re.compile(r'cuts(\.\d+)?\.jsonl(\.gz)?')


def ImportFolder(importer, folder, split):
  """Adds the cuts of a folder to rows.Importer; raises exit_codes.UsageError if it is not Shar."""
  names = {name: match for name in sorted(os.listdir(folder)) if (match := _CUTS.fullmatch(name))}
  if not names:
    raise exit_codes.UsageError(
      f'--input={folder}: no cuts.*.jsonl.gz with recording.*.tar in it; name manifests by a pattern, *.jsonl.gz'
    )
  for name, match in names.items():
    tar = os.path.join(folder, f'recording{match[1] or ""}.tar')
    if not os.path.exists(tar):
      raise exit_codes.UsageError(f'--input={folder}: {name} without {os.path.basename(tar)}, its audio')
    _ImportShard(importer, os.path.join(folder, name), tar, split or inputs.SplitOfName(folder))


def _ImportShard(importer, path, tar, split):
  listing, contents = importer.listing, tars.List(tar)
  for name, why in contents.refused:
    listing.Reject('', f'{tar}:{name}', 'bad_entry', why)
  if contents.damage:
    listing.Reject('', tar, 'corrupt', contents.damage)
  members, absent = {}, set()
  for member in contents.members:
    cut_id, extension = os.path.splitext(member.name)
    if extension == '.nodata':
      absent.add(cut_id)
    elif extension not in ('.json', '.nometa'):
      members.setdefault(cut_id, member)
  unused = set(members)
  for where, cut in json_lines.Objects(listing, path):
    cut_id = str(cut.get('id', ''))
    unused.discard(cut_id)
    if cut_id not in members:
      reason = 'no_audio' if cut_id in absent else 'corrupt' if contents.damage else 'missing'
      listing.Reject(cut_id, where, reason, f'{tar} {"is " + contents.damage if contents.damage else "lacks it"}')
      continue
    try:
      utterances = lhotse_cuts.FromCut(listing, cut, inside=True)
    except manifest_keys.BadEntry as e:
      utterances = [(cut_id, e)]
    member = members[cut_id]
    for utt_id, row in utterances:
      if isinstance(row, manifest_keys.BadEntry):
        listing.Reject(utt_id, where, 'bad_entry', str(row))
      else:
        importer.Add(row, where, split=split, container=member.container, member=member.span, name=cut_id)
  for cut_id in sorted(unused):
    listing.Reject(cut_id, f'{tar}:{members[cut_id].name}', 'no_text', f'no cut of this id in {os.path.basename(path)}')
