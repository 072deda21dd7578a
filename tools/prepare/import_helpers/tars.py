"""Tar files with recordings. Members are listed by their headers and read into memory, never unpacked to disk.

A tar may be compressed (gzip, bzip2, xz or zstd, recognised by content). The positions of members are those in the
decompressed tar. Tars are not trusted: links, sparse files and oversized members or headers are refused.
"""

import bz2
import contextlib
import dataclasses
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import IO
from typing import Any
from typing import NamedTuple

import pyarrow as pa

from fm_lingvo.utils import files as file_system

MAX_BYTES = 2 << 30  # Largest member with a recording.
MAX_TEXT_BYTES = 1 << 20  # Largest member with text, and largest extended header.
_PART_BYTES = 16 << 20  # An uncompressed tar is read in parts of this size, by as many workers.
_OPENERS: dict[bytes, Callable[..., Any]] = {
  b'\x1f\x8b': gzip.GzipFile,
  b'BZh': bz2.BZ2File,
  b'\xfd7zXZ': lzma.LZMAFile,
  b'\x28\xb5\x2f\xfd': lambda f: _Zstd(f),
}
DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, tarfile.TarError)


class Span(NamedTuple):
  """Where the content of a member is, in bytes; its text is the member's name, which tells formats without a header."""

  offset: int
  size: int
  name: str

  def __str__(self):
    return self.name


@dataclasses.dataclass(frozen=True)
class Tar:
  """A tar file, or a part of it, as the container of recordings (fm_lingvo/data/importers.py); members are spans."""

  path: str
  part: int = 0

  def Read(self, members: Sequence[Span]) -> Iterator[tuple[Span, bytes]]:
    """Yields (span, content) for the given spans."""
    with _Open(self.path) as (f, _):
      for span in sorted(members):
        try:
          f.seek(span.offset)
          data = f.read(span.size)
        except lzma.LZMAError as e:
          raise ValueError(f'{self.path}: {e}') from e
        if len(data) < span.size:
          raise EOFError(f'{self.path} ends within a member, at byte {span.offset + len(data)}')
        yield span, data


@dataclasses.dataclass(frozen=True)
class Member:
  """A file in a tar."""

  name: str
  span: Span
  container: Tar
  text: bytes | None  # The content, of members with text.


@dataclasses.dataclass
class Contents:
  """What a tar has."""

  members: list[Member]
  refused: list[tuple[str, str]]  # Name and why.
  damage: str = ''  # Where and how the tar is damaged; members after that are unknown.


def List(path: str, is_text: Callable[[str], bool] = lambda name: False) -> Contents:
  """Lists the files of a tar.

  Args:
    path: Local or remote tar file.
    is_text: Function: name -> whether the member's content is returned, too.
  """
  contents = Contents([], [])
  try:
    with (
      _Open(path) as (f, is_compressed),
      tarfile.open(fileobj=_Blocks(f), mode='r:', tarinfo=_Header, ignore_zeros=True) as tar,
    ):
      while (info := tar.next()) is not None:
        tar.members.clear()  # Else it keeps all of them.
        if not info.isdir():
          _Add(contents, tar, info, path, is_text, not is_compressed)
  except DAMAGE as e:
    end = sum(contents.members[-1].span[:2]) if contents.members else 0
    contents.damage = f'damaged after byte {end} ({e or type(e).__name__}); what follows is lost'
  return contents


def _Add(contents, tar, info, path, is_text, seekable):
  if info.size < 0:
    raise tarfile.ReadError('a member of negative size')
  name = info.name.removeprefix('./')
  text = is_text(name)
  why = _Refuses(info, name, MAX_TEXT_BYTES if text else MAX_BYTES)
  if why:
    contents.refused.append((name.encode('utf-8', 'replace').decode(), why))
    return
  content = tar.fileobj.read(info.size) if text else None  # It is at the member's start.
  if text and len(content) < info.size:
    raise tarfile.ReadError('unexpected end of data')
  container = Tar(path, info.offset // _PART_BYTES if seekable else 0)
  if contents.members and contents.members[-1].container == container:
    container = contents.members[-1].container
  contents.members.append(Member(name, Span(info.offset_data, info.size, name), container, content))


def _Refuses(info, name, limit):
  """Returns why a member is refused, or ''."""
  try:
    name.encode('utf-8')
  except UnicodeEncodeError:
    return 'its name is not UTF-8'
  if not info.isreg() or info.issparse():
    return 'a link, a device or a sparse file, which are not read'
  return f'{info.size} bytes, expected at most {limit}' if info.size > limit else ''


class _Blocks:
  """The file that tarfile reads: keeps what was read last, and refuses extended headers that are too large."""

  def __init__(self, f):
    self._file = f
    self.last = b''
    self.seek, self.tell = f.seek, f.tell

  def read(self, size):
    if not 0 <= size < MAX_TEXT_BYTES + tarfile.BLOCKSIZE:  # Sizes of headers are rounded up to blocks.
      raise tarfile.ReadError(f'an extended header of {size} bytes, expected at most {MAX_TEXT_BYTES}')
    self.last = self._file.read(size)
    return self.last


class _Header(tarfile.TarInfo):
  """Header of a member; raises ReadError for a damaged one, which tarfile would skip or take for the end."""

  @classmethod
  def fromtarfile(cls, tar):
    try:
      return super().fromtarfile(tar)
    except tarfile.HeaderError as e:
      if isinstance(e, tarfile.InvalidHeaderError) or tar.fileobj.last.strip(b'\0'):
        raise tarfile.ReadError(f'{e}, expected the header of a member') from e
      raise  # The end, or the end of one of several tars in one file.


class _Zstd:
  """A file that is compressed with zstd, decompressed; one that is cut off raises OSError."""

  def __init__(self, f):
    self._stream = pa.CompressedInputStream(f, 'zstd')
    self._position = 0

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._stream.close()

  def tell(self):
    return self._position

  def read(self, size):
    data = self._stream.read(size)
    self._position += len(data)
    return data

  def seek(self, position):
    if position < self._position:
      raise OSError(f'byte {position} is before the current one; zstd is read forward only')
    while self._position < position and self.read(min(position - self._position, MAX_TEXT_BYTES)):
      pass


@contextlib.contextmanager
def _Open(path: str) -> Iterator[tuple[IO[bytes], bool]]:
  """Context with a tar, decompressed, and whether it was compressed; seek only forward."""
  with file_system.Open(path, 'rb') as f:
    start = f.read(6)
    f.seek(0)
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    if opener is None:
      yield f, False
      return
    with opener(fileobj=f) if opener is gzip.GzipFile else opener(f) as unpacked:
      yield unpacked, True
