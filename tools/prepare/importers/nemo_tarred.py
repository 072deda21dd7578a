"""NeMo's tarred data sets: manifests whose audio_filepath is a member of audio_N.tar, N being the entry's shard_id."""

from fm_lingvo import audio

from .. import importers
from ..import_helpers import inputs
from ..import_helpers import json_lines
from ..import_helpers import nemo_tars
from ..import_helpers import patterns
from ..import_helpers import rows

OPTIONS = (
  'input',
  'languages',
  importers.Option('tars', None, 'Tar files, such as audio__OP_0..511_CL_.tar; none: all beside or above a manifest.'),
)


def Import(options):
  """Lists the entries of the manifests --input=PATTERN,... or --input=SPLIT=PATTERN,... .

  Patterns may have globs, braces and NeMo's _OP_0..7_CL_, for sharded manifests too. Without `shard_id`, an entry is
  looked for in all tars. As in NeMo, `offset` counts from the start of the member, and NAME-sub1.wav, NAME-sub2.wav are
  further entries of NAME.wav. Members without an entry are rejected as no_text.

  Raises:
    exit_codes.UsageError: --input is missing, a file or a split is unknown, or there are no tars.
  """
  importer = rows.Importer(options, 'nemo_tarred', inputs.Language(options))
  manifests = patterns.Files('nemo_tarred', options.input, 'tarred_audio_manifest.json')
  paths = {path: nemo_tars.PathsOf(path, options.own.get('tars')) for _, path in manifests}
  tars = nemo_tars.Tars(importer.listing, sorted({tar for found in paths.values() for tar in found}))
  for split, path in manifests:
    split = split or inputs.SplitOfName(path)
    for where, row in json_lines.Objects(importer.listing, path):
      try:
        member, name = tars.Find(row, paths[path])
      except audio.Rejected as e:
        importer.listing.Reject('', where, e.reason, e.detail)
        continue
      row.pop('shard_id', None)
      importer.Add(row, where, split=split, container=member.container, member=member.span, name=name)
  for path, name in tars.Unused():
    importer.listing.Reject('', f'{path}:{name}', 'no_text', 'not in the manifest')
  return importer.listing
