"""The prefix code of the text of Beneath a Steel Sky, CD version 0.0372; other versions have other codes.

Taken over as data from ScummVM, since the game's files do not hold it. Accented and control characters are left out:
no spoken English line has any of them.
"""

END = '\0'
_CODES = r"""
000 SPACE 100000 END
0010 e 0011 a 0111 r 01000 o 01001 s 01010 t 01011 n 01100 . 01101 i 10001 u 10010 m 10011 A 10111 T 100001 E 101000 l
101001 I 101010 d 101011 R 101100 N 101101 S 110001 c 110010 D 110011 g 110111 M 1100000 O 1100001 h 1101000 L 1101001 C
1101010 p 1101011 U 1101100 ! 1101101 y 1110001 H 1110010 ? 1110011 b 1110101 , 1110110 G 1110111 B 11100000 P
11100001 v 11101000 ' 11101001 f 11110001 F 11110010 q 11110011 w 11110101 W 11110110 J 11110111 * 111100000 V
111100001 k 111101000 K 111101001 - 111110000 z 111110001 Y 111110010 j 111110011 + 111110101 ) 111110111 <
1111101000 Q 1111101100 Z 1111110011 : 1111110101 # 11111100001 ~ 11111101001 ] 11111101100 x 11111101101 X
11111110001 2 11111110011 1 11111110101 = 11111110111 ^ 111111100001 ` 111111100100 0 111111101000 / 111111101001 (
111111110000 3 111111110001 9 111111110011 4 111111110101 \ 111111110110 " 1111111101000 } 1111111101001 8
1111111110000 & 1111111110010 5 1111111110011 6 11111111110001 7 11111111110110 $ 11111111110111 @ 11111111111001 _
11111111111010 > 111111111110000 [ 111111111111001 % 111111111111110 {
""".split()
_NAMES = {'SPACE': ' ', 'END': END}
CODE = {bits: _NAMES.get(name, name) for bits, name in zip(_CODES[::2], _CODES[1::2])}  # Bits -> character.
_LONGEST = max(map(len, CODE))


class UnknownCode(ValueError):
  """The bits are no character of CODE."""


def Messages(section: bytes) -> list:
  """Returns the messages of a section file, with None for those that need a character that CODE lacks."""
  skips, bits = (int.from_bytes(section[i : i + 2], 'little') for i in (0, 2))
  messages = []
  for number in range(bits - skips):
    group, rest = divmod(number, 32)
    if not rest:  # A table has the start of each group of 32 messages, as the lengths of the groups before it.
      lengths = [int.from_bytes(section[4 + 2 * i : 6 + 2 * i], 'little') for i in range(group)]
      position = 8 * bits + 2 * sum(lengths)
    try:
      messages.append(Decode(section, position))
    except UnknownCode:
      messages.append(None)
    length = section[skips + number]
    position += 2 * ((length & 0x7F) * 8 if length & 0x80 else length)
  return messages


def Decode(data: bytes, position: int) -> str:
  """Decodes the text that starts at bit `position`, most significant bit first, up to END.

  Raises:
    UnknownCode: A code is not in CODE, or the data end before END.
  """
  text, code = [], ''
  while True:
    if position >= 8 * len(data) or len(code) >= _LONGEST:
      raise UnknownCode(f'no character for {code!r}')
    code += str(data[position >> 3] >> 7 - (position & 7) & 1)
    position += 1
    if code in CODE:
      if CODE[code] == END:
        return ''.join(text)
      text.append(CODE[code])
      code = ''
