"""Recordings that are cut off, damaged or have a wrong header: which are rejected, and what is kept of the others."""

import io
import struct

import numpy as np
import soundfile
from absl.testing import absltest

from fm_lingvo import audio
from fm_lingvo.audio import channels as audio_channels
from fm_lingvo.audio import frames as audio_frames
from fm_lingvo.audio import stream as audio_stream
from tests.audio_segments_test import Encode
from tests.audio_segments_test import Noise

RATE = 16000
# Name -> (container, codec, rate) of formats whose header or last packet shows that they are cut off.
FORMATS = {
  'wav': ('wav', 'pcm_s16le', 16000),
  'adpcm': ('wav', 'adpcm_ms', 16000),
  'w64': ('w64', 'pcm_s16le', 16000),
  'aiff': ('aiff', 'pcm_s16be', 16000),
  'au': ('au', 'pcm_s16be', 16000),
  'caf': ('caf', 'pcm_s16le', 16000),
  'sox': ('sox', 'pcm_s32le', 16000),
  'flac': ('flac', 'flac', 16000),
  'opus': ('ogg', 'libopus', 48000),
  'mp3': ('mp3', 'libmp3lame', 16000),
  'm4a': ('ipod', 'aac', 16000),
  'mov': ('mov', 'pcm_s16le', 16000),
  'webm': ('webm', 'libopus', 48000),
  'mka': ('matroska', 'pcm_s16le', 16000),
  '3gp': ('3gp', 'aac', 16000),
  'avi': ('avi', 'libmp3lame', 16000),
  'amr': ('amr', 'libopencore_amrnb', 8000),
  'wma': ('asf', 'wmav2', 44100),
  'flv': ('flv', 'libmp3lame', 22050),
  'aac': ('adts', 'aac', 16000),
  'wv': ('wv', 'wavpack', 16000),
  'tta': ('tta', 'tta', 16000),
  'voc': ('voc', 'pcm_s16le', 16000),
}


class _Pipe(io.BytesIO):
  """Bytes that a muxer can write but not correct afterwards, as into a pipe."""

  def seekable(self):
    return False

  def seek(self, *args):
    raise OSError('a pipe cannot seek')


def _Piped(samples, container, codec, rate):
  """As Encode, written into a pipe: sizes and lengths stay unknown."""
  import av

  out = _Pipe()
  with av.open(out, 'w', format=container) as f:
    stream = f.add_stream(codec, rate=rate, layout='mono')
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format='s16', layout='mono')
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode(None)]:
      f.mux(packet)
  return out.getvalue()


def _Reason(content):
  """The Rejected of a file, or None."""
  try:
    audio.Decode(content)
  except audio.Rejected as e:
    return e
  return None


def _Lenient(content):
  """(int16 [N], Losses) of a file that may be damaged."""
  losses = audio_frames.Losses()
  with audio_stream.Translated():
    blocks = [audio_channels.Select(b, None) for b in audio_stream.Seconds(io.BytesIO(content), '', losses)]
  return np.concatenate(blocks), losses


