"""Damaged TFRecord shards: which of their records can still be read, and how many are lost.

TensorFlow's reader ends at the first damaged record and does not say where. A scan of the checksums says it, and finds
the whole records behind it as long as lengths are intact. A stream (fm_lingvo/data/stream.py) then reads these alone.

  record on disk: length (8 bytes), checksum of it (4), content, checksum of that (4)
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

_known = {}  # Path -> Shard, of every shard scanned in this process that is not whole.


@dataclasses.dataclass(frozen=True)
class Shard:
  """A shard that is not whole.

  Attributes:
    path: Of the file.
    problems: Tuple of lines that say what is wrong with which record; records count from 0.
    lost: Records that cannot be read.
    good: Tuple of (offset, length) in bytes of the content of each record that can be.
    size: Of the file, in bytes.
  """

  path: str
  problems: tuple
  lost: int
  good: tuple = ()
  size: int = 0

  @property
  def line(self):
    """One line for a terminal."""
    more = f'; and {len(self.problems) - _SHOWN} more' if len(self.problems) > _SHOWN else ''
    return f'{self.path}: {"; ".join(self.problems[:_SHOWN])}{more}: {self.lost} lost, {len(self.good)} good'


def Scan(path, expected=None):
  """Reads all of a shard and checks it.

  Args:
    path: Of the file, local or remote.
    expected: Records that it should have, None if nobody says.

  Returns:
    A Shard, or None if nothing is wrong.
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
        problems.append(f'record {number}: its length is damaged, at byte {offset}: nothing behind it can be read')
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
  # Without dataset.json the records behind damage that ends the scan are not known: one at least.
  at_least = number - len(good) + (offset < size)
  lost = at_least if expected is None else max(at_least, expected - len(good))
  return Shard(path, tuple(problems), lost, tuple(good), size)


def _Masked(content):
  """Masked CRC-32C of bytes, as TFRecord files have it, little endian."""
  crc = google_crc32c.value(content)
  return struct.pack('<I', (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def Check(patterns, paths):
  """Shards of a stream that are known not to be whole.

  Looks at names and sizes only, where dataset.json tells them, and scans shards of another size. Damage inside a shard
  of the right size is found when a record is read (ScanAll).

  Args:
    patterns: Globs of the stream.
    paths: Files that they match.

  Returns:
    dict: path -> Shard, of missing ones too.
  """
  told = _Told(patterns)
  for path, (size, utterances) in sorted(told.items()):
    if path not in paths:
      _known[path] = Shard(path, (f'missing, but dataset.json says {utterances} records',), utterances)
    elif path not in _known and files.FileSize(path) != size:
      found = Scan(path, utterances)
      if found:
        _known[path] = found
  return {path: _known[path] for path in sorted({*paths, *told}) if path in _known and _known[path].lost}


def ScanAll(patterns, paths):
  """Scans every shard of a stream; returns those that are found not to be whole and were not known."""
  told = _Told(patterns)
  new = []
  for path in paths:
    if path not in _known:
      found = Scan(path, told[path][1] if path in told else None)
      if found:
        _known[path] = found
        new.append(found)
  return new


def _Told(patterns):
  """dict: path -> (size, utterances), of the shards that dataset.json has for some globs."""
  from fm_lingvo.data import stream_params  # TensorFlow: a scan does without.

  told = {}
  for pattern in patterns:
    folder, name = os.path.split(pattern)
    name = name.replace('[^', '[!')  # Python knows one of the two ways of TensorFlow's globs to exclude characters.
    if '*' in folder or '?' in folder or '[' in folder:
      folders = sorted({os.path.dirname(f) for f in stream_params.Glob(os.path.join(folder, 'dataset.json'))})
    else:
      folders = [folder]
    for found in folders:
      if files.Exists(os.path.join(found, 'dataset.json')):
        try:
          shards = dataset.ReadDataset(found, check_shards=False).shards
        except dataset.DatasetError as e:
          raise errors.ConfigError(str(e)) from e
        told.update(
          {
            os.path.join(found, shard.name): (shard.size, shard.utterances)
            for split in shards.values()
            for shard in split
            if fnmatch.fnmatchcase(shard.name, name)
          }
        )
  return told


def CheckLimit(path, shards, limit):
  """Raises ConfigError if a stream has lost more records than it may.

  Args:
    path: Where the stream's Params are.
    shards: dict as Check returns.
    limit: Its max_damaged_records.
  """
  lost = sum(shard.lost for shard in shards.values())
  if lost > limit:
    raise errors.ConfigError(
      f'{path}.max_damaged_records = {limit}: {lost} records are lost; '
      + '; '.join(shard.line for shard in list(shards.values())[:_SHOWN])
    )


def Known():
  """List of the Shards found so far in this process."""
  return list(_known.values())


def Forget():
  """Forgets what was scanned; for tests."""
  _known.clear()
