"""Transcripts as subtitles, CTM and manifests: what others can read, whatever the words are."""

import dataclasses
import io
import re
import tempfile

import av
import numpy as np
from absl.testing import absltest

from fm_lingvo import errors
from fm_lingvo.inference import transcript
from tools.scoring import transcript_files
from tools.transcription import subtitles
from tools.transcription import transcript_formats
from tools.transcription import transcript_output

_ODD = ('rock&roll', '<b>', '{x}', 'a\\N', '-->', 'é', '\u4e00')


def _Transcript(words, name='talks/a b.wav', seconds=9.0):
  return transcript.Transcript(name, seconds, ' '.join(w.text for w in words), -1.0, tuple(words), 1)


def _Words(texts, probability=0.5):
  return [transcript.Word(text, 0.4 * i, 0.4 * i + 0.3, probability) for i, text in enumerate(texts)]


def _ReadByFfmpeg(text, kind):
  """Returns [(start, end, text)] of the cues that FFmpeg finds, times in seconds; its markup is taken off."""
  cues = []
  with av.open(io.BytesIO(text.encode()), format=kind) as container:
    for packet in container.demux():
      for found in packet.decode() if packet.size else ():
        start = float(packet.pts * packet.time_base)
        line = found.ass.decode().split(',', 8)[-1]
        cues.append((start, start + float(packet.duration * packet.time_base), line.replace('\\N', '\n')))
  return cues


class CuesTest(absltest.TestCase):
  def test_cues_end_at_pauses_and_before_they_are_too_long(self):
    words = [transcript.Word(f'word{i:02d}', 0.3 * i, 0.3 * i + 0.2) for i in range(30)]
    words += [transcript.Word('late', 3661.5, 3662.25)]
    text = subtitles.Srt(words)
    blocks = text.rstrip('\n').split('\n\n')
    self.assertLen(blocks, 4)
    self.assertEqual(blocks[-1], '4\n01:01:01,500 --> 01:01:02,500\nlate')
    self.assertEqual(' '.join(' '.join(b.split('\n')[2:]) for b in blocks), ' '.join(w.text for w in words))
    for block in blocks:
      self.assertTrue(all(len(line) <= 42 for line in block.split('\n')[2:]))

  def test_words_at_one_frame_give_cues_that_ascend(self):
    words = [transcript.Word(letter * 50, 1.0, 1.04) for letter in 'xyz']
    times = re.findall(r'(\S+) --> (\S+)', subtitles.Srt(words))
    self.assertEqual(times, [('00:00:01,000', '00:00:01,700'), ('00:00:01,700', '00:00:04,641')])

  def test_cues_can_be_read_and_do_not_overlap_whatever_the_words_are(self):
    rng = np.random.RandomState(0)
    for _ in range(200):
      count = rng.randint(1, 60)
      starts = np.sort(rng.uniform(0, rng.choice([2.0, 30.0, 300.0]), count)).round(2)
      ends = np.maximum.accumulate(starts + rng.uniform(0.04, 1.0, count)).round(2)
      words = [transcript.Word('x' * rng.randint(1, 12), s, e) for s, e in zip(starts.tolist(), ends.tolist())]
      seconds = max(ends[-1], starts[-1] + 0.3)
      cues = [
        [3600 * int(h) + 60 * int(m) + float(f'{s}.{ms}') for h, m, s, ms in (start, end)]
        for start, end in (
          (found[:4], found[4:])
          for found in re.findall(r'(\d+):(\d+):(\d+),(\d+) --> (\d+):(\d+):(\d+),(\d+)', subtitles.Srt(words, seconds))
        )
      ]
      for (start, end), (following, _) in zip(cues, cues[1:] + [(np.inf, np.inf)]):
        self.assertGreaterEqual(round(end - start, 3), 0.7)
        self.assertLessEqual(end, following)
        self.assertTrue(end - start > 0.998 or following - end < 0.002 or end >= seconds - 0.002)

  def test_silence_has_no_cue(self):
    self.assertEqual(subtitles.Srt([]), '')

  def test_ffmpeg_reads_the_cues_of_srt_and_vtt(self):
    words = [transcript.Word(f'word{i:02d}', 0.3 * i, 0.3 * i + 0.2) for i in range(30)]
    expected = [(c.start, c.end, '\n'.join(c.lines)) for c in subtitles.Cues(words, 20.0)]
    for kind, text in (('srt', subtitles.Srt(words, 20.0)), ('webvtt', subtitles.Vtt(words, 20.0))):
      found = _ReadByFfmpeg(text, kind)
      self.assertEqual([line for *_, line in found], [line for *_, line in expected], kind)
      np.testing.assert_allclose([c[:2] for c in found], [c[:2] for c in expected], atol=1e-3)

  def test_signs_of_vtt_in_a_text_are_escaped(self):
    text = subtitles.Vtt(_Words(_ODD), 9.0)
    self.assertStartsWith(text, 'WEBVTT\n\n00:00:00.000 --> ')
    self.assertIn('rock&amp;roll &lt;b&gt; {x} a\\N --&gt; é \u4e00', text)
    self.assertEqual(subtitles.Vtt([]), 'WEBVTT\n')


