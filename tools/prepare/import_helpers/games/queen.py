"""Flight of the Amazon Queen (English CD version, MP3): the sounds in queen.1c, with the texts of its scripts.

A sound is an *.SB entry: a bare MP3 stream. Its name follows from the place of its text: a dialogue (*.DOG), a cutscene
(*.CUT) or the list QUEEN2.JAS. A text has several sounds, one for each segment between two commands such as `*24`.
"""

import dataclasses
import os
import re
import struct
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator

from . import game_lines

PACKAGE = 'flight-of-the-amazon-queen'
HOLDER = 'John Passfield and Steven Stamatiadis'
KEY_FILE = 'queen.1c'
_MP3 = 1
_ENTRY = struct.Struct('>12sBII')  # Name, bundle, offset, size.
_TABLE = 15  # Where the entries start.
_AMBK = 20  # Bytes of the header of DOG and CUT files.
_COMMAND = re.compile(r'\*(?:XY\d\d\(\d{3},\d{3}\)|..)', re.DOTALL)
_SPOKEN = re.compile(r'\d{2}([0-9A-F]{4}|SSSS|XXXX)[PJ][0-9A-F]')  # Names of dialogues' sounds.
_STEP_WORDS, _FRAME_WORDS, _LAST_FRAME = 17, 10, -2  # Of the steps of a cutscene, and the frames of an animation.
_DESCRIPTIONS, _REFUSALS = 41, 1187  # JOE0041 is line 0 of QUEEN2.JAS, JOE0001 line 1187.


class FormatError(ValueError):
  """queen.1c is not as expected; the message is one line."""


def ReadDirectory(path: str) -> dict[str, tuple[int, int]]:
  """Returns name -> (offset, size) of the files in queen.1c.

  Raises:
    FormatError: It is not the English CD version, compressed as MP3.
  """
  with open(path, 'rb') as f:
    head = f.read(_TABLE)
    if head[:4] != b'QTBL' or head[4:9] != b'CEM10' or head[12:13] != bytes((_MP3,)):
      raise FormatError(f'{path}: expected QTBL, version CEM10, compressed as MP3; found {head[:13]!r}')
    count = int.from_bytes(head[13:15], 'big')
    table = f.read(count * _ENTRY.size)
  if len(table) < count * _ENTRY.size:
    raise FormatError(f'{path}: ends within its table of {count} files')
  return {
    name.rstrip(b'\0').decode('ascii', 'replace'): (offset, size) for name, _, offset, size in _ENTRY.iter_unpack(table)
  }


