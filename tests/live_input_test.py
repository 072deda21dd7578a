"""tools.transcription.live_input: what comes before the samples of a WAV has a limit, whatever its header claims."""

import os
import struct
import threading
import time

from absl.testing import absltest

from fm_lingvo import errors
from tools.transcription import live_input

_FORM = b'fmt ' + struct.pack('<IHHIIHH', 16, 1, 1, 16000, 32000, 2, 16)


def _Chunk(name, size):
  return name + struct.pack('<I', size)


class LiveInputTest(absltest.TestCase):
  def _Pieces(self, repeated, first=b'', last=b'', most=8 << 20):
    """Pieces of a WAV whose chunk `repeated` goes on until `most` bytes, or until nobody reads."""
    read, write = os.pipe()

    def Write():
      try:
        os.write(write, b'RIFF\xff\xff\xff\xffWAVE' + first)
        for _ in range(most // max(len(repeated), 1) if repeated else 0):
          os.write(write, repeated)
        os.write(write, last)
      except BrokenPipeError:
        pass
      os.close(write)

    writer = threading.Thread(target=Write)
    writer.start()
    try:
      rate, channels, pieces = live_input.Pieces(live_input.Pipe(read), None)
      return rate, channels, b''.join(pieces)
    finally:
      os.close(read)
      writer.join()

  def test_a_chunk_that_claims_gigabytes_is_refused_at_once(self):
    started = time.monotonic()
    for name in (b'LIST', b'fmt ', b'data'):  # Samples before their format cannot be used either.
      with self.assertRaisesRegex(
        errors.ConfigError,
        f"^standard input: WAV with a chunk '{name.decode()}' of 4,294,967,294 bytes before its samples: "
        'expected at most 1,048,576; expected WAV with 16 bits, or raw samples with --rate',
      ):
        self._Pieces(bytes(4096), first=_Chunk(name, 2**32 - 2))
    self.assertLess(time.monotonic() - started, 5)

  def test_chunks_without_end_are_refused(self):
    with self.assertRaisesRegex(errors.ConfigError, "a chunk 'JUNK' of 0 bytes before its samples: expected at most"):
      self._Pieces(_Chunk(b'JUNK', 0), first=_FORM)

  def test_titles_and_pictures_are_skipped(self):
    size = 500_001  # Odd: a byte of padding follows.
    samples = bytes(range(200))
    end = _FORM + _Chunk(b'data', len(samples)) + samples
    found = self._Pieces(b'', first=_Chunk(b'id3 ', size) + bytes(size + 1), last=end)
    self.assertEqual(found, (16000, 1, samples))


if __name__ == '__main__':
  absltest.main()
