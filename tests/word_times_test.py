"""tools.word_times: errors of word times against those of eSpeak NG. No graph: a model that tells the truth late."""

import contextlib
import io
import json
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest

from fm_lingvo.inference import api
from fm_lingvo.inference import transcript
from tools import word_times
from tools.speech_synthesis import speech_engines

_LATE = 0.08  # Seconds.


class _Model:
  """Tells what was said, all words late."""

  def __init__(self, spoken):
    self._spoken = spoken

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    pass

  def transcribe(self, sounds):
    found = []
    for (samples, rate), (words, starts) in zip(sounds, self._spoken, strict=True):
      seconds = len(samples) / rate
      ends = [*starts[1:], seconds]
      told = [
        transcript.Word(word, start + _LATE, (end if end is not None else start) + _LATE)
        for word, start, end in zip(words, starts, ends)
        if start is not None
      ]
      found.append(transcript.Transcript('', seconds, '', 0.0, tuple(told), 1))
    return found


class WordTimesTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    why = speech_engines.WhyMissing('espeak-ng')
    if why:
      self.skipTest(why)

  def test_only_words_that_were_recognised_right_and_whose_time_is_known_count(self):
    found = [
      transcript.Word(text, start, end) for text, start, end in (('a', 0.1, 0.4), ('x', 0.5, 0.9), ('c', 1.1, 1.4))
    ]
    starts, ends = word_times.Errors(['a', 'b', 'c'], [0.0, 0.5, None], found)
    np.testing.assert_allclose(starts, [0.1])
    np.testing.assert_allclose(ends, [-0.1])
    self.assertEqual(word_times.Summary([0.1, 0.3])['mean'], 200.0)
    self.assertEqual(word_times.Summary([0.1, 0.3])['spread'], 100.0)

  def test_speech_with_times_is_that_without_and_words_ascend(self):
    text = 'turn out of the road to the left'
    samples, rate, starts = speech_engines.SpeakWithTimes('en-us', text, speed=1.0, pitch=50)
    plain, plain_rate = speech_engines.Speak('espeak-ng', 'en-us', text, speed=1.0, pitch=50)
    np.testing.assert_array_equal(samples, plain)
    self.assertEqual(rate, plain_rate)
    self.assertLen(starts, 8)
    known = [start for start in starts if start is not None]
    self.assertGreater(len(known), 5)
    self.assertEqual(known, sorted(known))
    self.assertLess(known[-1], len(samples) / rate)

  def test_a_delay_of_all_words_is_measured(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    with open(folder + '/text.txt', 'w', encoding='utf-8') as f:
      f.write('Turn left at the big house.\nOne more sentence.\n')
    spoken = [(words, starts) for words, starts, *_ in word_times._Spoken(folder + '/text.txt', 9)]
    self.enter_context(mock.patch.object(api, 'load', lambda *args, **kwargs: _Model(spoken)))
    out = io.StringIO()
    arguments = [folder, f'--input={folder}/text.txt', f'--output={folder}/out.json']
    with contextlib.redirect_stdout(out):
      self.assertEqual(word_times.Main(['word_times', *arguments]), 0)
    self.assertRegex(out.getvalue(), r'(?m)^starts: count \d+, mean 80, median 80, spread 0, ')
    self.assertRegex(out.getvalue(), r'(?m)^\d of 9 words, 2 sentences; errors in ms')
    with open(folder + '/out.json', encoding='utf-8') as f:
      self.assertEqual(json.load(f)['ends_ms']['mean'], 80.0)


if __name__ == '__main__':
  absltest.main()
