"""The server as a process: real clients, many of them at once, an end in order; tools.serve and its errors.

Starts processes: what a signal or a broken connection does is seen in no other way. The servers have no TensorFlow and
start in a second.
"""

import asyncio
import concurrent.futures
import contextlib
import glob
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from unittest import mock

import httpx
import openai
import pytest
import websockets
from absl.testing import absltest
from websockets.sync import client as websockets_client

from tests import pages
from tests import serve_process
from tests import serving_case
from tools import serve
from tools.bench import load_clients
from tools.transcription import transcript_formats

_FAKE = ['tests.fake_server']


def _Fake(batch_seconds=0.0, token=None, **limits):
  environ = {'BATCH_SECONDS': str(batch_seconds), 'LIMITS': json.dumps(limits)}
  return serve_process.Server(_FAKE, {**environ, **({'TOKEN': token} if token else {})})


def _Messages(connection):
  """All that comes until a WebSocket is closed."""
  messages = []
  with contextlib.suppress(websockets.ConnectionClosed):
    while True:
      messages.append(json.loads(connection.recv()))
  return messages


def _Main(*argv):
  out, err = io.StringIO(), io.StringIO()
  with (
    contextlib.redirect_stdout(out),
    contextlib.redirect_stderr(err),
    mock.patch.object(serve.interrupts, 'Raise'),
  ):
    code = serve.Main(['serve', *argv])
  return code, out.getvalue(), err.getvalue()


class UsageTest(absltest.TestCase):
  def test_what_cannot_be_served_is_refused_in_a_line_before_anything_is_loaded(self):
    self.enter_context(mock.patch.dict(os.environ))
    os.environ.pop('FM_SERVE_TOKEN', None)
    taken = self.enter_context(socket.create_server(('127.0.0.1', 0)))
    port = taken.getsockname()[1]
    for args, message in (
      (['a', 'b/a'], 'b/a: a is the name of a already; expected NAME=RUN'),
      (['run', '--host=0.0.0.0'], '--host=0.0.0.0: whoever reaches it could use it; expected --token_file'),
      (['run', '--port=65536'], r'--port=65536: expected a port in \[0, 65535\]'),
      (['run', f'--port={port}'], f'--host=127.0.0.1 --port={port}: cannot be served .Address already in use.'),
      (['run', '--host=no.such.host.invalid', '--no_token'], '--host=no.such.host.invalid .*cannot be served'),
      (['run', f'--host={"a" * 64}', '--no_token'], f'--host={"a" * 64} --port=8000: cannot be served .*label'),
      (['run', '--max_queue=0'], '--max_queue=0: expected >= 1'),
      (['run', '--allow_origin=*'], r'--allow_origin=\*: expected a token with it, or single origins'),
      (['run', '--allow_origin=https://a.b/'], '--allow_origin=https://a.b/: expected an origin without a path'),
      (['run', '--token_file=/no/such'], '--token_file=/no/such: cannot be read'),
    ):
      code, out, err = _Main(*args)
      self.assertEqual((code, out), (2, ''), args)
      self.assertRegex(err, f'^serve: {message}.*\n$')
      self.assertLen(err.splitlines(), 1)
    os.environ['FM_SERVE_TOKEN'] = ''  # As of a variable that is not set; every client could send an empty token.
    code, _, err = _Main('run', '--host=0.0.0.0')
    self.assertEqual((code, err.partition(',')[0]), (2, 'serve: FM_SERVE_TOKEN: expected at least one token'))
    os.environ['FM_SERVE_TOKEN'] = 'of ours'
    for args, message in (([], 'FM_SERVE_TOKEN: expected'), (['--no_token'], 'FM_SERVE_TOKEN')):
      code, _, err = _Main('run', *args)
      self.assertEqual(code, 2)
      self.assertIn(message, err)
      self.assertNotIn('of ours', err)

  def test_a_token_of_the_environment_lets_others_than_this_machine_in(self):
    with mock.patch.dict(os.environ, {'FM_SERVE_TOKEN': 'a-long-random-word'}):
      args = serve._Parser().parse_args(['runs/adapted', '--host=0.0.0.0'])
      self.assertEqual(serve._Tokens(args), ('a-long-random-word',))

  def test_a_missing_extra_is_named(self):
    program = 'import sys; sys.modules["starlette"] = None; from tools import serve; sys.exit(serve.Main(["", "run"]))'
    done = subprocess.run([sys.executable, '-c', program], cwd=pages.ROOT, capture_output=True, text=True, check=False)
    message = "serve: no module starlette: expected the extra serve, pip install 'fm_lingvo[serve]'\n"
    self.assertEqual((done.returncode, done.stdout, done.stderr), (2, '', message))

  def test_runs_have_the_names_of_their_folders_or_those_that_are_given(self):
    with tempfile.TemporaryDirectory() as folder:
      os.mkdir(f'{folder}/lr=0.1')
      self.assertEqual(
        serve._Runs(['runs/adapted/', 'en=runs/b', 'whisper-1=~/c', f'{folder}/lr=0.1']),
        {
          'adapted': 'runs/adapted/',
          'en': 'runs/b',
          'whisper-1': os.path.expanduser('~/c'),
          'lr=0.1': f'{folder}/lr=0.1',
        },
      )
    self.assertEqual(serve._Runs(['.']), {os.path.basename(os.getcwd()): '.'})

  def test_every_graph_has_run_before_the_first_client(self):
    # The first run of a graph takes seconds; a stream has a graph of its own.
    for kind, graphs in ((serving_case.FileModel, 1), (serving_case.StreamingModel, 2)):
      recognizer = serving_case.Recognizer()
      serve._WarmUp(serving_case.Model(recognizer, kind=kind))
      self.assertGreaterEqual(len(recognizer.batches), graphs)


