"""Finds out from a file's own structure where its sound ends, and whether it was cut off.

FFmpeg reads most containers that are cut off without an error, and believes headers that a program wrote into a pipe
before it knew the length. Here the data decide: a size of zero or near the largest number is unknown, a declared size
at most 64 bytes too large is accepted, and a container whose last chunk, box, cluster or page is incomplete is cut off.
"""

import dataclasses
import io
import struct
from collections.abc import Iterator
from typing import IO
from typing import Any
from typing import Literal

import av

_SLACK = 64  # Bytes by which a size may be too large: some writers count headers or padding as data.
_UNKNOWN = 0x7F000000  # Sizes of 32 bits from here on are what pipes get: 0x7FFFFFFF, 0x7FFFF000, 0xFFFFFFFF, ...
_ASF = bytes.fromhex('3026b2758e66cf11')
_MOVIE_BOXES = (b'mdat', b'moov', b'moof')


@dataclasses.dataclass(frozen=True)
class Extent:
  """What the structure of a file says of its sound."""

  end: int  # Bytes after this one are no sound, such as tags at the end.
  cut_off: str = ''  # How one sees that the file is cut off.
  is_sized: bool = False  # Whether these two say all, whatever length the header declares.
  is_endless: bool = False  # Whether the header says that the size is unknown.


class Part(io.RawIOBase):
  """The first `end` bytes of an open file; by its name FFmpeg recognises the few formats that content does not tell."""

  def __init__(self, f: IO[bytes], end: int, name: str) -> None:
    super().__init__()
    self._f, self._end, self.name = f, end, name

  def readable(self) -> bool:
    return True

  def seekable(self) -> bool:
    return True

  def read(self, size: int = -1) -> bytes:
    left = max(0, self._end - self._f.tell())
    return self._f.read(left if size is None or size < 0 else min(size, left))

  def seek(self, offset: int, whence: int = 0) -> int:
    base = {0: 0, 1: self._f.tell(), 2: self._end}[whence]
    self._f.seek(base + offset)
    return base + offset

  def tell(self) -> int:
    return self._f.tell()


def Open(f: Any, kind: str | None = None) -> Any:
  """Opens a file for FFmpeg, which may not open others: playlists and session descriptions name files and networks.

  Args:
    f: An open file that can seek.
    kind: Demuxer of a file without a header; None: its content tells.

  Raises:
    av.error.FFmpegError: It is none that FFmpeg reads, or it needs another file.
  """
  return av.open(f, mode='r', format=kind, options={'protocol_whitelist': 'none'})


def Inspect(f: IO[bytes]) -> Extent:
  """Inspects an open file; returns its Extent. Reads only headers of its parts, and its end."""
  f.seek(0, 2)
  end = _WithoutTags(f, f.tell())
  head = _At(f, 0, 16)
  if head[:4] in (b'RIFF', b'RF64', b'BW64') and head[8:12] == b'WAVE':
    return _Wave(f, end)
  if head[:4] == b'RIFF' and head[8:12] == b'AVI ':
    return Extent(end, _Beyond('RIFF chunk', 8 + int.from_bytes(head[4:8], 'little'), end))
  if head[:4] == b'FORM':
    return _Sound(end, _Chunks(f, end, 12, '>I', 0, 2), (b'SSND', b'BODY'))
  if head[:4] == b'riff':
    return _Sound(end, _Chunks(f, end, 40, '<Q', 24, 8, 16), (b'data',))
  if head[:4] == b'caff':
    return _Sound(end, _Chunks(f, end, 8, '>Q', 0, 1), (b'data',))
  if head[:4] == b'.snd':
    return _Sound(
      end, iter([(b'data', int.from_bytes(head[4:8], 'big'), int.from_bytes(head[8:12], 'big'))]), (b'data',)
    )
  if head[:4] in (b'.SoX', b'XoS.'):
    order: Literal['little', 'big'] = 'little' if head[:4] == b'.SoX' else 'big'
    offset, samples = 4 + int.from_bytes(head[4:8], order), int.from_bytes(head[8:16], order)
    return _Sound(end, iter([(b'data', offset, 4 * samples)]), (b'data',))
  if head[4:8] in (b'ftyp', b'wide', b'free', b'skip', *_MOVIE_BOXES):
    return Extent(end, _Movie(f, end))
  if head[:4] == b'\x1aE\xdf\xa3':
    return Extent(end, _Matroska(f, end))
  if head[:4] == b'OggS':
    return Extent(end, _Ogg(f, end))
  if head[:8] == _ASF:
    ends = (offset + size for _, offset, size in _Chunks(f, end, 0, '<Q', 24, 1, 16) if size < 1 << 62)
    return Extent(end, next(filter(None, (_Beyond('object', last, end) for last in ends)), ''))
  return Extent(end)


def _At(f: IO[bytes], offset: int, size: int) -> bytes:
  f.seek(offset)
  return f.read(size)


def _Beyond(what: str, declared_end: int, end: int) -> str:
  """Describes a part that ends after the file, or returns ''."""
  is_known = not 0xFFFFFFFF >= declared_end >= _UNKNOWN
  return f'{end} bytes, its {what} ends at {declared_end}' if is_known and declared_end > end + _SLACK else ''


