"""Finds damaged TFRecord shards, the records that can still be read, and the number of lost records.

TensorFlow's reader stops at the first damaged record and does not report its position. A scan of the checksums locates
the damage, and finds the intact records after it as long as the lengths are valid. A stream (fm_lingvo/data/stream.py)
then reads only the intact records.

  record on disk: length (8 bytes), checksum of the length (4), content, checksum of the content (4)
"""

import dataclasses
import fnmatch
import os
import struct

import google_crc32c

from fm_lingvo import errors
from fm_lingvo.data import dataset
from fm_lingvo.utils import files

_HEADER, _FOOTER = 12, 4
_SHOWN = 5

_known = {}  # Path -> Shard of all damaged or missing shards found in this process.


@dataclasses.dataclass(frozen=True)
class Shard:
  """A damaged or missing shard.

  Attributes:
    path: Path of the file.
    problems: Tuple of descriptions of the damaged records, numbered from 0.
    lost: Number of records that cannot be read.
    good: Tuple of (offset, length) in bytes of the contents of the intact records.
    size: Size of the file in bytes.
  """

  path: str
  problems: tuple
  lost: int
  good: tuple = ()
  size: int = 0

  @property
  def line(self):
    """Summary in one line."""
    more = f'; and {len(self.problems) - _SHOWN} more' if len(self.problems) > _SHOWN else ''
    return f'{self.path}: {"; ".join(self.problems[:_SHOWN])}{more}: {self.lost} lost, {len(self.good)} good'


def Scan(path, expected=None):
  """Reads a whole shard and verifies its checksums.

  Args:
    path: Path of the file, local or remote.
    expected: Number of records that it should have; None if unknown.

  Returns:
    A Shard, or None if the file is intact.
  """
  size = files.FileSize(path)
  problems, good, number, offset = [], [], 0, 0
  with files.Open(path, 'rb') as f:
    while offset < size:
      header = f.read(_HEADER)
      if len(header) < _HEADER:
        problems.append(f'record {number}: cut off at byte {size}')
        break
      (length,) = struct.unpack('<Q', header[:8])
      if _Masked(header[:8]) != header[8:]:
        problems.append(f'record {number}: its length is damaged, at byte {offset}: no later record can be read')
        break
      if offset + _HEADER + length + _FOOTER > size:
        problems.append(f'record {number}: cut off at byte {size}')
        break
      content = f.read(length)
      if _Masked(content) != f.read(_FOOTER):
        problems.append(f'record {number}: its checksum is wrong, at byte {offset}')
      elif length:
        good.append((offset + _HEADER, length))
      else:
        problems.append(f'record {number}: empty')
      number += 1
      offset += _HEADER + length + _FOOTER
    else:
      if not problems and expected in (None, number):
        return None
      if expected not in (None, number):
        problems.append(f'{number} records, but dataset.json says {expected}')
  # Without dataset.json the number of records after a damaged length is unknown, but at least one.
  at_least = number - len(good) + (offset < size)
  lost = at_least if expected is None else max(at_least, expected - len(good))
  return Shard(path, tuple(problems), lost, tuple(good), size)


def _Masked(content):
  """Returns the masked CRC-32C of bytes in the encoding of TFRecord files, little endian."""
  crc = google_crc32c.value(content)
  return struct.pack('<I', (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def Check(patterns, paths):
  """Returns the shards of a stream that are known to be damaged or missing.

  Compares names and sizes with dataset.json, if there is one, and scans shards of the wrong size. Damage inside a shard
  of the right size is found only when its records are read; ScanAll then locates it.

  Args:
    patterns: Globs of the stream.
    paths: Files that match them.

  Returns:
    dict: path -> Shard, missing shards included.

  Raises:
    errors.ConfigError: A dataset.json is invalid.
  """
  expected = _ExpectedShards(patterns)
  for path, (size, utterances) in sorted(expected.items()):
    if path not in paths:
      _known[path] = Shard(path, (f'missing, but dataset.json says {utterances} records',), utterances)
    elif path not in _known and files.FileSize(path) != size:
      damaged = Scan(path, utterances)
      if damaged:
        _known[path] = damaged
  return {path: _known[path] for path in sorted({*paths, *expected}) if path in _known and _known[path].lost}


def ScanAll(patterns, paths):
  """Scans all shards of a stream; returns the damaged shards that were not known before."""
  expected = _ExpectedShards(patterns)
  new = []
  for path in paths:
    if path not in _known:
      damaged = Scan(path, expected[path][1] if path in expected else None)
      if damaged:
        _known[path] = damaged
        new.append(damaged)
  return new


def _ExpectedShards(patterns):
  """Returns dict path -> (bytes, utterances) of the shards in dataset.json whose names match the globs."""
  from fm_lingvo.data import stream_params  # Imported here because it imports TensorFlow, which a scan does not need.

  expected = {}
  for pattern in patterns:
    folder, name = os.path.split(pattern)
    name = name.replace('[^', '[!')  # TensorFlow's globs accept both forms of negation, Python's only [!.
    if any(c in folder for c in '*?['):
      folders = sorted({os.path.dirname(f) for f in stream_params.Glob(os.path.join(folder, 'dataset.json'))})
    else:
      folders = [folder]
    for folder in folders:
      if files.Exists(os.path.join(folder, 'dataset.json')):
        try:
          shards = dataset.ReadDataset(folder, check_shards=False).shards
        except dataset.DatasetError as e:
          raise errors.ConfigError(str(e)) from e
        expected.update(
          {
            os.path.join(folder, shard.name): (shard.size, shard.utterances)
            for split in shards.values()
            for shard in split
            if fnmatch.fnmatchcase(shard.name, name)
          }
        )
  return expected


def CheckLimit(path, shards, limit):
  """Raises ConfigError if a stream has lost more records than allowed.

  Args:
    path: Path of the stream's Params, for the message.
    shards: dict as returned by Check.
    limit: The stream's max_damaged_records.
  """
  lost = sum(shard.lost for shard in shards.values())
  if lost > limit:
    raise errors.ConfigError(
      f'{path}.max_damaged_records = {limit}: {lost} records are lost; '
      + '; '.join(shard.line for shard in list(shards.values())[:_SHOWN])
    )


def Known():
  """Returns the damaged or missing Shards found so far in this process."""
  return list(_known.values())


def Forget():
  """Clears the results of all scans; for tests."""
  _known.clear()
