"""model.stream(): however its samples are cut, a stream finds what the model finds in the whole recording.

Builds graphs: recognition has no other proof. Two tiny runs, a transducer and a CTC model, serve all tests.
"""

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import os
import shutil
import tempfile
import threading
from unittest import mock

import numpy as np
from absl.testing import absltest

import fm_lingvo
from fm_lingvo import errors
from fm_lingvo.inference import graph_mode
from fm_lingvo.inference import stream_events
from tests import run_case
from tests import tiny_data
from tools.bench import stream_latency

_PAUSE = 0.1  # Seconds; the words of a model with random weights have short pauses only.


def setUpModule():
  global _folder, _model, _ctc, _sound
  _folder = tempfile.mkdtemp()
  limit = 'transducer.max_labels_per_frame = 2.0'  # None at all: a stream does not know the length of its utterance.
  with graph_mode.GraphMode():
    run_case.MakeRun(f'{_folder}/transducer', 'asr.StreamingSupervised', 'nowhere', limit, blank_bias=9.0)
    run_case.MakeRun(f'{_folder}/ctc', 'asr.CtcProbe', 'nowhere', 'CtcProbe.streaming = True', 'CtcProbe.frame_ms = 80')
  _model = fm_lingvo.load(f'{_folder}/transducer', search=fm_lingvo.Search(beam_size=3))
  _ctc = fm_lingvo.load(f'{_folder}/ctc')
  _sound = np.concatenate([tiny_data.Waveform(1.3, 3), np.zeros([4000], np.int16), tiny_data.Waveform(1.111, 2)])


def tearDownModule():
  _model.close()
  _ctc.close()
  shutil.rmtree(_folder)


def _Events(model, pieces, rate=16000, **options):
  """(events, transcript) of a stream of pieces."""
  with model.stream(**options) as stream:
    events = [event for piece in pieces for event in stream.accept(piece, rate)]
    events += stream.finish()
    return events, stream.transcript()


def _Pieces(samples, seed, longest=6000):
  """Samples cut at random; some of the pieces are empty."""
  rng, start, pieces = np.random.RandomState(seed), 0, []
  while start < len(samples):
    size = rng.randint(0, longest) if rng.rand() < 0.7 else rng.randint(0, 3)
    pieces.append(samples[start : start + size])
    start += size
  return pieces


def _Labels(text):
  """A text without its spaces: a pause ends a word, wherever the model's own words end."""
  return text.replace(' ', '')


