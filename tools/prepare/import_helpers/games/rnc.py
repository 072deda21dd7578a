"""Unpacks RNC method 1 (Rob Northen Compression), the packer of Beneath a Steel Sky.

A stream is a head of 18 bytes and blocks. A block has three prefix codes (for the lengths of literal runs, distances
and lengths of copies) and rounds of a literal run and a copy. Bits come from 16 bit little-endian words, least
significant bit first; literal bytes stand between these words, at the position of the next word not yet loaded.
"""

import array
import struct
import sys

import numpy as np

MAGIC = b'RNC\x01'
HEAD = struct.Struct('>4sIIHHBB')  # Magic, unpacked and packed length, CRC of each, unused, number of blocks.

class RncError(ValueError):
  """The stream is damaged."""


def _CrcTable(bits):
  """Returns the state of CRC-16 (reflected, 0xA001) after `bits` bits, for each value of them."""
  table = np.arange(1 << bits, dtype=np.uint32)
  for _ in range(bits):
    table = np.where(table & 1, (table >> 1) ^ 0xA001, table >> 1)
  return table.tolist()


_CRC8, _CRC16 = _CrcTable(8), _CrcTable(16)


def Crc16(data: bytes) -> int:
  """Returns CRC-16/ARC: polynomial 0xA001 reflected, start 0."""
  words = array.array('H', data[: len(data) & ~1])
  if sys.byteorder == 'big':
    words.byteswap()
  crc, table = 0, _CRC16
  for word in words:
    crc = table[crc ^ word]
  if len(data) & 1:
    crc = (crc >> 8) ^ _CRC8[(crc ^ data[-1]) & 0xFF]
  return crc


def UnpackedLength(data: bytes) -> int:
  """Returns the length that the head declares; raises RncError if there is no head."""
  if len(data) < HEAD.size or data[:4] != MAGIC:
    raise RncError('no RNC method 1 head')
  return HEAD.unpack_from(data)[1]


def Unpack(data: bytes) -> bytes:
  """Unpacks a stream; bytes behind it are ignored.

  Raises:
    RncError: The stream is damaged; both its CRCs are checked.
  """
  unpacked = UnpackedLength(data)
  _, _, packed, crc, packed_crc, _, blocks = HEAD.unpack_from(data)
  body = data[HEAD.size : HEAD.size + packed]
  if len(body) < packed:
    raise RncError(f'{len(body)} bytes, the head says {packed}')
  if Crc16(body) != packed_crc:
    raise RncError('the CRC of the packed data does not match')
  try:
    out = _Bits(body).Blocks(blocks)
  except (IndexError, TypeError) as e:
    raise RncError('the packed data end too early, or have an unknown code') from e
  if len(out) != unpacked or Crc16(out) != crc:
    raise RncError('the length or the CRC of the unpacked data does not match')
  return out


class _Bits:
  """Reads bits, prefix codes and literal bytes of a packed stream."""

  def __init__(self, data):
    self._data = data + b'\0\0\0\0'  # The word behind the last one may be looked at.
    self._end = len(data) + 2
    self._position, self._bits, self._count = 0, 0, 0
    self.Read(2)

  def _Load(self):
    if self._position >= self._end:
      raise IndexError
    data, position = self._data, self._position
    self._bits |= (data[position] | data[position + 1] << 8) << self._count
    self._position += 2
    self._count += 16

  def Read(self, count):
    """Reads a number of `count` bits, at most 16."""
    if count > self._count:
      self._Load()
    value = self._bits & ((1 << count) - 1)
    self._bits >>= count
    self._count -= count
    return value

  def _ReadCode(self):
    """Reads a prefix code; returns list: the next bits, as many as the longest code -> (symbol, its bits), or None."""
    lengths = [self.Read(4) for _ in range(self.Read(5))]
    longest = max(lengths, default=0)
    table, code = [None] * (1 << longest), 0
    for bits in range(1, longest + 1):
      for symbol, length in enumerate(lengths):
        if length == bits:
          first = int(f'{code:0{bits}b}'[::-1], 2)  # The first bit of a code is the lowest one of the word.
          table[first :: 1 << bits] = [(symbol, bits)] * len(range(first, len(table), 1 << bits))
          code += 1
      code <<= 1
    return table

  def _Value(self, table):
    data, position, count = self._data, self._position, self._count
    ahead = self._bits | (data[position] | data[position + 1] << 8) << count
    symbol, bits = table[ahead & (len(table) - 1)]
    if bits > count:
      self._Load()
    self._bits >>= bits
    self._count -= bits
    return symbol if symbol < 2 else (1 << symbol - 1) + self.Read(symbol - 1)

  def Blocks(self, blocks):
    out = bytearray()
    for _ in range(blocks):
      literals, distances, lengths = (self._ReadCode() for _ in range(3))
      rounds = self.Read(16)
      for left in range(rounds - 1, -1, -1):
        run = self._Value(literals)
        if run:
          out += self._data[self._position : self._position + run]
          self._position += run
        if left:
          distance, length = self._Value(distances) + 1, self._Value(lengths) + 2
          start = len(out) - distance
          if start < 0:
            raise IndexError
          piece = out[start : start + length]
          out += piece if distance >= length else (piece * (length // distance + 1))[:length]
    return bytes(out)
