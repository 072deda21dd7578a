"""The server's WebSocket: texts come while sound goes in, whatever the pieces; every fault is told and closes it."""

import re
import threading
import time
from unittest import mock

import numpy as np
from absl.testing import absltest

from tests import serving_case
from tools.serving import access
from tools.serving import limits
from tools.serving import process

_PATH = '/v1/audio/stream'
_START = {'type': 'start', 'model': 'run', 'format': 'pcm_s16le', 'sample_rate': 16000}


class StreamTest(serving_case.ServingCase):
  def Client(self, language=None, **options):
    recognizer = serving_case.Recognizer()
    model = serving_case.Model(recognizer, kind=serving_case.StreamingModel, language=language)
    return super().Client(recognizer, {'run': model}, **options)

  def _Until(self, socket, kind):
    """The messages up to the first of a kind."""
    messages = [socket.receive_json()]
    while messages[-1]['type'] != kind:
      messages.append(socket.receive_json())
    return messages

  def _Say(self, client, sound, size, dtype='<i2', **start):
    """The messages after a whole stream, sent in pieces of so many bytes."""
    with client.websocket_connect(_PATH) as socket:
      socket.send_json({**_START, **start})
      ready = socket.receive_json()
      self.assertEqual((ready['type'], ready['model']), ('ready', 'run'))
      content = sound.astype(dtype).tobytes()
      for i in range(0, len(content), size):
        socket.send_bytes(content[i : i + size])
      socket.send_json({'type': 'end'})
      messages = self._Until(socket, 'end')
      self.assertEqual(socket.receive()['code'], 1000)
    return messages

  def test_finals_are_the_same_for_any_pieces_and_format(self):
    client = self.Client()
    sound = serving_case.Spoken(3.5)
    whole = serving_case.Model(serving_case.Recognizer()).transcribe(sound, 16000).text
    for size in (333, 3200, 10**6):  # 333 bytes end within a sample.
      messages = self._Say(client, sound, size)
      self.assertEqual(' '.join(m['text'] for m in messages if m['type'] == 'final'), whole)
      self.assertEqual(messages[-1]['duration'], 3.5)
    self.assertGreater(sum(m['type'] == 'partial' for m in self._Say(client, sound, 3200)), 10)
    messages = self._Say(client, sound / 32768, 7999, '<f4', format='pcm_f32le')
    self.assertEqual(' '.join(m['text'] for m in messages if m['type'] == 'final'), whole)
    double = sound.repeat(2)
    messages = self._Say(client, double[:32000], 3200, sample_rate=32000)
    self.assertEqual(messages[-1]['duration'], 1.0)
    self.assertIn('fm_serve_streams_total{model="run",outcome="done"} 6.0', client.get('/metrics').text)

  def test_a_text_comes_before_the_stream_ends(self):
    with self.Client().websocket_connect(_PATH) as socket:
      socket.send_json(_START)
      socket.send_bytes(serving_case.Spoken(0.5).tobytes())
      self.assertEqual(socket.receive_json()['type'], 'ready')
      self.assertRegex(socket.receive_json()['text'], r'^word\w word\w$')

  def _Refused(self, client, first, status, code, message, headers=None, then=()):
    """Sends messages, expects an error and a close code."""
    with client.websocket_connect(_PATH, headers=headers or {}) as socket:
      for value in (first, *then):
        if isinstance(value, bytes):
          socket.send_bytes(value)
        elif isinstance(value, str):
          socket.send_text(value)
        elif value is not None:
          socket.send_json(value)
      error = self._Until(socket, 'error')[-1]['error']
      self.assertEqual(error['code'], code, error)
      self.assertRegex(error['message'], message)
      self.assertEqual(socket.receive()['code'], status)

  def test_what_is_not_the_protocol_is_told_and_closes_the_stream(self):
    client = self.Client(idle_seconds=0.3, max_audio_seconds=2, language='en')
    start = dict(_START)
    for first, then, code, message in (
      (b'\0\0', (), 'no_start', 'sound before the first message'),
      ('no json', (), 'not_json', 'not JSON'),
      ('[1]', (), 'not_json', 'no JSON object'),
      ({'type': 'begin'}, (), 'invalid_value', '\'begin\' in the first message; expected "start"'),
      ({**start, 'rate': 8000}, (), 'invalid_value', '^rate: no such key'),
      ({**start, 'format': 'mp3'}, (), 'invalid_value', "'mp3'; expected one of pcm_s16le"),
      ({**start, 'sample_rate': '16000'}, (), 'invalid_value', 'a whole number from 1000 to 768000'),
      ({**start, 'sample_rate': 10**9}, (), 'invalid_value', 'a whole number from 1000 to 768000'),
      ({**start, 'language': 'de'}, (), 'invalid_value', "'de': the model transcribes 'en'"),
      ({**start, 'model': 'rnu'}, (), 'model_not_found', 'did you mean run'),
      ({**start, 'model': ['run']}, (), 'invalid_value', r"^model: \['run'\]; expected one of run$"),
      ('[' * 100000, (), 'not_json', 'not JSON'),
      ('{"type": "start", "\\ud800": 1}', (), 'invalid_value', 'no such key'),
      (start, (b'abc', {'type': 'end'}), 'odd_end', 'the sound ends within a sample of 2 bytes'),
      (start, ({'type': 'stop'},), 'invalid_value', "'stop'; expected frames of sound"),
      (start, (), 'idle', 'no message for 0.3 s'),
    ):
      self._Refused(client, first, 1008, code, message, then=then)
    nan = np.full([100], np.nan, '<f4').tobytes()
    self._Refused(client, {**start, 'format': 'pcm_f32le'}, 1008, 'corrupt', 'stream: corrupt: samples', then=(nan,))
    self._Refused(client, start, 1009, 'too_long', 'more than 2 s', then=(bytes(80000),))

  def test_a_model_that_cannot_stream_says_so(self):
    client = super().Client()
    self.assertFalse(client.get('/v1/models').json()['data'][0]['streaming'])
    self._Refused(client, _START, 1008, 'cannot_stream', 'sees what comes later')

  def test_no_more_streams_than_allowed(self):
    client = self.Client(max_streams=1)
    self.assertTrue(client.get('/v1/models').json()['data'][0]['streaming'])
    with client.websocket_connect(_PATH) as socket:
      socket.send_json(_START)
      socket.receive_json()
      self._Refused(client, _START, 1013, 'too_many_streams', '1 streams are open')
    self._Say(client, serving_case.Spoken(1), 3200)

  def test_a_token_is_in_the_header_or_in_the_first_message(self):
    client = self.Client(rules=access.Access(('secret',), hosts=None))
    self._Refused(client, _START, 1008, 'invalid_api_key', 'no token, or a wrong one')
    for token in ('wrong', '\ud800', 1):
      self._Refused(client, {**_START, 'token': token}, 1008, 'invalid_api_key', 'no token')
    for headers, start in (({'Authorization': 'Bearer secret'}, _START), ({}, {**_START, 'token': 'secret'})):
      with client.websocket_connect(_PATH, headers=headers) as socket:
        socket.send_json(start)
        self.assertEqual(socket.receive_json()['type'], 'ready')

  def test_without_a_token_pages_of_other_origins_are_refused(self):
    client = self.Client(rules=access.Access())
    headers = {'host': 'localhost', 'origin': 'https://evil.example'}
    self._Refused(client, None, 1008, 'wrong_origin', 'evil.example', headers=headers)
    with client.websocket_connect(_PATH, headers={'host': 'localhost', 'origin': 'http://localhost'}) as socket:
      socket.send_json(_START)
      self.assertEqual(socket.receive_json()['type'], 'ready')

  def test_a_client_that_goes_is_forgotten(self):
    client = self.Client()
    with client.websocket_connect(_PATH) as socket:
      socket.send_json(_START)
      socket.receive_json()
    deadline = time.monotonic() + 5
    while 'streams_open 0.0' not in (text := client.get('/metrics').text) and time.monotonic() < deadline:
      time.sleep(0.01)
    self.assertRegex(text, re.escape('fm_serve_streams_total{model="run",outcome="gone"} 1.0'))

  def test_no_ping_ends_a_stream_whose_sound_waits(self):
    self.Client()
    with mock.patch.object(process, '_Process') as made:
      process.Serve(self.server, None, limits.Limits(), access_log=False)
    # A client's answer would stand behind the sound, for longer than the 20 s that uvicorn waits for it.
    self.assertIsNone(made.call_args.args[0].ws_ping_interval)

  def test_a_server_that_ends_gives_streams_what_was_heard(self):
    client = self.Client()
    with client.websocket_connect(_PATH) as socket:
      socket.send_json(_START)
      socket.send_bytes(serving_case.Spoken(0.75).tobytes())
      self._Until(socket, 'partial')
      ending = threading.Thread(target=client.portal.call, args=(self.server.End, 5.0))
      ending.start()
      messages = self._Until(socket, 'end')
      self.assertEqual(messages[0]['type'], 'final')
      self.assertLen(messages[0]['text'].split(), 3)
      self.assertEqual(socket.receive()['code'], 1012)
      ending.join()
    self._Refused(client, None, 1012, 'ending', 'being stopped')

  def test_a_fault_of_the_model_is_told_and_closes_the_stream(self):
    client = self.Client()
    with self.assertRaises(RuntimeError):  # Of the test's client; a server writes it to its log.
      with client.websocket_connect(_PATH) as socket:
        socket.send_json(_START)
        self.recognizer.error = RuntimeError('a secret')
        socket.send_bytes(bytes(3200))
        error = self._Until(socket, 'error')[-1]['error']
        self.assertEqual((error['code'], error['message']), ('failed', 'the server failed; its log says why'))
        self.assertEqual(socket.receive()['code'], 1011)


if __name__ == '__main__':
  absltest.main()
