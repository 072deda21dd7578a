"""JSON lines as in NeMo: {"audio_filepath": ..., "text": ..., "duration": ..., "offset": ..., "speaker": ...}."""

from ...common import exit_codes
from ...common import files
from ..import_helpers import inputs
from ..import_helpers import json_lines
from ..import_helpers import rows

OPTIONS = ('input', 'audio_roots', 'languages')


def Import(options):
  """Lists the utterances of the manifests --input=FILE,... or --input=SPLIT=FILE,... (train, dev or test).

  Keys and their other names are those of import_helpers/rows.py. audio_filepath is relative to the manifest, absolute
  or remote. `text` may be missing (unlabeled speech). With `offset` or `end`, the utterance is a part of the file, of
  `duration` seconds or up to `end`; without, it is the whole file, and its duration must match `duration`. `split`
  goes before SPLIT=, and that before a word of the file's name, such as train of nemo_train.json. A manifest may also
  be one object of such entries by id, as SpeechBrain's.
  options.languages is the language of texts without `lang`.

  Raises:
    exit_codes.UsageError: --input is missing or not a file, a split or a language is unknown, or there are several
      languages.
    dataset.DatasetError: A manifest is not UTF-8.
  """
  if not options.input:
    raise exit_codes.UsageError('--importer=manifest needs --input=MANIFEST.jsonl')
  importer = rows.Importer(options, 'manifest', inputs.Language(options))
  for part in options.input.split(','):
    split, path = SplitAndPath(part)
    for where, row in json_lines.Entries(importer.listing, path):
      importer.Add(row, where, split=split or inputs.SplitOfName(path))
  return importer.listing


def SplitAndPath(part):
  """Returns (split or None, path) of a part of --input, PATH or SPLIT=PATH; raises UsageError if there is no file."""
  split, path = inputs.SplitOf(part)
  files.RequireFile(path, 'a JSONL manifest')
  return split, path