def _WithoutTags(f: IO[bytes], end: int) -> int:
  """Returns the end of a file without ID3v1 and APE tags, which decoders of FLAC and others take for sound."""
  if _At(f, max(0, end - 128), 3) == b'TAG':
    end -= 128
  footer = _At(f, max(0, end - 32), 32)
  if footer[:8] == b'APETAGEX':
    size, has_header = int.from_bytes(footer[12:16], 'little'), footer[23] & 0x80
    end = max(0, end - size - (32 if has_header else 0))
  return end


def _Chunks(
  f: IO[bytes], end: int, offset: int, size_format: str, counted: int, align: int, id_bytes: int = 4
) -> Iterator[tuple[bytes, int, int]]:
  """Yields (id of 4 bytes, offset of the body, size of the body) of the chunks from `offset` on.

  Args:
    f: The file.
    end: Its end.
    offset: That of the first chunk.
    size_format: struct's format of a size.
    counted: Bytes of the header that the size includes.
    align: A chunk begins at a multiple of so many bytes.
    id_bytes: Length of an id.
  """
  header = id_bytes + struct.calcsize(size_format)
  while offset + header <= end:
    found = _At(f, offset, header)
    [size] = struct.unpack(size_format, found[id_bytes:])
    size = max(0, size - counted)
    offset += header
    yield found[:4], offset, size
    offset += size + -size % align


def _Sound(end: int, chunks: Iterator[tuple[bytes, int, int]], names: tuple[bytes, ...]) -> Extent:
  """Returns the Extent of a file whose sound is one of `names` among its chunks."""
  for name, offset, size in chunks:
    if name in names:
      if not size or _UNKNOWN <= size <= 0xFFFFFFFF or size >= 1 << 62:
        return Extent(end, is_sized=True, is_endless=True)
      return Extent(end, _Beyond(f'{name.decode()} chunk', offset + size, end), is_sized=True)
  return Extent(end)


def _Wave(f: IO[bytes], end: int) -> Extent:
  """As _Sound for WAV and RF64; sound that goes to the end of the file ends with a whole frame of samples."""
  block, long_size = 1, None
  for name, offset, size in _Chunks(f, end, 12, '<I', 0, 2):
    if name == b'fmt ':
      block = int.from_bytes(_At(f, offset + 12, 2), 'little') or 1
    elif name == b'ds64':
      long_size = int.from_bytes(_At(f, offset + 8, 8), 'little')
    elif name == b'data':
      if size == 0xFFFFFFFF and long_size:
        size = long_size
      if size and not _UNKNOWN <= size <= 0xFFFFFFFF and offset + size <= end:
        return Extent(end, is_sized=True)
      extent = _Sound(end, iter([(name, offset, size)]), (name,))
      return dataclasses.replace(extent, end=end - (end - offset) % block)
  return Extent(end)


def _Movie(f: IO[bytes], end: int) -> str:
  """Returns why an MP4 or QuickTime file is cut off, or ''."""
  offset, has_movie = 0, False
  while offset + 8 <= end:
    header = _At(f, offset, 16)
    size, name = int.from_bytes(header[:4], 'big'), header[4:8]
    if size == 1:
      size = int.from_bytes(header[8:], 'big')
    has_movie |= name == b'moov'
    if name in _MOVIE_BOXES and offset + size > end + _SLACK:
      return f'{end} bytes, its {name.decode()} box ends at {offset + size}'
    if size < 8:  # 0: to the end of the file.
      break
    offset += size
  return '' if has_movie else 'no moov box, which is written last'


def _Number(f: IO[bytes], is_size: bool) -> tuple[int, int] | None:
  """Reads a number of EBML; returns (number, bytes), -1 for an unknown size; None if it is no number."""
  first = f.read(1)
  if not first or not first[0]:
    return None
  length = 9 - first[0].bit_length()
  rest = f.read(length - 1)
  if len(rest) < length - 1:
    return None
  number = int.from_bytes(first + rest, 'big')
  if not is_size:
    return number, length
  number &= (1 << 7 * length) - 1
  return (-1 if number == (1 << 7 * length) - 1 else number), length


def _Matroska(f: IO[bytes], end: int) -> str:
  """Returns why a Matroska or WebM file is cut off, or ''; enters elements of unknown size, as live writers leave."""
  offset = 0
  while offset < end:
    f.seek(offset)
    name = _Number(f, is_size=False)
    size = _Number(f, is_size=True) if name else None
    if name is None or size is None:
      return 'an element is cut off at the end' if end - offset < 12 else ''
    offset += name[1] + size[1]
    if size[0] >= 0:
      offset += size[0]
      if offset > end:
        return f'{end} bytes, its element {name[0]:X} ends at {offset}'
  return ''


def _Ogg(f: IO[bytes], end: int) -> str:
  """Returns why an Ogg file is cut off, or ''."""
  start = max(0, end - 66000)  # The longest page has 65307 bytes.
  tail = _At(f, start, end - start)
  page = tail.rfind(b'OggS\0')
  if page < 0:
    return ''
  lacing = tail[page + 27 : page + 27 + tail[page + 26]] if page + 26 < len(tail) else b''
  complete = page + 26 < len(tail) and len(lacing) == tail[page + 26]
  if complete and page + 27 + len(lacing) + sum(lacing) <= len(tail):
    return ''
  return 'its last page is incomplete'
