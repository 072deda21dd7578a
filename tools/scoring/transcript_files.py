"""References and hypotheses in files of many formats, as texts by utterance id.

| format | a line |
|---|---|
| text | `ID TEXT`, or `NAME<tab>TEXT` as of tools.transcribe |
| lines | `TEXT`; the id is the number of the line |
| trn | `TEXT (ID)`; the speaker is the part of the id before the first - or _ |
| stm | `FILE CHANNEL SPEAKER START END [<LABELS>] TEXT`; one utterance a segment |
| ctm | `FILE CHANNEL START SECONDS WORD [CONFIDENCE]`; one utterance a recording and channel |
| jsonl | an object: hypotheses of a run, NeMo's manifests, JSON of tools.transcribe |
| table | the fields of a CSV or TSV table, whose first line names them as the keys of a JSON object |
"""

import dataclasses
import functools
import json
import math
import os
import re
from collections.abc import Callable
from collections.abc import Iterator

from fm_lingvo import errors
from fm_lingvo.data import manifest_keys
from fm_lingvo.data import manifest_objects
from fm_lingvo.utils import files as file_system
from fm_lingvo.utils import suggest
from fm_lingvo.utils import text_lines

from ..prepare.import_helpers import audio_paths
from ..prepare.import_helpers import stm
from . import table_rows

FORMATS = ('text', 'lines', 'trn', 'stm', 'ctm', 'jsonl', 'table')
_EXTENSIONS = {'.trn': 'trn', '.stm': 'stm', '.ctm': 'ctm', '.jsonl': 'jsonl', '.json': 'jsonl'}
_EXTENSIONS.update(dict.fromkeys(table_rows.EXTENSIONS, 'table'))
_OTHERS = (
  '.srt',
  '.vtt',
  '.ass',
  '.textgrid',
  '.eaf',
  '.xml',
  '.docx',
  '.xlsx',
  '.parquet',
)  # Nothing here reads them.
_TRN = re.compile(r'(.*?)[ \t]*\(([^()\s]+)\)[ \t]*')
_TRN_SPEAKER = re.compile(r'([^-_]+)[-_]')
_TEXT = re.compile(r'[ \t]*([^ \t]+)(?:[ \t]+(.*))?')
_LIKE_AN_ID = re.compile(r'[0-9_/]')  # What ids have and words rarely do.
_ALTERNATIVES = re.compile(r'\{.*[ \t]/[ \t].*\}')
_KEYS = {'reference': ('reference',), 'hypothesis': ('hypothesis', 'pred_text')}  # Before `text` and its other names.
_USED = ('audio_filepath', 'duration', 'offset', 'end', 'channel', 'utt_id', 'speaker', 'lang')
_WITH_KEYS: dict[str, Callable[[str], Iterator[tuple[int, dict]]]] = {
  'jsonl': manifest_objects.Objects,
  'table': functools.partial(table_rows.Objects, texts=sum(_KEYS.values(), ())),
}


@dataclasses.dataclass(frozen=True)
class Word:
  """A word of a CTM file."""

  text: str
  start: float  # Seconds.
  end: float


@dataclasses.dataclass
class Transcripts:
  """The texts of a file."""

  path: str
  format: str
  branch: str = ''  # Of a run, if one was chosen.
  texts: dict[str, str] = dataclasses.field(default_factory=dict)  # By utterance id.
  speakers: dict[str, str] = dataclasses.field(default_factory=dict)  # Of ids that have one.
  languages: dict[str, str] = dataclasses.field(default_factory=dict)  # Of ids that have one.
  notes: list[str] = dataclasses.field(default_factory=list)  # What the user must know.
  segments: dict[str, stm.Segment] = dataclasses.field(default_factory=dict)  # Of STM, also those that are not scored.
  words: dict[str, list[Word]] = dataclasses.field(default_factory=dict)  # Of CTM, by RecordingOf.

  def Add(self, number: int, utt_id: str, text: str, speaker: str = '') -> None:
    """Adds an utterance of a line; raises DatasetError if there is one with the id."""
    utt_id = file_system.Printable(utt_id)
    if utt_id in self.texts:
      raise errors.DatasetError(f'{self.path}:{number}: {utt_id} appears twice; expected one line for an id')
    self.texts[utt_id] = text
    if speaker and speaker != 'unknown':
      self.speakers[utt_id] = speaker


def RecordingOf(recording: str, channel: str) -> str:
  """Returns the id of a channel of a recording: its name for the first channel, with #CHANNEL for others."""
  return recording if channel in ('1', 'A') else f'{recording}#{channel}'


