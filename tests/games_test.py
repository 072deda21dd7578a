"""Importers of games: each format is read back from small files that the test writes."""

import io
import os
import struct
import tempfile
import wave
from unittest import mock

import numpy as np
from absl.testing import absltest

from tools.common import exit_codes
from tools.prepare import importers
from tools.prepare.import_helpers import debian
from tools.prepare.import_helpers.games import game_lines
from tools.prepare.import_helpers.games import queen
from tools.prepare.import_helpers.games import rnc
from tools.prepare.import_helpers.games import sky
from tools.prepare.import_helpers.games import sky_speakers
from tools.prepare.import_helpers.games import sky_text
from tools.prepare.importers import fillets
from tools.prepare.importers import games
from tools.prepare.importers import tuxpaint


def _SlowCrc(data):
  crc = 0
  for byte in data:
    crc ^= byte
    for _ in range(8):
      crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
  return crc


class _Packer:
  """Packs RNC method 1 with plain codes: all symbols of a table have codes of the same length."""

  _CODE_BITS = 4

  def __init__(self):
    self.body, self._at, self._used = bytearray(), 0, 16

  def _Bits(self, value, count):
    for i in range(count):
      if self._used == 16:  # A word stands where its first bit is needed.
        self._at, self._used = len(self.body), 0
        self.body += b'\0\0'
      self.body[self._at + self._used // 8] |= (value >> i & 1) << self._used % 8
      self._used += 1

  def _Value(self, value):
    symbol = value.bit_length()
    self._Bits(int(f'{symbol:0{self._CODE_BITS}b}'[::-1], 2), self._CODE_BITS)
    if symbol > 1:
      self._Bits(value - (1 << symbol - 1), symbol - 1)

  def Pack(self, blocks):
    """Packs the concatenated blocks; copies reach back over blocks."""
    data = b''.join(blocks)
    self._Bits(0, 2)
    position = 0
    for block in blocks:
      end = position + len(block)
      rounds, position = self._Rounds(data, position, end), end
      for _ in range(3):
        self._Bits(1 << self._CODE_BITS, 5)
        for _ in range(1 << self._CODE_BITS):
          self._Bits(self._CODE_BITS, 4)
      self._Bits(len(rounds), 16)
      for literals, copy in rounds:
        self._Value(len(literals))
        self.body += literals
        if copy:
          self._Value(copy[0] - 1)
          self._Value(copy[1] - 2)
    head = rnc.HEAD.pack(rnc.MAGIC, len(data), len(self.body), _SlowCrc(data), _SlowCrc(self.body), 0, len(blocks))
    return head + bytes(self.body)

  @staticmethod
  def _Rounds(data, position, end):
    rounds, literals = [], b''
    while position < end:
      best = (0, 0)
      for distance in range(1, min(position, 300) + 1):
        length = 0
        while position + length < end and data[position + length] == data[position + length - distance]:
          length += 1
        best = max(best, (length, distance))
      if best[0] >= 2:
        rounds.append((literals, (best[1], best[0])))
        literals, position = b'', position + best[0]
      else:
        literals, position = literals + data[position : position + 1], position + 1
    return [*rounds, (literals, None)]


class RncTest(absltest.TestCase):
  def test_unpacks_what_was_packed(self):
    noise = np.random.default_rng(1).integers(0, 256, 700, np.uint8).tobytes()
    for blocks in ((b'a',), (b'abcabcabcabcabc', b'abcab'), (bytes(900),), (noise, noise[:333] + b'x' * 99)):
      with self.subTest(blocks[0][:5]):
        self.assertEqual(rnc.Unpack(_Packer().Pack(blocks) + b'trailing'), b''.join(blocks))

  def test_crc_is_that_of_the_slow_definition(self):
    data = np.random.default_rng(2).integers(0, 256, 300, np.uint8).tobytes()
    for length in (0, 1, 63, 64, 65, 128, 300):
      self.assertEqual(rnc.Crc16(data[:length]), _SlowCrc(data[:length]), length)

  def test_no_change_of_a_byte_goes_unseen(self):
    packed = _Packer().Pack((b'the rain in spain stays mainly in the plain',))
    for i in set(range(len(packed))) - {16}:  # A byte without meaning.
      damaged = packed[:i] + bytes((packed[i] ^ 0x10,)) + packed[i + 1 :]
      with self.subTest(i), self.assertRaises(rnc.RncError):
        rnc.Unpack(damaged)
    with self.assertRaisesRegex(rnc.RncError, r'bytes, the head says \d+'):
      rnc.Unpack(packed[:-3])


def _Section(messages):
  """Encodes a section file of Beneath a Steel Sky's text."""
  codes = {character: bits for bits, character in sky_text.CODE.items()}
  bits, skips, groups = '', b'', []
  for number, message in enumerate(messages):
    if number and number % 32 == 0:
      groups.append(len(bits) // 2 - sum(groups))
    text = ''.join(codes[c] for c in message + sky_text.END)
    units = -(-len(text) // 2)
    units = units if units < 128 else -(-units // 8) * 8
    skips += bytes((units if units < 128 else 0x80 | units // 8,))
    bits += text.ljust(2 * units, '0')
  bits = bits.ljust(-(-len(bits) // 8) * 8, '0')
  start = 4 + 2 * len(groups)
  body = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
  return struct.pack(f'<HH{len(groups)}H', start, start + len(skips), *groups) + skips + body


class SkyTextTest(absltest.TestCase):
  def test_messages_are_read_back(self):
    messages = [f"Number{i % 10 * '!'} {i}: it's me, Foster...{' So I had to INSPECT it' * (i % 4)}" for i in range(99)]
    self.assertEqual(sky_text.Messages(_Section([*messages, ''])), [*messages, ''])

  def test_no_code_begins_another_one(self):
    codes = sorted(sky_text.CODE)
    for code, following in zip(codes, codes[1:]):
      self.assertFalse(following.startswith(code), code)

  def test_a_message_with_an_unknown_character_has_no_text(self):
    section = _Section(['zzzzzz', 'no'])
    start = int.from_bytes(section[2:4], 'little')
    broken = section[:start] + b'\xff\xff' + section[start + 2 :]
    self.assertEqual(sky_text.Messages(broken)[1], 'no')
    self.assertIsNone(sky_text.Messages(broken)[0])


def _Number(n):
  return (2, n)


def _Variable(n):
  return (0, 4 * n)


def _Speak(function, *arguments):
  return (*(word for a in arguments for word in a), 11, len(arguments), 4 * function)


def _Module(*scripts):
  """Encodes a script module; script numbers start at 1."""
  offsets, body = [len(scripts) + 1], (13,)
  for script in scripts:
    offsets.append(len(scripts) + 1 + len(body))
    body += (*script, 13)
  return struct.pack(f'<{len(offsets) + len(body)}H', *offsets, *body)


class SkySpeakersTest(absltest.TestCase):
  def _Speakers(self, *scripts):
    module = _Module(*scripts)
    return sky_speakers.Speakers('/none', lambda number: module if number == sky_speakers.MODULES[1] else _Module())

  def test_who_speaks(self):
    who, other = _Variable(12), _Variable(120)
    self.assertEqual(
      self._Speakers(
        _Speak(35, _Number(0x2001), _Number(7), _Number(0)),
        _Speak(36, who, _Number(8), _Number(0)),
        _Speak(35, who, _Number(9), _Number(0)),
        (*_Speak(35, who, _Number(10), _Number(0)), *_Speak(37, other, _Number(11), _Number(0))),
        (14, 1, 5, 6, 7, *_Speak(70, _Number(12), _Number(0)), *_Speak(9, _Number(13))),
        _Speak(35, _Variable(3), _Number(14), _Number(0)),
      ),
      {7: 'id2001', 8: 'foster', 10: 'foster', 11: 'npc1004', 12: 'foster'},
    )

  def test_names_of_characters(self):
    words = (2, 1, 50, 51, 0, 1, 1, 52)  # An entry of two words, an empty one, and one of a word.
    names = b'joey\0anita\0'
    data = struct.pack('<HH2HII8HI', 0, 2, 2, 1, 0, len(words), *words, len(names)) + names
    self.assertEqual(sky_speakers.Names(data), {0: 'joey', 4096: 'anita'})


class GameCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    tmp = tempfile.TemporaryDirectory()
    self.addCleanup(tmp.cleanup)
    self.dir = tmp.name

  def Write(self, name, data):
    path = os.path.join(self.dir, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
      f.write(data)
    return path

  def Import(self, which, **own):
    return games.Import(importers.Options(input=self.dir, own={'games': which, **own}))

  def Samples(self, utterance):
    """Returns the 8 bit samples of an utterance's WAV file."""
    ((member, data),) = utterance.container.Read([utterance.member])
    self.assertEqual(member, utterance.member)
    with wave.open(io.BytesIO(data)) as f:
      self.assertEqual((f.getframerate(), f.getsampwidth(), f.getnchannels()), (11025, 1, 1))
      return f.readframes(f.getnframes())


def _Sky(files, count=5097):
  """Returns (sky.dnr, sky.dsk) of {number: (content, flags of the size)}."""
  files = {**files, **{number: (b'', 0) for number in range(1, count - len(files) + 1)}}
  directory, data = struct.pack('<I', len(files)), b''
  for number, (content, flags) in files.items():
    data += bytes(-len(data) % 16)
    offset = len(data) // 16 | 0x800000  # In units of 16 bytes.
    size = len(content) | flags
    directory += struct.pack('<H', number) + offset.to_bytes(3, 'little') + size.to_bytes(3, 'little')
    data += content
  return directory, data


def _PackedSound(sound, first=0x80):
  """Returns a packed file with a header that declares its full size."""
  size = 22 + len(sound)
  header = bytearray(b'\x80' * 22)
  header[0:2] = bytes((first, size >> 16))
  header[12:14] = (size & 0xFFFF).to_bytes(2, 'little')
  return bytes(header) + _Packer().Pack((sound,))


class SkyTest(GameCase):
  _NEVER_PACKED = 1 << 23

  def setUp(self):
    super().setUp()
    self.sound = np.random.default_rng(3).integers(0, 256, 75, np.uint8).tobytes() * 147  # 1 s.
    scripts = _Module(_Speak(36, _Variable(12), _Number(0x1001), _Number(0)))
    packed = _PackedSound(self.sound)
    self.files = {
      **{number: (_Section(['']), self._NEVER_PACKED) for number in range(60600, 60608)},
      **{number: (_Module(), self._NEVER_PACKED) for number in sky_speakers.MODULES},
      60400: (scripts, self._NEVER_PACKED),
      60601: (_Section(['Mmf!', 'A can of WD40?', 'x' * 60, 'Hm...']), self._NEVER_PACKED),
      **{50600 + i: (packed, 0) for i in range(4)},
      59500: (_PackedSound(self.sound, 0x81), 0),
      59501: (bytes(768), 0),  # A palette.
    }

  def _Write(self):
    for name, data in zip(('sky.dnr', 'sky.dsk'), _Sky(self.files)):
      self.Write(f'usr/share/scummvm/beneath-a-steel-sky/{name}', data)

  def test_lines_with_and_without_text(self):
    self._Write()
    listing = self.Import('sky')
    found = {u.utt_id: u for u in listing.utterances}
    self.assertSameElements(found, ['sky/50601', 'sky/50603', 'sky/59500'])
    line = found['sky/50601']
    self.assertEqual((line.text, line.speaker, line.domain), ('A can of W D 40?', 'sky/foster', 'games/sky'))
    self.assertEqual(self.Samples(line), self.sound)
    intro = found['sky/59500']
    self.assertEqual((intro.text, intro.domain, intro.split), ('', 'games_unlabeled/sky', 'train'))
    self.assertEqual(
      {r.utt_id: (r.reason, r.detail) for r in listing.rejects},
      {
        'sky/50600': ('not_speech', 'a gagged voice: Mmf!'),
        'sky/50602': ('mislabelled', '60 characters in 1.00 s, more than 28 per second'),
      },
    )

  def test_members_come_in_the_order_of_the_file_and_a_damaged_one_is_no_audio(self):
    damaged = bytearray(self.files[50601][0])
    damaged[-1] ^= 1
    self.files[50601] = (bytes(damaged), 0)
    self._Write()
    container = sky.Container(os.path.join(self.dir, 'usr/share/scummvm/beneath-a-steel-sky'))
    read = list(container.Read(['59500', '50601', '50600']))
    self.assertEqual([member for member, _ in read], ['50600', '50601', '59500'])
    self.assertEqual([data[:4] == b'RIFF' for _, data in read], [True, False, True])

  def test_other_versions_are_refused_by_name(self):
    for name, data in zip(('sky.dnr', 'sky.dsk'), _Sky(self.files, count=100)):
      self.Write(name, data)
    with self.assertRaisesRegex(
      exit_codes.UsageError, 'game sky: .*sky.dnr: 100 files in 804 bytes; expected CD version 0.0372, 5097 files'
    ):
      self.Import('sky')


def _DrasculaTexts(texts):
  """Encodes drascula.dat with the English texts {prefix: lines}; another language has other lines."""
  data = b'DRASCULA\x06'
  for size in (4, 4, 4, 2, 4, 2, 4, 2, 2, 20, 20, 10, 8):
    data += struct.pack('>H', 2) + bytes(2 * size)
  data += struct.pack('>H', 2)
  for prefix in ('', 'D', 'B', 'BJ', 'E', 'I', 'L', 'P', 'T', 'VB', *range(5)):
    lines = texts.get(prefix, ['', 'unused'])
    data += struct.pack('>H', len(lines))
    for language in (lines, ['otra'] * len(lines)):
      block = b'\0\0'
      for line in language:
        text = line.encode('cp850') + b'\0\0'
        block += struct.pack('>H', 2 + len(text)) + text
      data += struct.pack('>H', len(block)) + block
  return data


class DrasculaTest(GameCase):
  def setUp(self):
    super().setUp()
    self.voice = bytes(range(1, 128)) * 87  # 1 s.
    lines = ['', 'HELLO...', 'A (WHISTLE)', 'WELCOME TO THE CASTLE', 'X' * 40]
    self.Write('en/drascula.dat', _DrasculaTexts({'': lines, 'D': ['', 'CAF\u00c9'], 'BJ': ['', 'HI!']}))
    third = bytearray(b'\x01' * 145166)
    third[73959:117157] = b'\x02' * (117157 - 73959)
    self.Write('en/3.ALS', bytes(third))
    padded = b'\x99' * 32 + b'\x80' * 20000 + self.voice + b'\x80' * 3000 + b'\x99' * 32
    for name in ('1', '2', '4', '77', 'D1', 'S1', 'F2'):
      self.Write(f'en/{name}.ALS', padded)
    header = b'WAVEfmt ' + struct.pack('<IHHIIHH', 16, 1, 1, 11025, 11025, 1, 8) + b'data'
    riff = bytes(4) + header[:28] + b'data' + struct.pack('<I', len(self.voice)) + self.voice + b'fact\4\0\0\0\0\0\0\0'
    self.Write('en/BJ1.ALS', riff)

  def test_texts_and_sounds(self):
    listing = self.Import('drascula')
    found = {u.utt_id: u for u in listing.utterances}
    self.assertEqual(
      {name: (u.text, u.speaker, u.domain) for name, u in found.items()},
      {
        'drascula/1': ('HELLO...', 'drascula/Hacker', 'games/drascula'),
        'drascula/3': ('WELCOME TO THE CASTLE', 'drascula/Hacker', 'games/drascula'),
        'drascula/77': ('', 'drascula/Hacker', 'games_unlabeled/drascula'),
        'drascula/BJ1': ('HI!', 'drascula/BJ', 'games/drascula'),
        'drascula/D1': ('CAF\u00c9', 'drascula/Drascula', 'games/drascula'),
      },
    )
    self.assertEqual(self.Samples(found['drascula/3']), b'\x02' * (117157 - 73959))
    self.assertEqual(self.Samples(found['drascula/BJ1']), self.voice)
    self.assertEqual(self.Samples(found['drascula/1']), b'\x80' * 1102 + self.voice + b'\x80' * 1102)

  def test_what_is_left_out(self):
    self.assertEqual(
      {r.utt_id: r.reason for r in self.Import('drascula').rejects},
      {
        'drascula/2': 'not_speech',
        'drascula/4': 'mislabelled',
        'drascula/S1': 'not_speech',
        'drascula/F2': 'not_speech',
      },
    )

  def test_voices_of_another_language_are_refused(self):
    self.Write('en/3.ALS', bytes(1000))
    with self.assertRaisesRegex(exit_codes.UsageError, '3.ALS: 1000 bytes; expected the English version, 145166'):
      self.Import('drascula')

  def test_texts_may_be_above_the_voices(self):
    os.rename(os.path.join(self.dir, 'en/drascula.dat'), os.path.join(self.dir, 'drascula.dat'))
    self.assertLen(self.Import('drascula').utterances, 5)
    self.Write('drascula.dat', b'DRASCULA\x05')
    with self.assertRaisesRegex(exit_codes.UsageError, 'game drascula: .*expected a file that starts with DRASCULA'):
      self.Import('drascula')


def _String(text, round_to, at):
  """Encodes a string of the Amazon Queen that starts at position `at`."""
  data = text.encode('cp850')
  end = at + 1 + len(data)
  return bytes((len(data),)) + data + bytes(-end % round_to if data else 0)


def _Strings(texts, round_to, at, ids=None):
  data = b''
  for i, text in enumerate(texts):
    if ids:
      data += struct.pack('>HH', 0, ids[i])
    data += _String(text, round_to, at + len(data))
  return data


def _Dialogue(key, joe, partner, extra=('', '')):
  """Encodes a DOG file; joe and partner are lists of (id, text)."""
  lists = []
  at = 32 + 96
  for lines in (joe, partner):
    lists.append(_Strings([text for _, text in lines], 4, at, [number for number, _ in lines]))
    at += len(lists[-1])
  head = bytearray(32 + 96)
  struct.pack_into('>hHHHH', head, 0, -1, 2, key, len(joe), len(partner))
  struct.pack_into('>H', head, 22, len(head) + len(lists[0]))
  struct.pack_into('>H', head, 26, at)
  return bytes(20) + bytes(head) + lists[0] + lists[1] + _Strings(extra, 2, at)


def _Cutscene(texts, speakers=None, tail=2):
  """Encodes a CUT file; a step of an object has a person, and an animation of two frames before its end."""
  steps = b''
  for who in speakers or [0] * len(texts):
    words = [who] + [0] * 16
    frames = ()
    if who > 0:
      words[4:6] = 1, 1
      frames = (*[0] * 10, *[9] * 10, -2)
    steps += struct.pack(f'>{19 + len(frames)}h', *words, 1, 33, *frames)
  end = 12 + len(steps) + tail
  head = struct.pack('>hhHHHH', 0, -len(texts), 0, end, end, 0)
  return bytes(20) + head + steps + bytes(tail) + _Strings(['*F', *texts], 2, end)


def _Queen(files, version=b'CEM10\0', compression=1):
  table, data = b'', b''
  start = 15 + 21 * len(files)
  for name, content in files.items():
    table += struct.pack('>12sBII', name.encode(), 1, start + len(data), len(content))
    data += content
  return b'QTBL' + version + b'\0\0' + bytes((compression,)) + struct.pack('>H', len(files)) + table + data


class QueenTest(GameCase):
  def setUp(self):
    super().setUp()
    list_lines = [f'thing {i}*24' for i in range(1187)] + ["It doesn't seem to open*03"] + ['no'] * 39 + ['after']
    self.files = {
      'A.DOG': _Dialogue(
        2,
        joe=[(3, 'Hi*24there*XY01(001,002)friend'), (4, '0')],
        partner=[(1, 'One*16*03Three^_'), (2, '<sneeze>'), (5, 'Mmfml FRRBLT!')],
        extra=('Bye*01', 'See you'),
      ),
      'B.DOG': _Dialogue(3, joe=[(0, ''), (1, 'Yes')], partner=[(1, 'first'), (1, 'second')]),
      'C1A.CUT': _Cutscene(['*', 'Look*02Over here!', '#Credits'], [0, 7, -2]),
      'COMIC.CUT': _Cutscene(['BUDDA']),
      'QUEEN2.JAS': '\r\n'.join(list_lines).encode('cp850'),
    }
    self.sounds = (
      *('020003J1', '020003J2', '020003J3', '020001P1', '020001P2', '020001P3', '020002P1', '020005P1', '020009P1'),
      *('02XXXXP1', '02XXXXJ1', '030001P1', '030001J1', 'C1A__021', 'C1A__022', 'COMIC011', 'JOE00411', 'JOE00011'),
      *('1000SSSS', 'MIK_0019'),
    )
    for name in self.sounds:
      self.files[f'{name}.SB'] = name.encode()
    self.Write('queen.1c', _Queen(self.files))

  def test_names_of_sounds_lead_to_their_texts(self):
    listing = self.Import('queen')
    self.assertEqual(
      {u.utt_id: (u.text, u.speaker) for u in listing.utterances},
      {
        'queen/020003J1': ('Hi', 'queen/Joe'),
        'queen/020003J2': ('there', 'queen/Joe'),
        'queen/020003J3': ('friend', 'queen/Joe'),
        'queen/020001P1': ('One', 'queen/P02'),
        'queen/020001P2': ('', 'queen/P02'),
        'queen/020001P3': ('Three', 'queen/P02'),
        'queen/020009P1': ('', 'queen/P02'),
        'queen/02XXXXP1': ('Bye', 'queen/P02'),
        'queen/02XXXXJ1': ('See you', 'queen/Joe'),
        'queen/030001J1': ('Yes', 'queen/Joe'),
        'queen/C1A__021': ('Look', 'queen/object7'),
        'queen/C1A__022': ('Over here!', 'queen/object7'),
        'queen/JOE00411': ('thing 0', 'queen/Joe'),
        'queen/JOE00011': ("It doesn't seem to open", 'queen/Joe'),
      },
    )
    for utterance in listing.utterances:
      name = utterance.member.partition('.')[0]
      self.assertEqual(list(utterance.container.Read([utterance.member])), [(utterance.member, name.encode())])

  def test_what_is_left_out(self):
    self.assertEqual(
      {r.utt_id: (r.reason, r.detail) for r in self.Import('queen').rejects},
      {
        'queen/020002P1': ('not_speech', 'a noise: <sneeze>'),
        'queen/020005P1': ('not_speech', 'a gagged voice: Mmfml FRRBLT!'),
        'queen/030001P1': ('mislabelled', 'the scripts have several texts: first | second'),
        'queen/1000SSSS': ('not_speech', 'an effect or a leftover'),
        'queen/MIK_0019': ('not_speech', 'an effect or a leftover'),
        'queen/COMIC011': ('not_speech', 'a comic strip with sound words: BUDDA'),
      },
    )

  def test_speakers_of_cutscenes_are_known_only_if_their_records_end_where_they_should(self):
    texts = ['a', 'b', 'c', 'd']
    self.assertEqual(
      queen.CutsceneSpeakers('c9a.cut', _Cutscene(texts, [-1, 12, -3, 0])),
      {'C9A__01': 'Joe', 'C9A__02': 'object12', 'C9A__04': 'Joe'},
    )
    self.assertEqual(queen.CutsceneSpeakers('C9A.CUT', _Cutscene(texts, tail=4)), {})
    self.assertEqual(queen.CutsceneSpeakers('C9A.CUT', _Cutscene(texts)[:60]), {})

  def test_opening_line_of_joe(self):
    head = bytearray(32 + 96)
    struct.pack_into('>hHHHH', head, 0, 1, 2, 7, 0, 0)
    body = bytes(head) + bytes(4) + _String('Good morning', 2, 32 + 96 + 4)
    struct.pack_into('>H', head, 26, len(body))
    data = bytes(20) + bytes(head) + body[len(head) :] + b'\0\0'
    self.assertEqual(dict(queen.DialogueTexts(data))['07SSSSJ'], 'Good morning')

  def test_other_versions_are_refused_by_name(self):
    for arguments in ({'version': b'PEM10\0'}, {'compression': 2}):
      self.Write('queen.1c', _Queen(self.files, **arguments))
      with self.assertRaisesRegex(exit_codes.UsageError, 'game queen: .*expected QTBL, version CEM10, comp'):
        self.Import('queen')


class GamesTest(GameCase):
  def test_speech_is_told_from_noises_and_mumbling(self):
    for text in ("Why's that?", 'Try this.', 'Thanks.', 'Hmmmm...', 'Umm...', 'Hmph.', 'Restart (Y/N)?', 'Triumph!'):
      self.assertEqual(game_lines.NotSpeech(text), '', text)
    for text in ('(sigh)', 'Oh <hack> my', 'Mgh? Mmf nung.', 'Frrdln grmmnl brtln!', 'Grrrrr!'):
      self.assertNotEqual(game_lines.NotSpeech(text), '', text)

  def test_silence_is_trimmed_at_both_ends_only(self):
    self.assertEqual(game_lines.TrimSilence(b'\x80' * 5000), b'')
    self.assertEqual(game_lines.TrimSilence(b'\x01\x80\x80\x02'), b'\x01\x80\x80\x02')
    self.assertLen(game_lines.TrimSilence(b'\x80' * 5000 + b'\x01' + b'\x80' * 10), 1102 + 1 + 10)

  def test_split_depends_on_the_words_alone(self):
    self.assertEqual(games.SplitOf('...I KNOW, Joey!'), games.SplitOf('i know joey'))
    splits = [games.SplitOf(f'line {i}') for i in range(4000)]
    self.assertAlmostEqual(splits.count('test') / 4000, games.TEST_SHARE, delta=0.02)
    self.assertAlmostEqual(splits.count('dev') / 4000, games.DEV_SHARE, delta=0.01)

  def test_licenses_and_notice_are_in_the_report(self):
    self.Write('queen.1c', _Queen({}))
    self.Write('usr/share/doc/flight-of-the-amazon-queen/copyright', b'free of charge')
    self.Write('usr/share/doc/flight-of-the-amazon-queen/readme.txt', b'read me')
    notes = self.Import('queen').notes['games/queen']
    self.assertEqual(list(notes['license'].values()), ['free of charge', 'read me'])
    self.assertStartsWith(notes['notice'], 'Modified version: ')

  def test_errors_are_one_line(self):
    with self.assertRaisesRegex(exit_codes.UsageError, '--games=skye: expected some of sky, drascula, queen; did you'):
      self.Import('skye')
    with self.assertRaisesRegex(exit_codes.UsageError, r'no sky.dnr below it, of the game sky \(beneath-a-steel-sky\)'):
      self.Import('sky')
    with mock.patch.object(debian, 'FetchPackages', side_effect=debian.AptError('no network')):
      with self.assertRaisesRegex(exit_codes.UsageError, 'no network; give a directory with the unpacked packages: -'):
        games.Import(importers.Options())


class UnlabeledTest(GameCase):
  def test_fillets(self):
    for name in ('cave/cs/jes-m-au.ogg', 'share/jokes/cs/b1-7.ogg', 'cave/nl/jes-v-x.ogg', 'cave/hit.ogg'):
      self.Write(f'games/fillets-ng/sound/{name}', b'x')
    found = fillets.Import(importers.Options(input=self.dir, languages=('cs',))).utterances
    self.assertEqual(
      {u.utt_id: (u.speaker, u.domain, u.text) for u in found},
      {
        'fillets-cs/cave/jes-m-au': ('fillets-cs/m', 'fillets/cs', ''),
        'fillets-cs/share/jokes/b1-7': ('fillets-cs/?', 'fillets/cs', ''),
      },
    )
    self.assertLen(fillets.Import(importers.Options(input=self.dir)).utterances, 3)
    with self.assertRaisesRegex(exit_codes.UsageError, '--languages=de: expected some of cs,nl'):
      fillets.Import(importers.Options(input=self.dir, languages=('de',)))
    with self.assertRaisesRegex(exit_codes.UsageError, 'no sound/LEVEL/nl/.*of the package fillets-ng-data-nl'):
      fillets.Import(importers.Options(input=self.Write('empty/x', b'')[:-2], languages=('nl',)))

  def test_tuxpaint(self):
    voices = {
      'animals/birds/hen_desc.ogg': 'en',
      'animals/birds/hen_desc_pt_BR.wav': 'pt_BR',
      'symbols/math/7_zh_tw.ogg': 'zh_tw',
      'symbols/math/7.ogg': 'en',
      'symbols/alphabets/english/filled/a_filled_en_GB.ogg': 'en_GB',
      'symbols/alphabets/german/filled/ss_eszett_filled.ogg': 'de',
      'town/photo_desc_da.ogg.ogg': 'da',
    }
    sounds = ('animals/birds/hen.ogg', 'animals/bat_left.ogg', 'symbols/faces/sad.ogg', 'symbols/dreydl-nun.ogg')
    for name in (*voices, *sounds, 'animals/birds/hen.txt'):
      self.Write(f'stamps/{name}', b'x')
    listing = tuxpaint.Import(importers.Options(input=self.dir))
    self.assertEqual(
      {u.utt_id: u.domain for u in listing.utterances},
      {f'tuxpaint/{name[:-4]}': f'tuxpaint/{language}' for name, language in voices.items()},
    )
    self.assertEqual({r.utt_id for r in listing.rejects}, {f'tuxpaint/{name[:-4]}' for name in sounds})
    self.assertEqual({r.reason for r in listing.rejects}, {'not_speech'})
    self.assertLen(tuxpaint.Import(importers.Options(input=self.dir, languages=('de', 'da'))).utterances, 2)
    with self.assertRaisesRegex(exit_codes.UsageError, 'no voices in fi; .*found the languages da, de, en, en'):
      tuxpaint.Import(importers.Options(input=self.dir, languages=('fi',)))


if __name__ == '__main__':
  absltest.main()
