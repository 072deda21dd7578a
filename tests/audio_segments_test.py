"""Segments of a recording: one pass, equal to what the whole recording has there; channels."""

import io
import os
import tempfile
import unittest.mock as mock

import av
import numpy as np
import soundfile
from absl.testing import absltest

from fm_lingvo import audio
from fm_lingvo.audio import live
from fm_lingvo.audio import segments as audio_segments
from fm_lingvo.audio import stream as audio_stream

RATE = 16000
# Extension -> (container, codec, rate).
FORMATS = {
  'wav': ('wav', 'pcm_s16le', 16000),
  '44.wav': ('wav', 'pcm_s16le', 44100),
  'flac': ('flac', 'flac', 16000),
  '44.flac': ('flac', 'flac', 44100),
  'w64': ('w64', 'pcm_s16le', 22050),
  'aiff': ('aiff', 'pcm_s16be', 8000),
  'opus': ('ogg', 'libopus', 48000),
  'm4a': ('ipod', 'aac', 16000),
  'mp3': ('mp3', 'libmp3lame', 44100),
  'webm': ('webm', 'libopus', 48000),
  'amr': ('amr', 'libopencore_amrnb', 8000),
  'mka': ('matroska', 'pcm_s16le', 16000),
}


def Noise(seconds, rate=RATE, channels=1, seed=0):
  """int16 [seconds * rate, channels] that never repeats."""
  return (np.random.RandomState(seed).uniform(-0.3, 0.3, [round(seconds * rate), channels]) * 32767).astype(np.int16)


def Encode(samples, container, codec, rate):
  """The bytes of a file with int16 [n, C]."""
  out = io.BytesIO()
  layout = {1: 'mono', 2: 'stereo'}[samples.shape[1]]
  with av.open(out, 'w', format=container) as f:
    stream = f.add_stream(codec, rate=rate, layout=layout)
    if codec == 'wmav2':  # It has no default.
      stream.bit_rate = 64000
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format='s16', layout=layout)
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode(None)]:
      f.mux(packet)
  return out.getvalue()


def Segments(source, segments, max_seconds=None):
  """What DecodeSegments finds, in the order of the segments."""
  found = dict(audio.DecodeSegments(source, segments, max_seconds))
  assert sorted(found) == list(range(len(segments))), sorted(found)
  return [found[i] for i in range(len(segments))]


class SegmentsTest(absltest.TestCase):
  def test_all_segments_are_those_of_the_whole_recording(self):
    rng = np.random.RandomState(3)
    for name, (container, codec, rate) in FORMATS.items():
      for channels in (1, 2):
        if codec.endswith('amrnb') and channels == 2:
          continue
        with self.subTest(name, channels=channels):
          content = Encode(Noise(20, rate, channels), container, codec, rate)
          whole = audio.Decode(content)
          # Neighbours, overlapping ones, a far one after a gap, one to the end; in no order.
          starts = [0.0, 0.5, 0.5, 17.3, *rng.uniform(0, 19, 4), 1 / 3]
          segments = [(s, rng.uniform(0.1, min(3.0, 19.5 - s)), None) for s in starts] + [(18.9, None, None)]
          for (offset, seconds, _), found in zip(segments, Segments(content, segments, 10.0)):
            start = round(offset * RATE)
            end = None if seconds is None else start + round(seconds * RATE)
            np.testing.assert_array_equal(found, whole[start:end])
          np.testing.assert_array_equal(audio.Decode(content, 10.0, offset, seconds), whole[start:end])

  def test_a_recording_is_decoded_once_and_no_further_than_its_last_segment(self):
    content = Encode(Noise(60), 'wav', 'pcm_s16le', RATE)
    blocks = []
    decode = audio_stream.Seconds

    def Counted(*args):
      for block in decode(*args):
        blocks.append(block)
        yield block

    with mock.patch.object(audio_stream, 'Seconds', Counted):
      Segments(content, [(0.25 * i, 0.25, None) for i in range(40)])
    self.assertLen(blocks, 10)

  def test_memory_is_that_of_the_segments_that_overlap(self):
    content = Encode(Noise(120), 'wav', 'pcm_s16le', RATE)
    for _, found in audio.DecodeSegments(content, [(float(i), 1.0, None) for i in range(120)]):
      self.assertLessEqual(found.nbytes if found.base is None else found.base.nbytes, 2 * RATE)

  def test_bad_segments_do_not_stop_the_others(self):
    pcm = Noise(3)
    content = Encode(pcm, 'wav', 'pcm_s16le', RATE)
    found = Segments(
      content,
      [
        (0.0, 1.0, None),
        (2.5, 1.0, None),
        (0.0, 2.5, None),
        (5.0, None, None),
        (-1.0, 1.0, None),
        (0.0, None, None),
        (1.0, 1.0, 1),
        (1.0, 0.0, None),
        (float('nan'), 1.0, None),
        (2.95, 0.1, None),
      ],
      2.0,
    )
    np.testing.assert_array_equal(found[0], pcm[:RATE, 0])
    np.testing.assert_array_equal(found[9], pcm[round(2.95 * RATE) :, 0])  # Ends 0.05 s early: within tolerance.
    reasons = [f.reason for f in found[1:9]]
    self.assertEqual(
      reasons, ['corrupt', 'too_long', 'empty', 'bad_entry', 'too_long', 'no_channel', 'empty', 'bad_entry']
    )
    self.assertEqual(found[1].detail, 'ends at 3.00 s, expected 2.50 s to 3.50 s')
    self.assertEqual(found[6].detail, 'channel 1, the recording has 1: 0 to 0')

  def test_segments_before_the_damage_are_whole(self):
    content = bytearray(Encode(Noise(20), 'flac', 'flac', RATE))
    content[len(content) // 2 : len(content) // 2 + 4000] = bytes(4000)
    first, last = Segments(bytes(content), [(1.0, 2.0, None), (15.0, 2.0, None)])
    np.testing.assert_array_equal(first, Noise(20)[RATE : 3 * RATE, 0])
    self.assertEqual(last.reason, 'corrupt')

  def test_a_missing_file_rejects_each_segment(self):
    found = Segments('/no/such/file.wav', [(0.0, 1.0, None), (2.0, None, 1)])
    self.assertEqual([f.reason for f in found], ['missing', 'missing'])
    self.assertEmpty(list(audio.DecodeSegments('/no/such/file.wav', [])))

  def test_paths_bytes_and_open_files_are_the_same(self):
    pcm = Noise(1)
    content = Encode(pcm, 'g722', 'g722', RATE)
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'a.g722')
      with open(path, 'wb') as f:
        f.write(content)
      whole = audio.Decode(path)
      self.assertNotEmpty(whole)
      np.testing.assert_array_equal(audio.Decode(content, name='a.G722'), whole)
      with open(path, 'rb') as f:
        np.testing.assert_array_equal(audio.Decode(f, name='a.g722'), whole)
        self.assertFalse(f.closed)