def Read(path: str, role: str, kind: str = 'auto', branch: str = '') -> Transcripts:
  """Reads a file.

  Args:
    path: Local or remote file, decompressed if its name ends in .gz.
    role: `reference` or `hypothesis`: which text of a JSON object counts.
    kind: One of FORMATS, or `auto`: by the extension; text or lines by whether all lines begin with a different word
      that looks like an id, with a digit, _ or /, or have a tab.
    branch: Which branch's hypotheses count in a file of a run with several that decode; '': there must be one.

  Raises:
    errors.ConfigError: There is no such file, or it has several branches, or not this one.
    errors.DatasetError: A line is malformed, an id appears twice, or there are no utterances.
  """
  CheckExists(path)
  if kind == 'auto':
    kind = _KindOf(path) or _TextOrLines(path)
  transcripts = Transcripts(path, kind, branch)
  readers = dict(text=_ReadText, lines=_ReadLines, trn=_ReadTrn, stm=_ReadStm, ctm=_ReadCtm)
  if kind in _WITH_KEYS:
    _ReadObjects(transcripts, role)
  else:
    readers[kind](transcripts)
  if not transcripts.texts:
    raise errors.DatasetError(f'{path}: no utterances; read as {kind}')
  if kind in ('trn', 'stm') and any(_ALTERNATIVES.search(text) for text in transcripts.texts.values()):
    transcripts.notes.append(f'{path}: alternatives as in {{ a / b }} count as words')
  return transcripts


def HasBoth(path: str, kind: str = 'auto') -> bool:
  """Whether a file has references and hypotheses: JSON objects with `hypothesis` or `pred_text`, and another text."""
  by_name = _KindOf(path)
  read = by_name if kind == 'auto' else kind
  if read not in _WITH_KEYS:
    return False
  CheckExists(path)
  try:
    _, row = next(_WITH_KEYS[read](path), (0, {}))
  except errors.DatasetError:
    if by_name == read:
      raise
    return False  # --hyp_format says nothing of the references.
  return bool(_KeyFor(row, 'reference') and any(key in row for key in _KEYS['hypothesis']))


def CheckExists(path: str) -> None:
  """Raises ConfigError, with the nearest name, if there is no such file."""
  if not file_system.Exists(path):
    nearest = os.path.basename(file_system.Beside(path) or '')
    raise errors.ConfigError(f'{path}: no such file{suggest.DidYouMean(nearest)}')
  if not file_system.IsRemote(path) and os.path.isdir(path):
    raise errors.ConfigError(f'{path}: expected a file, found a folder')


def _KindOf(path: str) -> str | None:
  """Returns the format that a file's extension says, or None; ConfigError: one that nothing here reads."""
  extension = os.path.splitext(path.removesuffix('.gz'))[1].lower()
  if extension in _OTHERS:
    raise errors.ConfigError(
      f'{path}: {extension} is not a format that can be scored; expected one of {", ".join(FORMATS)}, such as '
      'fm-transcribe --format=json writes'
    )
  return _EXTENSIONS.get(extension)


def _TextOrLines(path: str) -> str:
  lines = [line for _, line in text_lines.Lines(path) if line.strip()]
  if lines and all('\t' in line for line in lines):
    return 'text'
  firsts = [line.split()[0] for line in lines]
  return 'text' if len(set(firsts)) == len(firsts) and all(map(_LIKE_AN_ID.search, firsts)) else 'lines'


def _ReadText(transcripts: Transcripts) -> None:
  for number, line in text_lines.Lines(transcripts.path):
    name, tab, text = line.partition('\t')
    match = _TEXT.fullmatch(line)
    if tab and name.strip():
      transcripts.Add(number, name.strip(), text)
    elif match:
      transcripts.Add(number, match[1], match[2] or '')


def _ReadLines(transcripts: Transcripts) -> None:
  for number, line in text_lines.Lines(transcripts.path):
    transcripts.Add(number, str(number), line)


def _ReadTrn(transcripts: Transcripts) -> None:
  for number, line in text_lines.Lines(transcripts.path):
    if not line.strip() or line.startswith(';;'):
      continue
    match = _TRN.fullmatch(line)
    if not match:
      raise errors.DatasetError(f'{transcripts.path}:{number}: expected TEXT (ID), got {line[:60]!r}')
    speaker = _TRN_SPEAKER.match(match[2])
    transcripts.Add(number, match[2], match[1], speaker[1] if speaker else '')


