"""A server whose model is real but for its recogniser, which reads words off the sound: no TensorFlow, no process."""

import contextlib
import dataclasses
import io
import threading
import time
import types
import wave

import numpy as np
from absl.testing import absltest
from starlette import testclient

from fm_lingvo import errors
from fm_lingvo.inference import api
from fm_lingvo.inference import transcript
from tools.serving import access
from tools.serving import app
from tools.serving import limits

_SECONDS = 0.25  # Of sound for each word.


def Spoken(seconds, seed=0, rate=16000):
  """Samples int16 [n] of which Recognizer makes seconds / 0.25 words."""
  words = np.random.RandomState(seed).randint(1, 26, [round(seconds / _SECONDS)])
  return np.repeat(words * 1000, round(rate * _SECONDS)).astype(np.int16)


def Wav(samples, rate=16000):
  """The bytes of a WAV file with samples int16 [n]."""
  out = io.BytesIO()
  with wave.open(out, 'wb') as f:
    f.setparams((1, 2, rate, 0, 'NONE', ''))
    f.writeframes(samples.astype('<i2').tobytes())
  return out.getvalue()


class Recognizer:
  """A word of each quarter of a second of sound, its loudness as letters; counts its batches."""

  def __init__(self, seconds=0.0):
    self.seconds = seconds  # Time that a batch takes.
    self.batches = []  # The number of windows of each.
    self.go = threading.Event()  # Cleared: batches wait for it.
    self.go.set()
    self.error = None  # Is raised in place of results.
    self.is_closed = False

  def Recognize(self, waveforms):
    self.batches.append(len(waveforms))
    self.go.wait(10)
    time.sleep(self.seconds)
    if self.error:
      raise self.error
    return [[self._Hypothesis(w)] for w in waveforms]

  def _Hypothesis(self, waveform):
    words = []
    size = round(16000 * _SECONDS)
    for i in range(len(waveform) // size):
      level = round(float(np.median(waveform[i * size : (i + 1) * size])) / 1000)
      words.append(transcript.Word('word' + chr(96 + max(1, min(26, level))), i * _SECONDS, (i + 1) * _SECONDS))
    return transcript.Hypothesis(' '.join(w.text for w in words), -float(len(words)), tuple(words))

  def Close(self):
    self.is_closed = True


@dataclasses.dataclass
class Event:
  """What a stream gives."""

  type: str
  text: str
  words: tuple = ()
  start: float = 0.0
  end: float = 0.0

  def to_dict(self):
    return dataclasses.asdict(self)


class Stream:
  """A partial text after each piece of sound, and a final one for each second."""

  def __init__(self, recognizer):
    self._recognizer = recognizer
    self._heard = np.zeros([0], np.int16)

  def close(self):
    pass

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def accept(self, samples, sampling_rate):
    if samples.dtype != np.int16:
      if np.isnan(samples).any():
        raise errors.AudioError('stream', 'corrupt', 'samples that are NaN')
      samples = (samples * 32768).astype(np.int16)
    self._heard = np.concatenate([self._heard, samples])
    finals = []
    while len(self._heard) >= sampling_rate:
      finals.append(self._Event('final', self._heard[:sampling_rate], sampling_rate))
      self._heard = self._heard[sampling_rate:]
    return [*finals, self._Event('partial', self._heard, sampling_rate)]

  def finish(self):
    return [self._Event('final', self._heard, 16000)] if len(self._heard) else []

  def _Event(self, kind, samples, rate):
    step = rate // 16000  # Of the tests' rates, multiples of 16 kHz.
    return Event(kind, self._recognizer.Recognize([samples[::step]])[0][0].text)


class FileModel(api.Model):
  """A model that transcribes files alone."""

  can_stream = False

  def stream(self):
    raise errors.ConfigError(f'{self.run}: its encoder sees what comes later; expected one that does not')


class StreamingModel(api.Model):
  """A model that hears sound live."""

  can_stream = True

  def stream(self):
    return Stream(self.recognizer)


def Model(recognizer, name='run', max_window=4.0, kind=FileModel, language=None):
  """An api.Model with a recogniser of a test."""
  run = types.SimpleNamespace(
    path=f'runs/{name}', checkpoint=f'runs/{name}/train/ckpt-00000003', adapter='none', language=language
  )
  return kind(run, recognizer, max_window)


def Segments(answer):
  """The segments of verbose_json; clients of openai before 1.40 leave them dicts."""
  return [types.SimpleNamespace(**s) if isinstance(s, dict) else s for s in answer.segments]


class ServingCase(absltest.TestCase):
  """`Client` starts a server."""

  def Client(self, recognizer=None, models=None, rules=None, origins=(), language=None, **bounds):
    """A client of a new server; it has one model, `run`, unless others are given."""
    self.recognizer = recognizer or Recognizer()
    models = models or {'run': Model(self.recognizer, language=language)}
    rules = rules or access.Access(hosts=None)
    self.server = app.Server(models, limits.Limits(**bounds), rules, origins)
    stack = contextlib.ExitStack()
    self.addCleanup(stack.close)
    return stack.enter_context(testclient.TestClient(self.server.app, raise_server_exceptions=False))

  def Ask(self, client, sound, name='a.wav', headers=None, **fields):
    """The answer to a request to transcribe."""
    data = {'model': 'run', **fields}
    return client.post('/v1/audio/transcriptions', files={'file': (name, sound)}, data=data, headers=headers)

  def assertProblem(self, answer, status, code, message):
    error = answer.json()['error']
    self.assertEqual((answer.status_code, error['code']), (status, code), error)
    self.assertRegex(error['message'], message)
    self.assertLen(error['message'].splitlines(), 1)
    self.assertCountEqual(error, ['message', 'type', 'param', 'code'])
    return error
