"""Rows of Parquet and Arrow files: the table without the recordings, and the recordings of some rows.

A group is what is read at once: a row group of a Parquet file, given by its index, or a record batch of an Arrow file
(stream or file format), given by its position. Listing reads only the columns that it needs.
"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from fm_lingvo import audio
from fm_lingvo.audio import stream as audio_stream
from fm_lingvo.utils import files as file_system

DAMAGE = (OSError, EOFError, ValueError, pa.ArrowException)
_ROWS = 16  # Rows with audio that are in memory at once.
_BUFFER = 1 << 20  # Bytes.
_OWN = ('bytes', 'array')  # Fields of a struct with audio in the table.


@dataclasses.dataclass(frozen=True)
class Group:
  """A group of rows as the container of recordings (fm_lingvo/data/importers.py); members are rows of the group."""

  path: str
  group: int
  column: str  # The column with the audio: encoded (binary, or bytes of a struct), or decoded (array of a struct).

  def Read(self, members: Sequence[int]) -> Iterator[tuple[int, bytes | audio.Rejected]]:
    """Yields (row, encoded audio, or why it is none) of the given rows."""
    wanted, first = set(members), 0
    try:
      with Open(self.path) as table:
        for values in table.Values(self.group, self.column):
          for row in wanted.intersection(range(first, first + len(values))):
            try:
              data = _Encoded(values[row - first].as_py())
            except audio.Rejected as e:
              data = e
            if data is not None:
              yield row, data
          first += len(values)
    except pa.ArrowException as e:
      raise ValueError(f'{self.path}: {e}') from e


def _Encoded(value: Any) -> bytes | None:
  """Returns an audio file: the value of a binary column, the bytes of a struct, or its array as a WAV.

  Raises:
    audio.Rejected: It is neither bytes nor an array of sound.
  """
  found = value.get('bytes') if isinstance(value, dict) else value
  if found is None and isinstance(value, dict) and value.get('array') is not None:
    return _AsWav(value)
  if not isinstance(found, bytes | None):  # Not a text: it would be opened as a path, without a check where it leads.
    raise audio.Rejected('corrupt', f'{type(found).__name__} {str(found)[:40]!r}: expected the bytes of an audio file')
  return found


def _AsWav(value: dict[str, Any]) -> bytes:
  """Returns a WAV file of `array`, [samples] or [channels, samples], and `sampling_rate`; raises audio.Rejected."""
  low, high = audio_stream.RATES
  rate = value.get('sampling_rate')
  if not isinstance(rate, (int, float)) or not low <= rate <= high:
    raise audio.Rejected('corrupt', f'sampling_rate = {rate!r}: expected Hz from {low} to {high}')
  try:
    samples = np.asarray(value['array'])
    is_whole = samples.dtype.kind == 'i'
    if is_whole and (samples != samples.astype(np.int16)).any():
      raise ValueError(f'integers from {samples.min()} to {samples.max()}: expected samples of 16 bits')
    samples = samples.astype(np.int16 if is_whole else np.float32)
  except (TypeError, ValueError) as e:  # Channels of different lengths, or no numbers.
    raise audio.Rejected('corrupt', f'{e}') from e
  if samples.ndim not in (1, 2) or samples.ndim == 2 and len(samples) > audio_stream.MAX_CHANNELS:
    raise audio.Rejected(
      'corrupt', f'an array of shape {list(samples.shape)}: expected [samples] or [channels, samples]'
    )
  wav = io.BytesIO()
  # [channels, N] in the data, [N, channels] in the file.
  soundfile.write(wav, samples.T, int(rate), 'PCM_16' if is_whole else 'FLOAT', format='WAV')
  return wav.getvalue()


@contextlib.contextmanager
def Open(path: str) -> Iterator[Any]:
  """Context with a Parquet or Arrow file, recognised by content.

  It has `schema`; `Values(group, column)`, which yields arrays with the audio; and `Groups(columns, audio)`, which
  yields (group, rows, embedded): for each row a dict of these columns, or the exception for damage, and whether the
  column `audio` has more than a path.

  Raises:
    OSError, ValueError or pa.ArrowException: It is neither, or damaged.
  """
  with contextlib.ExitStack() as stack:
    f = stack.enter_context(file_system.Open(path, 'rb'))
    start = f.read(4)
    f.seek(0)
    if start == b'PAR1':
      yield _Parquet(f)
    elif file_system.IsRemote(path):
      yield _Arrow(pa.PythonFile(f, 'r'))
    else:
      yield _Arrow(stack.enter_context(pa.memory_map(path)))


class _Parquet:
  def __init__(self, f):
    self._file = pq.ParquetFile(f, buffer_size=_BUFFER)
    self.schema = self._file.schema_arrow

  def Groups(self, columns, audio):
    for group in range(self._file.num_row_groups):
      number = self._file.metadata.row_group(group).num_rows
      try:
        table = self._file.read_row_group(group, columns=columns).flatten().to_pylist() if columns else [{}] * number
        embedded = self._Embedded(group, audio)
      except DAMAGE as e:
        table, embedded = [e] * number, [False] * number
      yield group, table, embedded

  def Values(self, group, column):
    kind = self.schema.field(column).type
    if pa.types.is_struct(kind):
      children = [f.name for f in kind if f.name in ('bytes', 'array', 'sampling_rate')]
      names = [f'{column}.{name}' for name in children]
    else:
      names = [column]
    for batch in self._file.iter_batches(batch_size=_ROWS, row_groups=[group], columns=names):
      yield batch.column(0)

  def _Embedded(self, group, column):
    kind = self.schema.field(column).type
    if IsText(kind) or (pa.types.is_struct(kind) and not {f.name for f in kind} & set(_OWN)):
      return np.zeros([self._file.metadata.row_group(group).num_rows], bool)
    leaves = {f'{column}.bytes', f'{column}.array.list.element', f'{column}.array.list.item', column}
    chunks = [self._file.metadata.row_group(group).column(i) for i in range(self._file.metadata.num_columns)]
    found = [c.statistics for c in chunks if c.path_in_schema in leaves]
    if len(found) == 1 and found[0] is not None and found[0].has_null_count and not found[0].null_count:
      return np.ones([self._file.metadata.row_group(group).num_rows], bool)
    return np.concatenate([_HasAudio(v) for v in self.Values(group, column)] or [np.zeros([0], bool)])


class _Arrow:
  """An Arrow file as a stream of messages: the file format is that, after 8 bytes, with an index that is not needed."""

  def __init__(self, f):
    self._file = f
    if bytes(f.read(6)) != b'ARROW1':
      f.seek(0)
    else:
      f.seek(8)
    self.schema = pa.ipc.read_schema(f)
    self._start = f.tell()

  def _Batch(self, position):
    """Returns the record batch at a position, None at the end."""
    self._file.seek(position)
    mark = bytes(self._file.read(8))
    if mark in (b'', b'\xff\xff\xff\xff\0\0\0\0'):
      return None
    self._file.seek(position)
    message = pa.ipc.read_message(self._file)
    if message.type != 'record batch':
      raise ValueError(f'{message.type}: dictionaries and tensors in Arrow files are not read')
    return pa.ipc.read_record_batch(message, self.schema)

  def Groups(self, columns, audio):
    position = self._start
    while (batch := self._Batch(position)) is not None:
      end = self._file.tell()
      selected = [_Select(batch, name) for name in columns]
      for array in selected:
        array.validate(full=True)  # Else damaged offsets lead out of the memory.
      table = pa.table(selected, names=columns).to_pylist() if columns else [{}] * batch.num_rows
      yield position, table, _HasAudio(batch.column(audio))
      position = end

  def Values(self, group, column):
    values = self._Batch(group).column(column)
    values.validate(full=True)
    for first in range(0, len(values), _ROWS):
      yield values.slice(first, _ROWS)


def _Select(batch, name):
  """Returns the column `name`, or `CHILD` of the struct in `COLUMN` for the name COLUMN.CHILD."""
  if name in batch.schema.names:
    return batch.column(name)
  column, _, child = name.rpartition('.')
  return batch.column(column).field(child)


def _HasAudio(values):
  """Returns bool [rows]: whether there is audio, and not only a path."""
  if not pa.types.is_struct(values.type):
    found = np.full([len(values)], not IsText(values.type))
  else:
    found = np.zeros([len(values)], bool)
    for name in _OWN:
      if values.type.get_field_index(name) >= 0:
        found |= ~np.asarray(values.field(name).is_null())
  return found & ~np.asarray(values.is_null())


def IsText(kind):
  """Returns whether a pyarrow.DataType is text."""
  return pa.types.is_string(kind) or pa.types.is_large_string(kind)