class StreamTest(absltest.TestCase):
  def _AssertSame(self, found, whole, places=3):
    self.assertEqual((found.text, found.duration), (whole.text, whole.duration))
    self.assertEqual([(w.text, w.start, w.end) for w in found.words], [(w.text, w.start, w.end) for w in whole.words])
    for a, b in zip(found.words, whole.words):
      self.assertAlmostEqual(a.probability, b.probability, places)
    self.assertAlmostEqual(found.score / max(1.0, abs(whole.score)), whole.score / max(1.0, abs(whole.score)), places)

  def test_the_latency_s_figures_are_of_the_steps_that_are_taken(self):
    measured = stream_latency.Measure(_model, _sound, beam_size=3, step_seconds=0.15)
    self.assertEqual(measured['step'], 160)  # Whole encoded frames.
    self.assertAlmostEqual(measured['waits for'], 0.175, 3)
    self.assertBetween(measured['median'], 0, measured['90 %'])
    with self.assertRaisesRegex(errors.ConfigError, 'expected more than 10 steps of 0.16 s'):
      stream_latency.Measure(_model, _sound[:16000], beam_size=3, step_seconds=0.15)

  def test_a_recording_that_cannot_be_read_is_one_line(self):
    with (
      mock.patch.object(os, 'sched_setaffinity'),
      contextlib.redirect_stderr(io.StringIO()) as err,
    ):
      self.assertEqual(stream_latency.Main(['stream_latency', 'run', '--audio=no/file.wav']), 2)
    self.assertRegex(err.getvalue(), r'^stream_latency: no/file.wav: missing.*\n$')

  def test_a_stream_equals_the_whole_recording(self):
    for model, beams in ((_model, (None,)), (_ctc, (None, 1))):
      for samples in (_sound, _sound[:9000], _sound[:900], _sound[:300]):
        whole = model.transcribe(samples, 16000)
        for beam_size in beams:
          for step_seconds in (0.16, 0.4):
            found = _Events(model, [samples], endpoint_seconds=None, beam_size=beam_size, step_seconds=step_seconds)[1]
            self._AssertSame(found, whole)
      self.assertGreater(len(model.transcribe(_sound, 16000).text), 2)

  def test_events_do_not_depend_on_how_the_samples_come(self):
    for model in (_model, _ctc):
      for endpoint in (None, _PAUSE):
        expected = _Events(model, [_sound], endpoint_seconds=endpoint)
        for seed in range(3):
          self.assertEqual(_Events(model, _Pieces(_sound, seed), endpoint_seconds=endpoint), expected)
        as_bytes = [
          piece for p in _Pieces(np.frombuffer(_sound.tobytes(), np.uint8), 7, 9000) for piece in [p.tobytes()]
        ]
        self.assertEqual(_Events(model, as_bytes, endpoint_seconds=endpoint), expected)
    one_by_one = _Events(_model, _sound[:4000, np.newaxis])
    self.assertEqual(one_by_one, _Events(_model, [_sound[:4000]]))

  def test_other_rates_types_and_channels_are_as_of_a_recording(self):
    for rate, samples in ((8000, _sound[::2]), (44100, _sound), (16000, (_sound / 32768.0).astype(np.float32))):
      whole = _model.transcribe(samples, rate)
      self._AssertSame(_Events(_model, _Pieces(samples, 1), rate, endpoint_seconds=None)[1], whole)
    two = np.stack([_sound, _sound], axis=1)
    self.assertEqual(_Events(_model, _Pieces(two, 2)), _Events(_model, [_sound]))

  def test_finals_end_at_pauses_and_never_change(self):
    events, transcript = _Events(_model, [_sound], endpoint_seconds=_PAUSE)
    finals = [e for e in events if isinstance(e, stream_events.Final)]
    self.assertGreater(len(finals), 1)
    self.assertGreater(len(events), len(finals))
    self.assertIs(events[-1], finals[-1])
    self.assertEqual(transcript.words, tuple(w for f in finals for w in f.words))
    self.assertEqual(transcript.text, ' '.join(f.text for f in finals))
    # The silence behind the last one has words in none.
    self.assertBetween(transcript.score, sum(f.score for f in finals) - 1.0, sum(f.score for f in finals) + 1e-6)
    for before, after in zip(finals, finals[1:]):
      self.assertGreaterEqual(after.start, before.start)
    for event in events:
      row = json.loads(event.to_json())
      self.assertEqual((row['type'], row['text']), (event.kind, event.text))
      self.assertEqual([w['word'] for w in row['words']], [w.text for w in event.words])
      if event.words:
        self.assertEqual((event.start, event.end), (event.words[0].start, event.words[-1].end))
    events, greedy = _Events(_model, [_sound], endpoint_seconds=_PAUSE, beam_size=1)
    finals = [e for e in events if isinstance(e, stream_events.Final)]
    self.assertGreater(len(finals), 1)
    for before, after in zip(finals, finals[1:]):
      self.assertGreaterEqual(round(after.start - before.end, 3), _PAUSE)
    whole = _Events(_model, [_sound], endpoint_seconds=None, beam_size=1)[1]
    self.assertEqual(_Labels(greedy.text), _Labels(whole.text))
    self.assertAlmostEqual(greedy.score, whole.score, delta=0.05)

  def test_a_reset_model_begins_as_with_a_new_recording(self):
    events, _ = _Events(_model, [_sound], endpoint_seconds=_PAUSE, reset=True)
    finals = [e for e in events if isinstance(e, stream_events.Final)]
    self.assertGreater(len(finals), 1)
    first = finals[0]
    # A step is 0.16 s: the first one that ends a pause behind the first final.
    step = next(n for n in range(1, 20) if round(n * 0.16 - first.end, 3) >= _PAUSE)
    rest = _Events(_model, [_sound[step * 2560 :]], endpoint_seconds=_PAUSE, reset=True)[0]
    texts = [e.text for e in rest if isinstance(e, stream_events.Final)]
    self.assertEqual(texts, [f.text for f in finals[1:]])

  def test_many_streams_at_once_are_as_one_after_the_other(self):
    sounds = [tiny_data.Waveform(1.0 + 0.1 * i, i) for i in range(6)]
    expected = [_Events(_model, [sound]) for sound in sounds]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
      found = list(pool.map(lambda i: _Events(_model, _Pieces(sounds[i], i)), range(6)))
    self.assertEqual(found, expected)
    streams = [_model.stream() for _ in sounds]  # In turns.
    for start in range(0, 30000, 1000):
      for stream, sound in zip(streams, sounds):
        stream.accept(sound[start : start + 1000], 16000)
    for stream, (_, transcript) in zip(streams, expected):
      stream.finish()
      self.assertEqual(stream.transcript(), transcript)

  def test_a_generator_of_chunks_is_read_as_its_events_are_asked_for(self):
    read = []

    def _Chunks():
      for number, piece in enumerate(_Pieces(_sound, 1)):
        read.append(number)
        yield piece, 16000

    events = _model.transcribe_stream(_Chunks())
    self.assertEqual(read, [])
    first = next(events)
    self.assertLess(len(read), len(_Pieces(_sound, 1)))
    self.assertEqual([first, *events], _Events(_model, [_sound])[0])
    self.assertEqual(
      list(_model.transcribe_stream(_Pieces(_sound, 1), 16000)), [first, *_Events(_model, [_sound])[0][1:]]
    )
    self.assertEqual(list(_model.transcribe_stream([])), [])

  def test_what_cannot_be_heard_is_said_in_a_line(self):
    stream = _model.stream()
    stream.accept(_sound[:100], 16000)
    for call, expected in (
      (lambda: stream.accept(_sound[:10], 8000), 'samples at 8000 Hz, 1 channel of int16: expected 16000 Hz'),
      (lambda: stream.accept([[['a']]], 16000), 'expected samples of int16, or of float'),
      (lambda: _model.stream().accept(_sound, 10), 'sampling_rate = 10: expected whole Hz from 1000'),
      (lambda: _model.stream().accept(np.array([np.nan, 0.0]), 16000), 'stream: corrupt: samples that are NaN'),
      (lambda: _model.stream(step_seconds=0), 'step_seconds = 0: expected > 0'),
      (lambda: _model.stream(step_seconds=1e9), r'step_seconds = 1e\+09: expected > 0, at most 60'),
      (lambda: _model.stream(step_seconds='1'), "step_seconds = '1': expected seconds, got str"),
      (lambda: _model.stream(beam_size=1.5), 'beam_size = 1.5: expected an integer, got float'),
      (lambda: _model.stream(reset='no'), "reset = 'no': expected True or False, got str"),
      (lambda: _model.stream(endpoint_seconds='1'), "endpoint_seconds = '1': expected seconds, or None, got str"),
      (lambda: _model.stream(endpoint_seconds=0), 'endpoint_seconds = 0: expected > 0, or None'),
      (lambda: _model.stream(beam_size=0), 'beam_size = 0: expected >= 1'),
      (lambda: _ctc.stream(beam_size=2), 'beam_size = 2: the head ctc takes the best label of each frame'),
      (lambda: list(_model.transcribe_stream([_sound])), 'a chunk without a sampling rate'),
    ):
      with self.subTest(expected), self.assertRaisesRegex(errors.ConfigError, expected) as e:
        call()
      self.assertNotIn('\n', str(e.exception))
    stream.finish()
    self.assertEqual(stream.finish(), [])
    with self.assertRaisesRegex(errors.ConfigError, 'the stream has ended; start another one'):
      stream.accept(_sound, 16000)

  def test_a_closed_model_ends_its_streams(self):
    model = fm_lingvo.load(_ctc.run)
    stream, running = model.stream(), threading.Event()

    def _Hear():
      with self.assertRaisesRegex(errors.ConfigError, 'the model is closed; load it again'):
        for _ in range(100_000):
          stream.accept(_sound[:3000], 16000)
          running.set()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
      heard = pool.submit(_Hear)
      self.assertTrue(running.wait(60))
      model.close()
      heard.result()
    with self.assertRaisesRegex(errors.ConfigError, 'the model is closed'):
      model.stream()

  def test_events_cannot_be_changed(self):
    event = _Events(_model, [_sound])[0][0]
    with self.assertRaises(dataclasses.FrozenInstanceError):
      event.text = ''


if __name__ == '__main__':
  absltest.main()
