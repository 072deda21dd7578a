"""Drascula: The Vampire Strikes Back (English): voice files *.ALS, and their texts in drascula.dat."""

import dataclasses
import os
import re
from collections.abc import Iterable
from collections.abc import Iterator

from . import game_lines

PACKAGE = 'drascula'
HOLDER = 'Alcachofa Soft S.L.'
KEY_FILE = '3.ALS'  # Only versions with voices have it.
_ENGLISH_SIZE = 145166  # Bytes of KEY_FILE in the English version.
_VERSION = 6
_RECORD_SIZES = (4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8)  # Of the tables before the texts.
# The tables of text, in the order of the file, by the prefix of their voice files; None: without voices.
_TABLES = ('', 'D', 'B', 'BJ', 'E', 'I', 'L', 'P', 'T', 'VB', None, None, None, None, None)
_SPEAKERS = {
  '': 'Hacker',
  'B': 'drunk',
  'BJ': 'BJ',
  'E': 'skeleton',
  'I': 'Igor',
  'L': 'werewolf',
  'P': 'pianist',
  'T': 'bartender',
  'VB': 'VonBraun',
}
# Who speaks the lines of prefix D, up to this number.
_SPEAKERS_OF_D = (
  (40, 'Drascula'),
  (55, '?'),
  (67, 'Hacker'),
  (78, 'blind'),
  (81, '?'),
  (82, 'bartender'),
  (83, 'trunk'),
)
_VOICE = re.compile(r'([A-Z]*)(\d+)\.ALS', re.IGNORECASE)
_PADDING = 32  # Bytes at both ends of a file without a header.
_CUT = {KEY_FILE: (73959, 117157)}  # Seconds of silence surround this line.
_HEADLESS_RIFF = b'WAVEfmt '  # RIFF files that lost their first 4 bytes.
_MAX_CHARS_PER_SECOND = 24


class FormatError(ValueError):
  """drascula.dat is not as expected; the message is one line."""


def ReadTexts(path: str) -> dict[str, list[str]]:
  """Reads the English texts of drascula.dat; returns prefix of the voice files -> texts by line number.

  Raises:
    FormatError: It is not version 6 of that file.
  """
  with open(path, 'rb') as f:
    data = f.read()
  if data[:8] != b'DRASCULA' or data[8:9] != bytes((_VERSION,)):
    raise FormatError(f'{path}: expected a file that starts with DRASCULA and version {_VERSION}')
  position = 9

  def Number():
    nonlocal position
    position += 2
    if position > len(data):
      raise FormatError(f'{path}: ends within a table')
    return int.from_bytes(data[position - 2 : position], 'big')

  for size in _RECORD_SIZES:
    count = Number()
    position += count * size
  languages = Number()
  texts = {}
  for prefix in _TABLES:
    lines = Number()
    for language in range(languages):
      size = Number()
      if language == 0 and prefix is not None:
        texts[prefix] = _Block(data[position : position + size], lines, path)
      position += size
  return texts


def _Block(block, lines, path):
  texts, position = [], 2
  for _ in range(lines):
    length = int.from_bytes(block[position : position + 2], 'big')
    if length < 3 or position + length > len(block):
      raise FormatError(f'{path}: line {len(texts)} of {lines} ends after its block')
    texts.append(block[position + 2 : position + length].partition(b'\0')[0].decode('cp850'))
    position += length
  return texts


def Samples(name: str, data: bytes) -> bytes:
  """Returns the 8 bit samples of a voice file, without long digital silence."""
  if data[4:12] == _HEADLESS_RIFF:
    samples = data[40 : 40 + int.from_bytes(data[36:40], 'little')]
  elif name.upper() in _CUT:
    samples = data[slice(*_CUT[name.upper()])]
  else:
    samples = data[_PADDING:-_PADDING]
  return game_lines.TrimSilence(samples)


@dataclasses.dataclass(frozen=True)
class Container:
  """The voice files of a folder; a member is a file's name."""

  folder: str

  def Read(self, members: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yields (member, WAV file), sorted by name."""
    for member in sorted(members):
      with open(os.path.join(self.folder, member), 'rb') as f:
        yield member, game_lines.WaveFile(Samples(member, f.read()))


def Lines(folder: str) -> Iterator[game_lines.Line]:
  """Yields the voice files of a folder, those to be left out with a reason.

  Raises:
    FormatError: The voices are not English, or drascula.dat cannot be read.
  """
  size = os.path.getsize(os.path.join(folder, KEY_FILE))
  if size != _ENGLISH_SIZE:
    raise FormatError(f'{folder}/{KEY_FILE}: {size} bytes; expected the English version, {_ENGLISH_SIZE} bytes')
  texts = ReadTexts(_TextFile(folder))
  container = Container(folder)
  for name in sorted(os.listdir(folder)):
    match = _VOICE.fullmatch(name)
    if match:
      prefix, number = match.group(1).upper(), int(match.group(2))
      known = texts.get(prefix, ())
      text = known[number] if number < len(known) else ''
      path = os.path.join(folder, name)
      reason = _Fault(prefix, name, text, path)
      yield game_lines.Line(name, game_lines.SpokenText(text), _Speaker(prefix, number), container, path, *reason)


def _TextFile(folder):
  """Returns the path of drascula.dat, which is in the folder of the voices, or above it (package scummvm-data)."""
  beside = os.path.join(folder, 'drascula.dat')
  above = (os.path.join(folder, *['..'] * up, 'drascula.dat') for up in (1, 2))
  return next((path for path in above if not os.path.exists(beside) and os.path.exists(path)), beside)


def _Speaker(prefix, number):
  if prefix == 'D':
    return next((name for last, name in _SPEAKERS_OF_D if number <= last), '?')
  return _SPEAKERS.get(prefix, '?')


def _Fault(prefix, name, text, path):
  if prefix not in _TABLES:
    return 'not_speech', 'a sound effect, or of unknown content'
  if not text:
    return ()
  with open(path, 'rb') as f:
    seconds = len(Samples(name, f.read())) / game_lines.RATE
  if len(text) > _MAX_CHARS_PER_SECOND * seconds:
    return 'mislabelled', f'{len(text)} characters in {seconds:.2f} s, more than {_MAX_CHARS_PER_SECOND} per second'
  noise = game_lines.NotSpeech(text)
  return ('not_speech', noise) if noise else ()
