"""Who speaks each utterance: lines `ID SPEAKER`, as Kaldi's utt2spk, or the manifest.jsonl of a data set."""

from collections.abc import Iterator

from fm_lingvo import errors
from fm_lingvo.data import manifest_keys
from fm_lingvo.utils import text_lines

from . import transcript_files

_UNKNOWN = 'unknown'  # What the data preparation writes where a source names no speaker.


def Read(path: str) -> dict[str, str]:
  """Returns id -> speaker of a file; a manifest is one whose name ends in .jsonl.

  Raises:
    errors.ConfigError: There is no such file.
    errors.DatasetError: A line has another form, or an id has two speakers.
  """
  transcript_files.CheckExists(path)
  speakers: dict[str, str] = {}
  for number, utt_id, speaker in (_Manifest if path.removesuffix('.gz').endswith('.jsonl') else _Lines)(path):
    if speakers.setdefault(utt_id, speaker) != speaker:
      raise errors.DatasetError(f'{path}:{number}: {utt_id} appears twice, with different speakers')
  return speakers


def _Lines(path: str) -> Iterator[tuple[int, str, str]]:
  for number, line in text_lines.Lines(path):
    fields = line.split()
    if fields and len(fields) != 2:
      raise errors.DatasetError(f'{path}:{number}: {len(fields)} fields, expected ID SPEAKER')
    if fields:
      yield number, fields[0], fields[1]


def _Manifest(path: str) -> Iterator[tuple[int, str, str]]:
  for number, row in text_lines.Objects(path):
    known = {manifest_keys.KeyOf(name): value for name, value in row.items()}
    if not known.get('utt_id') or not known.get('speaker'):
      raise errors.DatasetError(f'{path}:{number}: expected utt_id and speaker, found {", ".join(row)}')
    if known['speaker'] != _UNKNOWN:
      yield number, str(known['utt_id']), str(known['speaker'])