def _ReadStm(transcripts: Transcripts) -> None:
  ignored = 0
  for number, line in text_lines.Lines(transcripts.path):
    try:
      segment = stm.Parse(line)
    except ValueError as e:
      raise errors.DatasetError(f'{transcripts.path}:{number}: {e}') from e
    if segment is None:
      continue
    name = f'{segment.recording}#{segment.channel}@{round(1000 * segment.start)}-{round(1000 * segment.end)}'
    if segment.text.strip().lower() == stm.IGNORED:
      ignored += 1
    else:
      transcripts.Add(number, name, segment.text, segment.speaker)
    transcripts.segments[name] = segment
  if ignored:
    transcripts.notes.append(
      f'{transcripts.path}: {ignored} {"segment" if ignored == 1 else "segments"} not scored ({stm.IGNORED})'
    )


def _ReadCtm(transcripts: Transcripts) -> None:
  for number, line in text_lines.Lines(transcripts.path):
    fields = line.split()
    if not fields or fields[0].startswith(';;'):
      continue
    try:
      recording, channel, start, seconds, word = fields[:5]
      begin, length = float(start), float(seconds)
      if not (0 <= begin < math.inf and 0 <= length < math.inf and len(fields) <= 6):
        raise ValueError
    except ValueError as e:
      raise errors.DatasetError(
        f'{transcripts.path}:{number}: expected FILE CHANNEL START SECONDS WORD, got {line[:60]!r}'
      ) from e
    name = RecordingOf(recording, channel)
    transcripts.words.setdefault(name, []).append(Word(word, begin, begin + length))
  for name, words in transcripts.words.items():
    words.sort(key=lambda w: w.start)
    transcripts.texts[name] = ' '.join(w.text for w in words)


def _KeyFor(row: dict, role: str) -> str | None:
  """Returns the key of a row's text: reference or hypothesis, or `text` and its other names, or None."""
  return next((key for key in _KEYS[role] if key in row), None) or next(
    (key for key in row if manifest_keys.KeyOf(key) == 'text'), None
  )


def _OfBranch(path: str, kind: str, branch: str) -> Iterator[tuple[int, dict]]:
  """Yields a file's objects that are of a branch, with their lines; ConfigError: it has other branches only."""
  every = list(_WITH_KEYS[kind](path))
  names = sorted({str(row['branch']) for _, row in every if 'branch' in row})
  if branch and branch not in names:
    known = f'there are {suggest.Some(names)}{suggest.Hint(branch, names)}' if names else 'its lines name none'
    raise errors.ConfigError(f'{path}: no hypotheses of the branch {branch}; {known}')
  if not branch and len(names) > 1:
    raise errors.ConfigError(f'{path}: hypotheses of {len(names)} branches; --branch selects one of {", ".join(names)}')
  yield from ((number, row) for number, row in every if not branch or row.get('branch') == branch)


def _ReadObjects(transcripts: Transcripts, role: str) -> None:
  key, ids = None, audio_paths.UtteranceIds()
  for number, row in _OfBranch(transcripts.path, transcripts.format, transcripts.branch):
    where = f'{transcripts.path}:{number}'
    key = key or _KeyFor(row, role)
    if key is None or key not in row:
      wanted = key or ' or '.join((*_KEYS[role], 'text'))
      raise errors.DatasetError(f'{where}: no {wanted}; found {suggest.Some(row)}{suggest.Hint(wanted, row)}')
    try:
      known, _ = manifest_keys.Known(row, _USED)
      utt_id = known.get('utt_id')
      if utt_id is None and isinstance(known.get('audio_filepath'), str):
        offset, seconds, _ = manifest_keys.Part(known)
        utt_id = ids.Make(known['audio_filepath'], offset, seconds, manifest_keys.Channel(known))
    except manifest_keys.BadEntry as e:
      raise errors.DatasetError(f'{where}: {e}') from e
    if utt_id is None:
      raise errors.DatasetError(f'{where}: no utt_id and no audio_filepath; found {suggest.Some(row)}')
    if not isinstance(row[key], str) and not _IsNumber(row[key]):
      raise errors.DatasetError(f'{where}: {key} = {json.dumps(row[key])[:60]}: expected a string')
    transcripts.Add(number, str(utt_id), str(row[key]), str(known.get('speaker', '')))
    if 'lang' in known:
      transcripts.languages[str(utt_id)] = str(known['lang'])


def _IsNumber(value: object) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