class ChannelsTest(absltest.TestCase):
  def _Wav(self, samples):
    out = io.BytesIO()
    soundfile.write(out, samples, RATE, format='WAV', subtype='PCM_16')
    return out.getvalue()

  def test_each_channel_and_the_mean(self):
    for channels in (2, 3, 6, 9, 24):
      with self.subTest(channels=channels):
        pcm = Noise(1.5, channels=channels, seed=channels)
        content = self._Wav(pcm)
        found = Segments(content, [(0.0, None, c) for c in range(channels)])
        np.testing.assert_array_equal(found, pcm.T)
        self.assertLessEqual(np.abs(audio.Decode(content) - pcm.mean(axis=1)).max(), 0.5)
        with self.assertRaisesRegex(audio.Rejected, f'no_channel: channel {channels}, the recording has {channels}'):
          audio.Decode(content, channel=channels)

  def test_channels_that_cancel_each_other_do_not_become_silence(self):
    voice = Noise(3)
    for second in (-voice, -voice * 0.9, -voice + 2):
      found = audio.Decode(self._Wav(np.concatenate([voice, second.astype(np.int16)], axis=1)))
      np.testing.assert_array_equal(found, voice[:, 0])
    louder = audio.Decode(self._Wav(np.concatenate([(voice * 0.7).astype(np.int16), -voice], axis=1)))
    self.assertGreater(np.abs(louder).mean(), 0.1 * np.abs(voice).mean())

  def test_channels_that_do_not_cancel_are_mixed(self):
    voice, other = Noise(3), Noise(3, seed=1)
    for second in (voice, other, np.zeros_like(voice), -voice // 3):
      both = np.concatenate([voice, second], axis=1)
      found = audio.Decode(self._Wav(both))
      self.assertLessEqual(np.abs(found - both.mean(axis=1)).max(), 0.5)

  def test_sound_that_comes_in_pieces_is_heard_as_a_recording(self):
    voice, other = Noise(2.33), Noise(2.33, seed=1)
    for second, expected in (
      (-voice, voice[:, 0]),  # Its mean is silence.
      (-voice * 0.9, voice[:, 0]),
      (other, None),
      (np.zeros_like(voice), None),
    ):
      both = np.concatenate([voice, second.astype(np.int16)], axis=1)
      whole = audio.Decode(self._Wav(both))
      for rate in (RATE, 2 * RATE):  # The latter is resampled.
        found = []
        for size in (7, 160, 2000, len(both)) if rate == RATE else (333, len(both)):
          hears = live.Resampler()
          pieces = [hears.Push(both[i : i + size], rate) for i in range(0, len(both), size)]
          found.append(np.concatenate([*pieces, hears.Finish()]))
          self.assertLessEqual(len(both) * RATE // rate - sum(map(len, pieces)), RATE // 10 + 100)
          np.testing.assert_array_equal(found[-1], found[0])
        if rate == RATE:
          np.testing.assert_array_equal(found[0], whole if expected is None else expected)
        self.assertGreater(np.abs(found[0]).mean(), 0.2 * np.abs(voice).mean())

  def test_a_silent_recording_stays_silent(self):
    self.assertFalse(audio.Decode(self._Wav(np.zeros([RATE, 2], np.int16))).any())
    self.assertEqual(audio_segments.audio_channels.Select(np.zeros([2, 5], np.int16), None).shape, (5,))


if __name__ == '__main__':
  absltest.main()