class FormatsTest(absltest.TestCase):
  def test_tsv_has_milliseconds(self):
    found = transcript_formats.Format(_Transcript(_Words(['a', 'b'])), 'tsv')
    self.assertEqual(found, 'start\tend\ttext\n0\t700\ta b\n')

  def test_a_name_with_a_line_break_or_a_tab_stays_in_its_column(self):
    odd = _Transcript(_Words(['a', 'b']), name='talks/a\tb\nc.wav')
    self.assertEqual(transcript_formats.Format(odd, 'text', with_name=True), 'talks/a b c.wav\ta b\n')

  def test_ctm_is_read_by_the_scorer_with_its_times(self):
    path = self.enter_context(tempfile.TemporaryDirectory()) + '/x.ctm'
    with open(path, 'w', encoding='utf-8') as f:
      f.write(transcript_formats.Format(_Transcript(_Words(_ODD)), 'ctm'))
    with open(path, encoding='utf-8') as f:
      self.assertEqual(f.readline(), 'a_b 1 0.000 0.300 rock&roll 0.5000\n')
    found = transcript_files.Read(path, 'hypothesis')
    self.assertEqual(found.texts, {'a_b': ' '.join(_ODD)})
    self.assertAlmostEqual(found.words['a_b'][-1].end, 2.7)

  def test_two_recordings_of_one_name_in_ctm_are_refused(self):
    recordings = [('x/a.wav', 'a.wav'), ('y/a.flac', 'a.flac')]
    with self.assertRaisesRegex(errors.ConfigError, r'--format=ctm: x/a.wav and y/a.flac are both a; '):
      transcript_output.Output(None, 'ctm', recordings)
    with self.assertRaisesRegex(errors.ConfigError, r'--format=vtt: 2 recordings, but a subtitle file is for one'):
      transcript_output.Output(None, 'vtt', recordings)

  def test_a_confidence_is_the_mean_probability_of_the_words(self):
    sure = _Transcript([*_Words(['a'], 0.4), *_Words(['b'], 0.6)])
    self.assertAlmostEqual(sure.probability, 0.5)
    remote = dataclasses.replace(sure, name='gs://b/a.wav')
    self.assertIn('"audio_filepath": "gs://b/a.wav"', transcript_formats.Format(remote, 'manifest'))
    self.assertIn('"confidence": 0.5}', transcript_formats.Format(sure, 'manifest'))
    self.assertEqual(transcript_formats.WhyNoLabel(sure, 0.49), '')
    self.assertEqual(transcript_formats.WhyNoLabel(sure, 0.51), 'of confidence < 0.51')
    self.assertEqual(transcript_formats.WhyNoLabel(dataclasses.replace(sure, text=''), 0.0), 'without text')
    self.assertEqual(_Transcript([]).probability, 0.0)
    with self.subTest('not known'):
      unknown = _Transcript(_Words(['a'], None))
      self.assertIsNone(unknown.probability)
      self.assertNotIn('confidence', transcript_formats.Format(unknown, 'manifest'))
      self.assertNotIn('probability', transcript_formats.Format(unknown, 'json'))
      self.assertEqual(transcript_formats.Format(unknown, 'ctm'), 'a_b 1 0.000 0.300 a\n')


if __name__ == '__main__':
  absltest.main()