@dataclasses.dataclass(frozen=True)
class Container:
  """The sounds of a file queen.1c; a member is the name of an *.SB entry."""

  path: str

  def Read(self, members: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yields (member, MP3 stream) in the order of the file."""
    entries = ReadDirectory(self.path)
    with open(self.path, 'rb') as f:
      for member in sorted(members, key=lambda m: entries[m]):
        offset, size = entries[member]
        f.seek(offset)
        yield member, f.read(size)


class _Strings:
  """Reads numbers and strings at positions of a DOG or CUT file."""

  def __init__(self, data):
    self._data = data[_AMBK:]
    self.position = 0

  def Number(self, position, signed=False):
    return int.from_bytes(self._data[position : position + 2], 'big', signed=signed)

  def Next(self, round_to):
    """Reads the string at `position`; moves past it, to a multiple of round_to."""
    length = self._data[self.position] if self.position < len(self._data) else 0
    start = self.position + 1
    self.position = start + length
    if length:
      self.position += -self.position % round_to
    return self._data[start : start + length].decode('cp850')


def Segments(text: str) -> list[str]:
  """Returns the segments of a text, empty ones too: the parts between its commands."""
  return [game_lines.SpokenText(part) for part in _COMMAND.split(text)]


def DialogueTexts(data: bytes) -> Iterator[tuple[str, str]]:
  """Yields (name without its last digit, text) of the lines of a DOG file; a name may come twice."""
  strings = _Strings(data)
  levels, key = abs(strings.Number(0, signed=True)), strings.Number(4)
  joe, partner, extra = 32 + 96 * levels, strings.Number(22), strings.Number(26)
  for start, count, who in ((joe, strings.Number(6), 'J'), (partner, strings.Number(8), 'P')):
    strings.position = start
    for _ in range(count):
      line = strings.Number(strings.position + 2)
      strings.position += 4
      yield f'{key:02d}{line:04X}{who}', strings.Next(4)
  if strings.Number(joe + 2) == 0:
    strings.position = joe + 4
    yield f'{key:02d}SSSSJ', strings.Next(2)
  strings.position = extra
  yield f'{key:02d}XXXXP', strings.Next(2)
  yield f'{key:02d}XXXXJ', strings.Next(2)


def CutsceneTexts(name: str, data: bytes) -> Iterator[tuple[str, str]]:
  """Yields (name without its last digit, text) of the steps of the CUT file `name`."""
  strings = _Strings(data)
  strings.position = strings.Number(8)
  strings.Next(2)  # The entry string, a command.
  for step in range(1, abs(strings.Number(2, signed=True)) + 1):
    text = strings.Next(2)
    if not text.startswith('#'):  # The credits.
      yield _StepName(name, step), text


def CutsceneSpeakers(name: str, data: bytes) -> dict[str, str]:
  """Returns name without its last digit -> character of the steps of the CUT file `name`: Joe, or an object's number.

  The records of the steps have no fixed length: {} if they do not end where they should.
  """
  strings = _Strings(data)
  end, at, speakers = strings.Number(6), 12, {}
  for step in range(1, abs(strings.Number(2, signed=True)) + 1):
    who, animation, execute, source = (strings.Number(at + 2 * word, signed=True) for word in (0, 4, 5, 12))
    if who >= -1:  # -1: Joe, as the room fades in; below: text of nobody.
      speakers[_StepName(name, step)] = 'Joe' if who <= 0 else f'object{who}'
    at += 2 * _STEP_WORDS
    at += 2 + 2 * strings.Number(at)  # Persons that are shown.
    if who >= -1 and animation and execute and source <= 0:
      while at < end and strings.Number(at, signed=True) != _LAST_FRAME:
        at += 2 * _FRAME_WORDS
      at += 2
    if at >= end:
      return {}
  return speakers if at + 2 == end else {}


def _StepName(name, step):
  return f'{name.partition(".")[0].upper():_<5}{step:02d}'


def JoeTexts(data: bytes) -> Iterator[tuple[str, str]]:
  """Yields (name without its last digit, text) of Joe's descriptions and refusals in QUEEN2.JAS."""
  lines = data.decode('cp850').split('\r\n')
  for number, text in enumerate(lines[:_REFUSALS]):
    yield f'JOE{number + _DESCRIPTIONS:04d}', text
  for number, text in enumerate(lines[_REFUSALS : _REFUSALS + _DESCRIPTIONS - 1], 1):
    yield f'JOE{number:04d}', text


def SegmentTexts(read: Callable[[str], bytes], names: Iterable[str]) -> dict[str, set[str]]:
  """Returns name of a sound -> the texts that the scripts give it, which are several if they are ambiguous.

  Args:
    read: Function name -> content of that file of queen.1c.
    names: The names of its files.
  """
  texts = {}
  for name in names:
    stem, _, kind = name.partition('.')
    if kind == 'DOG':
      found = DialogueTexts(read(name))
    elif kind == 'CUT':
      found = CutsceneTexts(name, read(name))
    elif name == 'QUEEN2.JAS':
      found = JoeTexts(read(name))
    else:
      continue
    for sound, text in found:
      if text in ('', '0', '*'):
        continue
      for digit, segment in zip('123456789ABCDEF', Segments(text)):
        texts.setdefault(sound + digit, set()).add(segment)
  return texts


def Lines(folder: str) -> Iterator[game_lines.Line]:
  """Yields the sounds of a folder with queen.1c, those to be left out with a reason.

  Raises:
    FormatError: queen.1c is not of the expected version.
  """
  path = os.path.join(folder, KEY_FILE)
  entries, container = ReadDirectory(path), Container(path)

  with open(path, 'rb') as f:

    def Read(name):
      offset, size = entries[name]
      f.seek(offset)
      return f.read(size)

    texts, speakers = SegmentTexts(Read, entries), {}
    for name in entries:
      if name.endswith('.CUT'):
        speakers.update(CutsceneSpeakers(name, Read(name)))
  for member in sorted(entries):
    name, _, kind = member.partition('.')
    if kind == 'SB':
      found = texts.get(name, set())
      text = found.copy().pop() if len(found) == 1 else ''
      yield game_lines.Line(member, text, _Speaker(name, speakers), container, path, *_Fault(name, found))


def _Speaker(name, cutscenes):
  if name[:-1] in cutscenes:
    return cutscenes[name[:-1]]
  if name.startswith('JOE') or name[6:7] == 'J':
    return 'Joe'
  return f'P{name[:2]}' if name[6:7] == 'P' and name[:2].isdigit() else '?'


def _Fault(name, texts):
  """Returns (reason, detail) for a sound to be left out, else ()."""
  if len(texts) > 1:
    return 'mislabelled', f'the scripts have several texts: {" | ".join(sorted(texts))}'
  if not texts:
    return () if _SPOKEN.fullmatch(name) else ('not_speech', 'an effect or a leftover')
  text = min(texts)
  noise = f'a comic strip with sound words: {text}' if name.startswith('COMIC') else game_lines.NotSpeech(text)
  return ('not_speech', noise) if noise else ()