@pytest.mark.slow
class ProcessTest(absltest.TestCase):
  def _Ask(self, url, sound, **options):
    return httpx.post(
      url + load_clients.PATH, files={'file': ('a.wav', serving_case.Wav(sound))}, timeout=60, **options
    )

  def test_openai_s_client_transcribes(self):
    with _Fake(token='secret', max_upload_mb=1.0) as server:
      client = openai.OpenAI(base_url=f'{server.url}/v1', api_key='secret', max_retries=0)
      self.assertEqual([m.id for m in client.models.list().data], ['live', 'files'])
      self.assertEqual(client.models.retrieve('files').owned_by, 'fm_lingvo')
      sound = serving_case.Spoken(6)
      expected = serving_case.Model(serving_case.Recognizer()).transcribe(sound, 16000)
      wav = ('a.wav', serving_case.Wav(sound))
      create = client.audio.transcriptions.create
      self.assertEqual(create(file=wav, model='files').text, expected.text)
      self.assertEqual(create(file=wav, model='files', response_format='text').strip(), expected.text)
      srt = create(file=wav, model='files', response_format='srt')
      self.assertEqual(srt, transcript_formats.Format(expected, 'srt'))
      self.assertStartsWith(create(file=wav, model='files', response_format='vtt'), 'WEBVTT')
      verbose = create(
        file=wav,
        model='files',
        response_format='verbose_json',
        **({} if openai.__version__ < '2' else {'timestamp_granularities': ['word', 'segment']}),
      )
      self.assertEqual((verbose.text, verbose.duration, verbose.language), (expected.text, 6.0, 'en'))
      self.assertEqual([s.start for s in serving_case.Segments(verbose)], [s.start for s in expected.segments])
      for error, options in (
        (openai.BadRequestError, dict(file=('a.wav', b'no sound'), model='files')),
        (openai.BadRequestError, dict(file=wav, model='files', temperature=0.7)),
        (openai.NotFoundError, dict(file=wav, model='whisper-1')),
        (openai.APIStatusError, dict(file=('a.wav', bytes(2 * 10**6)), model='files')),
      ):
        with self.assertRaises(error) as raised:
          create(**options)
        self.assertIsNotNone(raised.exception.code)
      self.assertEqual(raised.exception.status_code, 413)
      kind = {'Content-Type': 'multipart/form-data; boundary=b', 'Authorization': 'Bearer secret'}
      self.assertEqual(
        httpx.post(server.url + load_clients.PATH, content=b'no boundary', headers=kind).status_code, 400
      )
      with self.assertRaises(openai.AuthenticationError):
        openai.OpenAI(base_url=f'{server.url}/v1', api_key='wrong', max_retries=0).models.list()
      self.assertEqual((server.End(), server.Stderr()), (143, ''))

  def test_a_websocket_client_gets_texts_while_it_speaks(self):
    sound = serving_case.Spoken(3)
    whole = serving_case.Model(serving_case.Recognizer()).transcribe(sound, 16000).text
    with _Fake(batch_seconds=0.02) as server:
      address = server.url.replace('http', 'ws') + '/v1/audio/stream'
      with websockets_client.connect(address) as connection:
        connection.send(json.dumps({'type': 'start', 'model': 'live', 'sample_rate': 16000}))
        content = sound.tobytes()
        for i in range(0, len(content), 3200):  # All at once: the connection slows it down.
          connection.send(content[i : i + 3200])
        connection.send(json.dumps({'type': 'end'}))
        messages = _Messages(connection)
      self.assertEqual((messages[0]['type'], messages[-1]['type']), ('ready', 'end'))
      self.assertEqual(' '.join(m['text'] for m in messages if m['type'] == 'final'), whole)
      self.assertEqual(connection.close_code, 1000)
      with websockets_client.connect(address) as connection:
        connection.send(bytes((1 << 20) + 1))
        with self.assertRaisesRegex(Exception, '1009'):
          while True:
            connection.recv()
      self.assertEqual(server.Stderr(), '')

  def test_sigterm_finishes_what_runs_and_takes_no_more(self):
    for signum, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
      with _Fake(batch_seconds=1.0) as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(self._Ask, server.url, serving_case.Spoken(n), data={'model': 'files'}) for n in (1, 3, 9)]
        address = server.url.replace('http', 'ws') + '/v1/audio/stream'
        with websockets_client.connect(address) as connection:
          connection.send(json.dumps({'type': 'start', 'model': 'live'}))
          connection.send(serving_case.Spoken(0.5).tobytes())
          while load_clients.Metric(server.url, 'fm_serve_requests_running')[''] < 3:
            time.sleep(0.01)
          ended = pool.submit(server.End, signum)
          messages = _Messages(connection)
        self.assertEqual([m['type'] for m in messages[-2:]], ['final', 'end'])
        self.assertEqual(connection.close_code, 1012)
        self.assertEqual([job.result().status_code for job in jobs], [200] * 3)
        self.assertEqual((ended.result(), server.Stderr()), (code, ''))
        with self.assertRaises(httpx.ConnectError):
          httpx.get(server.url)

  def test_what_does_not_end_in_time_is_cut_and_told(self):
    # The wait for the stream is part of the time that the request has.
    with _Fake(batch_seconds=5.0, grace_seconds=3) as server, concurrent.futures.ThreadPoolExecutor(2) as pool:
      address = server.url.replace('http', 'ws') + '/v1/audio/stream'
      with websockets_client.connect(address) as connection:
        connection.send(json.dumps({'type': 'start', 'model': 'live'}))
        connection.recv()
        connection.send(serving_case.Spoken(0.5).tobytes())
        job = pool.submit(self._Ask, server.url, serving_case.Spoken(1), data={'model': 'files'})
        while load_clients.Metric(server.url, 'fm_serve_requests_running')[''] < 1:
          time.sleep(0.01)
        ended = pool.submit(server.End)
        self.assertEqual((_Messages(connection), connection.close_code), ([], 1012))
      self.assertEqual((job.result().status_code, job.result().json()['error']['code']), (503, 'ending'))
      self.assertEqual(ended.result(), 143)
      self.assertEqual(server.Stderr(), 'serve: Cancel 2 running task(s), timeout graceful shutdown exceeded\n')

  def test_nothing_is_lost_under_load_and_memory_is_bounded(self):
    sounds = [(f'{i}.wav', serving_case.Wav(serving_case.Spoken(1 + i, i))) for i in range(8)]
    model = serving_case.Model(serving_case.Recognizer())
    limits = dict(max_queue=12, max_upload_mb=4.0, max_batch=8)
    with _Fake(batch_seconds=0.05, **limits) as server:
      httpx.post(server.url + load_clients.PATH, files={'file': sounds[0]}, data={'model': 'files'})
      before, memory = load_clients.Statuses(server.url), server.Memory()
      counts = asyncio.run(
        load_clients.Load(server.url, sounds, clients=24, requests=140, every=7, large_bytes=5 * 10**6, model='files')
      )
      self.assertEqual((counts.failed, counts.lost), ([], 0))
      self.assertEqual(counts.sent, 140)
      self.assertGreater(counts.answered, 10)
      self.assertGreater(counts.refused[429], 0)
      self.assertGreater(counts.refused[413], 5)
      self.assertGreater(counts.gone, 5)
      while load_clients.Metric(server.url, 'fm_serve_requests_running')['']:
        time.sleep(0.05)
      statuses = load_clients.Statuses(server.url) - before
      # A client that has gone may have been answered, too: it did not see it.
      for status, seen in ((200, counts.answered), *counts.refused.items()):
        self.assertBetween(statuses[status], seen, seen + counts.gone)
      self.assertBetween(statuses.total(), counts.sent - counts.gone, counts.sent)
      self.assertEqual(set(statuses) - {200, 413, 429, 499}, set())
      for name, content in sounds:
        self.assertEqual(counts.texts.get(name, set()) - {model.transcribe(content).text}, set(), name)
      self.assertLess(server.Memory() - memory, 200e6)
      self.assertEmpty(glob.glob(os.path.join(server.folder, '*')))
      self.assertEqual((server.End(), server.Stderr()), (143, ''))


if __name__ == '__main__':
  absltest.main()
