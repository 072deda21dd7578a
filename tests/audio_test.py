"""Decoding to 16 kHz PCM16, and every reason for which a recording is rejected."""

import os
import tempfile

import av
import numpy as np
import soundfile
from absl.testing import absltest

from fm_lingvo import audio

RATE = 16000


def Tone(seconds, rate=RATE, hz=440.0, level=0.3):
  """float64 [seconds * rate]."""
  return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def PeakHz(samples):
  """The strongest frequency of int16 [N] at 16 kHz."""
  return np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples)


class AudioCase(absltest.TestCase):
  def setUp(self):
    super().setUp()
    tmp = tempfile.TemporaryDirectory()
    self.addCleanup(tmp.cleanup)
    self.dir = tmp.name

  def Path(self, name, data=None):
    path = os.path.join(self.dir, name)
    if data is not None:
      with open(path, 'wb') as f:
        f.write(data)
    return path

  def Write(self, name, samples, rate=RATE, **kwargs):
    path = self.Path(name)
    soundfile.write(path, samples, rate, **kwargs)
    return path

  def assertRejected(self, reason, fn, *args, **kwargs):
    with self.assertRaises(audio.Rejected) as raised:
      fn(*args, **kwargs)
    self.assertEqual(raised.exception.reason, reason, str(raised.exception))
    return raised.exception


