"""Beneath a Steel Sky, CD version 0.0372: speech files of sky.dsk, messages, and who speaks them."""

import dataclasses
import os
import struct
from collections.abc import Iterable
from collections.abc import Iterator

from . import game_lines
from . import rnc
from . import sky_speakers
from . import sky_text

PACKAGE = 'beneath-a-steel-sky'
HOLDER = 'Revolution Software Ltd'
KEY_FILE = 'sky.dnr'  # The file that tells its folder.
_FILES = 5097  # Number of files of version 0.0372.
_HEADER = 22  # Bytes before the sound, or before the packed stream.
# The first speech file of each section of messages.
_SPEECH = tuple(50000 + base for base in (0, 600, 1100, 2430, 3380, 4530, 5080, 5230))
_SPEECH_FILES = range(50000, 59000)
_INTRO = range(59500, 59673)
_ENGLISH = range(60600, 60608)  # The texts of the sections.
_MAX_CHARS_PER_SECOND = 28


class FormatError(ValueError):
  """The game's files are not as expected; the message is one line."""


@dataclasses.dataclass(frozen=True)
class _Entry:
  offset: int
  size: int
  no_header: bool  # The unpacked file has no header.
  never_packed: bool


def ReadDirectory(folder: str) -> dict[int, _Entry]:
  """Reads sky.dnr; returns file number -> entry.

  Raises:
    FormatError: It is not that of version 0.0372.
  """
  path = os.path.join(folder, KEY_FILE)
  with open(path, 'rb') as f:
    data = f.read()
  count = int.from_bytes(data[:4], 'little')
  if count != _FILES or len(data) != 4 + 8 * count:
    raise FormatError(f'{path}: {count} files in {len(data)} bytes; expected CD version 0.0372, {_FILES} files')
  entries = {}
  for number, low, high, size_low, size_high in struct.iter_unpack('<HHBHB', data[4:]):
    offset, size = low | high << 16, size_low | size_high << 16
    entries[number] = _Entry(
      (offset & 0x7FFFFF) * (16 if offset >> 23 else 1), size & 0x3FFFFF, bool(size >> 22 & 1), bool(size >> 23)
    )
  return entries


def _IsPacked(entry, data):
  return not entry.never_packed and bool(data[:1]) and data[0] >= 0x80 and data[_HEADER : _HEADER + 4] == rnc.MAGIC


def _FullSize(data):
  """Returns the size that the header of a file declares, with the header."""
  return (int.from_bytes(data[:2], 'little') & 0xFF00) * 256 + int.from_bytes(data[12:14], 'little')


def ReadFile(f, entry: _Entry) -> bytes:
  """Reads and unpacks a file of the open sky.dsk; raises rnc.RncError if it is damaged."""
  f.seek(entry.offset)
  data = f.read(entry.size)
  if len(data) < entry.size:
    raise rnc.RncError('sky.dsk ends before the file does')
  if not _IsPacked(entry, data):
    return data
  unpacked = rnc.Unpack(data[_HEADER:])
  return unpacked if entry.no_header else data[:_HEADER] + unpacked


@dataclasses.dataclass(frozen=True)
class Container:
  """The sounds of a folder with sky.dnr and sky.dsk; a member is a file number."""

  folder: str

  def Read(self, members: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yields (member, WAV file) in the order of sky.dsk; a damaged member is as it is packed, which is no audio."""
    entries = ReadDirectory(self.folder)
    with open(os.path.join(self.folder, 'sky.dsk'), 'rb') as f:
      for member in sorted(members, key=lambda m: entries[int(m)].offset):
        entry = entries[int(member)]
        try:
          sound = game_lines.WaveFile(ReadFile(f, entry)[_HEADER:])
        except rnc.RncError:
          f.seek(entry.offset)
          sound = f.read(entry.size)
        yield member, sound


def Lines(folder: str) -> Iterator[game_lines.Line]:
  """Yields the spoken lines, those to be left out with a reason, and then the intro, which has no text.

  Raises:
    FormatError: The folder does not hold version 0.0372.
  """
  container, path = Container(folder), os.path.join(folder, 'sky.dsk')
  entries = ReadDirectory(folder)
  missing = [number for number in (*_ENGLISH, *sky_speakers.MODULES) if number not in entries]
  if missing:
    raise FormatError(f'{folder}/{KEY_FILE}: no file {missing[0]}')
  with open(path, 'rb') as f:
    messages = [sky_text.Messages(ReadFile(f, entries[number])) for number in _ENGLISH]
    speakers = sky_speakers.Speakers(folder, lambda number: ReadFile(f, entries[number]))
    for number in sorted(entries):
      if number in _SPEECH_FILES:
        section = max(i for i, first in enumerate(_SPEECH) if first <= number)
        message = number - _SPEECH[section]
        text = (messages[section][message] if message < len(messages[section]) else None) or ''
        speaker = speakers.get(section << 12 | message, '?')
        reason = _Fault(text, _Seconds(f, entries[number]))
        yield game_lines.Line(str(number), game_lines.SpokenText(text), speaker, container, path, *reason)
      elif number in _INTRO and _IsIntroSpeech(f, entries[number]):
        yield game_lines.Line(str(number), '', '?', container, path)


def _Head(f, entry):
  f.seek(entry.offset)
  return f.read(min(entry.size, _HEADER + rnc.HEAD.size))


def _Seconds(f, entry):
  return max(0, _FullSize(_Head(f, entry)) - _HEADER) / game_lines.RATE


def _Fault(text, seconds):
  """Returns (reason, detail) for a line to be left out, else ()."""
  if len(text) > _MAX_CHARS_PER_SECOND * seconds:
    return 'mislabelled', f'{len(text)} characters in {seconds:.2f} s, more than {_MAX_CHARS_PER_SECOND} per second'
  noise = game_lines.NotSpeech(text)
  return ('not_speech', noise) if noise else ()


def _IsIntroSpeech(f, entry):
  """Tells speech from the pictures and palettes among the intro's files: only speech is packed with such a header."""
  head = _Head(f, entry)
  if not _IsPacked(entry, head) or entry.no_header or head[0] != 0x81:
    return False
  return _FullSize(head) == _HEADER + rnc.UnpackedLength(head[_HEADER:])
