"""Unpacks RNC method 1 (Rob Northen Compression), the packer of Beneath a Steel Sky.

A stream is a head of 18 bytes and blocks. A block has three prefix codes (for the lengths of literal runs, distances
and lengths of copies) and rounds of a literal run and a copy. Bits come from 16 bit little-endian words, least
significant bit first; literal bytes stand between these words, at the position of the next word not yet loaded.
"""

import struct

import numpy as np

MAGIC = b'RNC\x01'
HEAD = struct.Struct('>4sIIHHBB')  # Magic, unpacked and packed length, CRC of each, unused, number of blocks.


class RncError(ValueError):
  """The stream is damaged."""


_CRC_CHUNK = 64  # Bytes; chunks are computed side by side, and put together after.


def _CrcTable(bits):
  """Returns uint16 [2**bits]: the state of CRC-16 (reflected, 0xA001) after `bits` bits of each value."""
  table = np.arange(1 << bits, dtype=np.uint16)
  for _ in range(bits):
    table = np.where(table & 1, (table >> 1) ^ 0xA001, table >> 1).astype(np.uint16)
  return table


_CRC8, _CRC16 = _CrcTable(8).tolist(), _CrcTable(16)
# The state after a chunk of zeros, from each state before it.
_CRC_AFTER_CHUNK = np.arange(1 << 16, dtype=np.uint16)
for _ in range(_CRC_CHUNK // 2):
  _CRC_AFTER_CHUNK = _CRC16[_CRC_AFTER_CHUNK]
_CRC_AFTER_CHUNK = _CRC_AFTER_CHUNK.tolist()


def Crc16(data: bytes) -> int:
  """Returns CRC-16/ARC: polynomial 0xA001 reflected, start 0."""
  chunks = len(data) // _CRC_CHUNK
  words = np.frombuffer(data, '<u2', chunks * _CRC_CHUNK // 2).reshape(chunks, _CRC_CHUNK // 2)
  states = np.zeros(chunks, np.uint16)
  for column in words.T:
    states = _CRC16[states ^ column]
  crc = 0
  for state in states.tolist():  # The CRC is linear: that of a chunk, and of zeros after what is before it.
    crc = _CRC_AFTER_CHUNK[crc] ^ state
  for byte in data[chunks * _CRC_CHUNK :]:
    crc = (crc >> 8) ^ _CRC8[(crc ^ byte) & 0xFF]
  return crc


def UnpackedLength(data: bytes) -> int:
  """Returns the length that the head declares; raises RncError if there is no head."""
  if len(data) < HEAD.size or data[:4] != MAGIC:
    raise RncError('no RNC method 1 head')
  return HEAD.unpack_from(data)[1]


def Unpack(data: bytes) -> bytes:
  """Unpacks a stream; bytes after it are ignored.

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
    out = _Stream(body).Blocks(blocks)
  except (IndexError, TypeError) as e:
    raise RncError('the packed data end too early, or have an unknown code') from e
  if len(out) != unpacked or Crc16(out) != crc:
    raise RncError('the length or the CRC of the unpacked data does not match')
  return out


class _Stream:
  """Reads bits, prefix codes, and blocks of a packed stream."""

  def __init__(self, data):
    self._data = data
    padded = np.frombuffer(data + b'\0\0\0\0', np.uint8).astype(np.uint16)
    self._words = (padded[:-1] | padded[1:] << 8).tolist()  # At each position, as literals may shift the words by one.
    self._position, self._bits, self._count = 0, 0, 0  # Of the next word; the bits not yet read, and their number.
    self._Read(2)

  def _Read(self, count):
    """Reads a number of `count` bits, at most 16."""
    if count > self._count:
      self._bits |= self._words[self._position] << self._count
      self._position += 2
      self._count += 16
    value = self._bits & (1 << count) - 1
    self._bits >>= count
    self._count -= count
    return value

  def _ReadCode(self):
    """Reads a prefix code; returns (table, mask): table[the next bits & mask] is (symbol, its number of bits)."""
    lengths = [self._Read(4) for _ in range(self._Read(5))]
    longest = max(lengths, default=0)
    table, code = [None] * (1 << longest), 0
    for bits in range(1, longest + 1):
      for symbol, length in enumerate(lengths):
        if length == bits:
          first = int(f'{code:0{bits}b}'[::-1], 2)  # The first bit of a code is the lowest one of the word.
          table[first :: 1 << bits] = [(symbol, bits)] * len(range(first, len(table), 1 << bits))
          code += 1
      code <<= 1
    return table, len(table) - 1

  def Blocks(self, blocks):
    """Returns the unpacked blocks. Values are read in place, from local variables: they take nearly all the time."""
    data, words, out = self._data, self._words, bytearray()
    for _ in range(blocks):
      literals, distances, lengths = (self._ReadCode() for _ in range(3))
      rounds = self._Read(16)
      position, bits, count = self._position, self._bits, self._count
      for left in range(rounds - 1, -1, -1):
        values = []
        for table, mask in (literals, distances, lengths) if left else (literals,):
          ahead = bits | words[position] << count
          symbol, used = table[ahead & mask]
          if used > count:
            bits = ahead
            position += 2
            count += 16
          bits >>= used
          count -= used
          if symbol > 1:
            used = symbol - 1
            if used > count:
              bits |= words[position] << count
              position += 2
              count += 16
            symbol = 1 << used | bits & (1 << used) - 1
            bits >>= used
            count -= used
          if not values and symbol:
            out += data[position : position + symbol]
            position += symbol
          values.append(symbol)
        if left:
          _, distance, length = values
          start = len(out) - distance - 1
          if start < 0:
            raise IndexError
          piece = out[start : start + length + 2]
          out += piece if length < distance else (piece * (length // len(piece) + 3))[: length + 2]
      self._position, self._bits, self._count = position, bits, count
    return bytes(out)