class CutOffTest(absltest.TestCase):
  def test_a_file_that_is_cut_off_is_rejected(self):
    for name, (container, codec, rate) in FORMATS.items():
      content = Encode(Noise(8, rate), container, codec, rate)
      self.assertIsNone(_Reason(content), name)
      for kept in (0.3, 0.5, 0.9):
        with self.subTest(name, kept=kept):
          error = _Reason(content[: int(len(content) * kept) | 1])  # An odd number of bytes: no end of a packet.
          self.assertIsNotNone(error)
          self.assertEqual(error.reason, 'corrupt', error)
          self.assertRegex(str(error), 'cut off|damaged|decoded')

  def test_a_file_that_ends_within_its_header_is_refused(self):
    for magic in (b'RIFF', b'FORM', b'riff', b'caff', b'.snd', b'.SoX', b'XoS.', b'\x1aE\xdf\xa3', b'OggS', b'fLaC'):
      for size in range(12):
        self.assertIn(_Reason(magic + bytes(size)).reason, ('corrupt', 'not_audio', 'empty'), (magic, size))

  def test_a_live_webm_shows_it_by_its_last_block(self):
    content = _Piped(Noise(8, 48000), 'webm', 'libopus', 48000)
    self.assertAlmostEqual(len(audio.Decode(content)) / RATE, 8, delta=0.1)
    for kept in (0.3, 0.5, 0.9):
      self.assertRegex(str(_Reason(content[: int(len(content) * kept)])), r'corrupt: cut off: .* element \w+ ends at')

  def test_what_is_there_of_a_file_that_is_cut_off_is_kept_where_losses_are_allowed(self):
    for name in ('wav', 'flac', 'opus', 'mp3', 'webm', 'amr', 'aac'):
      with self.subTest(name):
        container, codec, rate = FORMATS[name]
        content = Encode(Noise(8, rate), container, codec, rate)
        samples, losses = _Lenient(content[: len(content) // 2 | 1])
        self.assertBetween(len(samples) / RATE, 2.5, 5.0)
        self.assertStartsWith(str(losses), 'the file is cut off: ')


def _Wave(samples, riff=None, data=None, behind=b''):
  """A WAV file with int16 [n] whose sizes may be wrong."""
  body = samples.astype('<i2').tobytes()
  data = len(body) if data is None else data
  riff = 36 + len(body) if riff is None else riff
  head = struct.pack('<4sI8sIHHIIHH', b'RIFF', riff, b'WAVEfmt ', 16, 1, 1, RATE, 2 * RATE, 2, 16)
  return head + struct.pack('<4sI', b'data', data) + body + behind


class WrongHeaderTest(absltest.TestCase):
  def test_the_data_decide_not_the_sizes_of_a_wav_header(self):
    pcm = Noise(2)[:, 0]
    size = 2 * len(pcm)
    cases = {
      'as sox writes into a pipe': _Wave(pcm, 0x7FFFF024, 0x7FFFF000),
      'as ffmpeg writes into a pipe': _Wave(pcm, 0xFFFFFFFF, 0xFFFFFFFF),
      'zeros': _Wave(pcm, 0, 0),
      'most positive': _Wave(pcm, 0x7FFFFFFF, 0x7FFFFFFF - 36),
      'riff eight too large': _Wave(pcm, size + 44),
      'riff eight too small': _Wave(pcm, size + 28),
      'riff one too large': _Wave(pcm, size + 37),
      'riff only unknown': _Wave(pcm, 0xFFFFFFFF, size),
      'data counts the header': _Wave(pcm, size + 80, size + 44),
      'a byte of padding': _Wave(pcm, behind=b'\0'),
      'a tag': _Wave(pcm, behind=b'TAG'.ljust(128, b'\0')),
      'bytes behind': _Wave(pcm, behind=b'garbage!' * 99),
      'half a sample at the end of a pipe': _Wave(pcm, 0, 0xFFFFFFFF, behind=b'\1'),
    }
    for name, content in cases.items():
      with self.subTest(name):
        np.testing.assert_array_equal(audio.Decode(content), pcm)
    self.assertRegex(str(_Reason(_Wave(pcm, data=size + 5000))), 'corrupt: cut off: .* data chunk ends at')

  def test_files_that_were_written_into_a_pipe_are_whole(self):
    for container, codec, rate in (
      ('wav', 'pcm_s16le', 16000),
      ('au', 'pcm_s16be', 16000),
      ('flac', 'flac', 16000),
      ('mp3', 'libmp3lame', 16000),
      ('matroska', 'pcm_s16le', 16000),
      ('ogg', 'libopus', 48000),
      ('adts', 'aac', 16000),
    ):
      with self.subTest(container):
        found = audio.Decode(_Piped(Noise(3, rate), container, codec, rate))
        self.assertAlmostEqual(len(found) / RATE, 3, delta=0.13)
    aiff = bytearray(Encode(Noise(1), 'aiff', 'pcm_s16be', RATE))
    for name, offset in ((b'FORM', 4), (b'COMM', 10), (b'SSND', 4)):
      at = aiff.index(name) + offset
      aiff[at : at + 4] = struct.pack('>I', 0x7F000008)
    np.testing.assert_array_equal(audio.Decode(bytes(aiff)), Noise(1)[:, 0])

  def test_tags_behind_the_sound_are_no_damage(self):
    title = b'TAG' + b'title'.ljust(125, b'\0')
    ape = b'APETAGEX' + struct.pack('<IIII8x', 2000, 32, 0, 0x80000000)
    ape += bytes(range(8)) * 8 + bytes(32)
    footer = b'APETAGEX' + struct.pack('<IIII8x', 2000, 96, 0, 0x80000000)
    for name in ('flac', 'wav', 'opus', 'mp3', 'aac', 'm4a', 'wv', 'webm', 'amr'):
      container, codec, rate = FORMATS[name]
      content = Encode(Noise(3, rate), container, codec, rate)
      whole = audio.Decode(content)
      for tag in (title, ape[:96] + footer, ape[:96] + footer + title):
        with self.subTest(name, tag=len(tag)):
          np.testing.assert_array_equal(audio.Decode(content + tag), whole)


class JoinedTest(absltest.TestCase):
  def test_files_of_other_rates_that_were_joined_are_read_to_their_end(self):
    joined = b''.join(Encode(Noise(2, rate), 'mp3', 'libmp3lame', rate) for rate in (44100, 22050, 44100))
    samples, losses = _Lenient(joined)
    self.assertAlmostEqual(len(samples) / RATE, 6, delta=0.5)
    self.assertFalse(losses.cut_off)
    stereo = Encode(Noise(2, RATE, 2), 'mp3', 'libmp3lame', RATE)
    with self.assertRaisesRegex(audio.Rejected, 'corrupt: the number of channels changes from 1 to 2'):
      _Lenient(Encode(Noise(2), 'mp3', 'libmp3lame', RATE) + stereo)

  def test_a_declared_length_beyond_the_limit_is_rejected_before_decoding(self):
    for container, codec, rate in (('wav', 'pcm_s16le', RATE), ('flac', 'flac', RATE), ('ogg', 'libopus', 48000)):
      content = Encode(Noise(5, rate), container, codec, rate)
      blocks = audio.Stream(content, 2.0, audio_frames.Losses())
      with self.assertRaisesRegex(audio.Rejected, 'too_long: more than 2 s'):
        next(blocks)
    endless = _Wave(Noise(1)[:, 0], 0x7FFFF024, 0x7FFFF000)
    self.assertLen(b''.join(audio.Stream(endless, 2.0, audio_frames.Losses())), 2 * RATE)


class DamageTest(absltest.TestCase):
  def test_damage_in_the_middle_is_rejected_or_becomes_silence_of_the_same_length(self):
    for name in ('flac', 'opus', 'mp3', 'm4a', 'webm', 'amr', 'aac', 'tta'):
      container, codec, rate = FORMATS[name]
      content = bytearray(Encode(Noise(20, rate), container, codec, rate))
      middle, size = len(content) // 2, len(content) // 50
      content[middle : middle + size] = np.random.RandomState(0).bytes(size)
      content = bytes(content)
      with self.subTest(name):
        self.assertEqual(_Reason(content).reason, 'corrupt')
        samples, losses = _Lenient(content)
        self.assertAlmostEqual(len(samples) / RATE, 20, delta=0.25)
        self.assertBetween(losses.seconds, 0.02, 6)
        self.assertAlmostEqual(losses.first, 10, delta=2.5)
        self.assertRegex(str(losses), r'\d s could not be decoded and became silence, in .* at \d+\.\d\d s')

  def test_one_bad_packet_costs_no_more_than_itself(self):
    content = bytearray(Encode(Noise(60, RATE), 'mp3', 'libmp3lame', RATE))
    whole = audio.Decode(bytes(content))
    middle = content.index(b'\xff\xf3', len(content) // 2)
    content[middle : middle + 2] = b'\0\0'
    samples, losses = _Lenient(bytes(content))
    self.assertAlmostEqual(len(samples), len(whole), delta=576)  # The encoder's padding may stay at the end.
    self.assertLess(losses.seconds, 0.2)
    last = slice(len(whole) - 20 * RATE, len(whole))
    np.testing.assert_array_equal(samples[last], whole[last])

  def test_a_file_of_which_most_is_lost_is_rejected(self):
    content = bytearray(Encode(Noise(20), 'flac', 'flac', RATE))
    size = len(content) * 7 // 10
    content[len(content) // 5 : len(content) // 5 + size] = bytes(size)
    with self.assertRaisesRegex(audio.Rejected, r'corrupt: .* s of .* s cannot be decoded'):
      _Lenient(bytes(content))

  def test_whole_files_have_no_losses(self):
    for name, (container, codec, rate) in FORMATS.items():
      content = Encode(Noise(4, rate), container, codec, rate)
      samples, losses = _Lenient(content)
      self.assertFalse(losses, name)
      np.testing.assert_array_equal(samples, audio.Decode(content))


class SamplesTest(absltest.TestCase):
  def _Float(self, samples, container='WAV', subtype='FLOAT'):
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format=container, subtype=subtype)
    return out.getvalue()

  def test_samples_that_would_become_noise_are_rejected(self):
    speech = Noise(2)[:, 0] / 32768
    for container, subtype in (('WAV', 'FLOAT'), ('WAV', 'DOUBLE'), ('AIFF', 'FLOAT'), ('AU', 'DOUBLE')):
      with self.subTest(container, subtype=subtype):
        error = _Reason(self._Float(speech * 32768, container, subtype))
        self.assertRegex(
          str(error), 'corrupt: floating-point samples up to 98.*, expected -1 to 1; divide them by 32768'
        )
        for bad in (np.nan, np.inf, -np.inf):
          broken = speech.copy()
          broken[20000] = bad
          self.assertRegex(
            str(_Reason(self._Float(broken, container, subtype))), 'corrupt: samples that are NaN or inf'
          )

  def test_floats_in_range_or_a_little_beyond_are_sound(self):
    speech = Noise(2)[:, 0] / 32768
    found = audio.Decode(self._Float(speech))
    self.assertLessEqual(np.abs(found - Noise(2)[:, 0]).max(), 1)
    self.assertEqual(audio.Decode(self._Float(speech * 5)).max(), 32767)


if __name__ == '__main__':
  absltest.main()