class DecodeTest(AudioCase):
  def test_every_rate_and_format_becomes_16_khz_mono(self):
    for extension in ('wav', 'flac', 'ogg', 'mp3', 'aiff'):
      for rate in (8000, 16000, 22050, 44100, 48000):
        with self.subTest(extension=extension, rate=rate):
          stereo = np.stack([Tone(1.0, rate)] * 2, axis=1)
          samples = audio.Decode(self.Write(f'{rate}.{extension}', stereo, rate))
          self.assertEqual(samples.dtype, np.int16)
          self.assertEqual(samples.ndim, 1)
          self.assertAlmostEqual(len(samples) / RATE, 1.0, delta=0.08)
          self.assertAlmostEqual(PeakHz(samples), 440, delta=2)

  def test_pcm_at_16_khz_is_unchanged(self):
    pcm = (Tone(0.5) * 32767).astype(np.int16)
    for extension in ('wav', 'flac'):
      np.testing.assert_array_equal(audio.Decode(self.Write(f'a.{extension}', pcm)), pcm)

  def test_sphere_is_decoded(self):
    pcm = (Tone(0.5) * 32767).astype(np.int16)
    np.testing.assert_array_equal(audio.Decode(self.Write('a.sph', pcm, format='NIST')), pcm)

  def test_raw_g722_is_decoded_by_its_extension(self):
    import av

    pcm = (Tone(1.0) * 32767).astype(np.int16)
    path = self.Path('a.g722')
    with av.open(path, 'w', format='g722') as out:
      stream = out.add_stream('g722', rate=RATE, layout='mono')
      frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format='s16', layout='mono')
      frame.sample_rate = RATE
      for packet in list(stream.encode(frame)) + list(stream.encode(None)):
        out.mux(packet)
    samples = audio.Decode(path)
    self.assertAlmostEqual(len(samples) / RATE, 1.0, delta=0.05)
    self.assertAlmostEqual(PeakHz(samples), 440, delta=2)

  def test_content_decides_not_the_extension(self):
    path = self.Write('a.flac', Tone(0.5))
    renamed = self.Path('a.wav')
    os.rename(path, renamed)
    self.assertEqual(len(audio.Decode(renamed)), RATE // 2)

  def test_segment_is_cut_out(self):
    pcm = (Tone(2.0) * 32767).astype(np.int16)
    path = self.Write('a.wav', pcm)
    np.testing.assert_array_equal(audio.Decode(path, offset=0.5, seconds=1.0), pcm[RATE // 2 : RATE * 3 // 2])
    self.assertRejected('corrupt', audio.Decode, path, offset=1.5, seconds=1.0)

  def test_missing(self):
    self.assertRejected('missing', audio.Decode, self.Path('no.wav'))

  def test_empty(self):
    self.assertRejected('empty', audio.Decode, self.Path('a.wav', b''))
    self.assertRejected('empty', audio.Decode, self.Write('b.wav', np.zeros(0)))

  def test_not_audio(self):
    page = b'<html><body>404 not found</body></html>' * 40
    for name, data in (('a.wav', page), ('b.mp3', page), ('c.g722', page), ('d.wav', bytes(5000))):
      with self.subTest(name=name):
        self.assertRejected('not_audio', audio.Decode, self.Path(name, data))

  def test_what_names_other_files_or_networks_is_not_audio(self):
    # FFmpeg itself would read the tone through the playlists, and wait for packets that nobody sends.
    self.Write('tone.mp3', Tone(1.0))
    hls = b'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ntone.mp3\n#EXT-X-ENDLIST\n'
    for name, text in (
      ('list.m3u8', hls),
      ('list.wav', b'ffconcat version 1.0\nfile tone.mp3\n'),
      ('call.sdp', b'v=0\nc=IN IP4 127.0.0.1\nm=audio 0 RTP/AVP 0\n'),
    ):
      with self.subTest(name=name):
        self.assertRejected('not_audio', audio.Decode, self.Path(name, text))

  def test_corrupt(self):
    rng = np.random.RandomState(1)
    noise = rng.uniform(-0.3, 0.3, 2 * RATE)
    for extension in ('wav', 'flac', 'mp3'):
      with self.subTest(cut_off=extension), open(self.Write(f'a.{extension}', noise), 'rb') as f:
        data = f.read()
        self.assertRejected('corrupt', audio.Decode, self.Path(f'b.{extension}', data[: len(data) // 2]))
    for extension in ('flac', 'ogg'):
      with self.subTest(overwritten=extension), open(self.Write(f'c.{extension}', noise), 'rb') as f:
        data = bytearray(f.read())
        middle = len(data) // 2
        data[middle : middle + 4000] = rng.bytes(4000)
        self.assertRejected('corrupt', audio.Decode, self.Path(f'd.{extension}', bytes(data)))

  def test_a_length_that_is_guessed_from_the_bit_rate_is_no_header_s(self):
    rng = np.random.RandomState(1)
    samples = np.concatenate([rng.uniform(-1e-4, 1e-4, 3 * RATE), rng.uniform(-0.3, 0.3, 9 * RATE)])
    for name, codec, options in (('a.mp3', 'libmp3lame', {'write_xing': '0'}), ('a.aac', 'aac', {})):
      with self.subTest(name):
        path = self.Path(name)
        with av.open(path, 'w', options=options) as out:
          stream = out.add_stream(
            codec, rate=RATE, layout='mono', options={'compression_level': '9', 'global_quality': '500'}
          )
          frame = av.AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16)[np.newaxis], format='s16', layout='mono'
          )
          frame.sample_rate = RATE
          for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
        self.assertAlmostEqual(len(audio.Decode(path)) / RATE, 12.0, delta=0.2)

  def test_too_long_is_found_without_decoding_all(self):
    path = self.Write('a.flac', Tone(30.0))
    self.assertEqual(len(audio.Decode(path, max_seconds=30.0)), 30 * RATE)
    self.assertRejected('too_long', audio.Decode, path, max_seconds=2.0)
    self.assertRejected('too_long', audio.Decode, path, max_seconds=2.0, offset=1.0, seconds=5.0)

  def test_resample_keeps_the_tone(self):
    pcm = (Tone(1.0, 22050) * 32767).astype(np.int16)
    out = audio.Resample(pcm, 22050)
    self.assertAlmostEqual(len(out), RATE, delta=20)
    self.assertAlmostEqual(PeakHz(out), 440, delta=2)

  def test_unknown_reason_is_a_bug(self):
    with self.assertRaisesRegex(ValueError, "reason = 'bad'"):
      audio.Rejected('bad')


class CheckTest(AudioCase):
  def Check(self, samples):
    audio.CheckSpeech((samples * 32767).astype(np.int16), min_duration=0.3, max_duration=3.0)

  def test_speech_level_passes(self):
    self.Check(Tone(1.0, level=0.05))
    self.Check(np.concatenate([np.zeros(RATE), Tone(0.2, level=0.05), np.zeros(RATE)]))  # Mostly silent, but not all.

  def test_silent(self):
    hiss = np.random.RandomState(0).uniform(-1e-4, 1e-4, RATE)
    for name, samples in (('zeros', np.zeros(RATE)), ('hiss', hiss), ('constant', np.full(RATE, 0.2))):
      with self.subTest(name):
        self.assertRejected('silent', self.Check, samples)

  def test_too_short_and_too_long(self):
    self.assertRejected('too_short', self.Check, Tone(0.2))
    self.assertRejected('too_long', self.Check, Tone(3.5))

  def test_transcript_impossible_for_the_duration(self):
    audio.CheckText('please press one to mute yourself', 2.0)
    audio.CheckText('', 20.0)
    audio.CheckText('a', 0.9)
    self.assertRejected('mislabelled', audio.CheckText, 'please press one to mute yourself', 0.5)
    self.assertRejected('mislabelled', audio.CheckText, 'a', 20.0)

  def test_declared_duration_must_fit(self):
    audio.CheckText('', 2.0, declared_duration=2.1)
    error = self.assertRejected('mislabelled', audio.CheckText, '', 2.0, declared_duration=3.0)
    self.assertIn('2.00 s long, declared as 3.00 s', str(error))


if __name__ == '__main__':
  absltest.main()
