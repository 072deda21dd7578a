"""The server over HTTP: what it answers, what it refuses and how, whom it lets in, what it counts."""

import concurrent.futures
import os
import re
import tempfile
import time

from absl.testing import absltest

from fm_lingvo import errors
from tests import serving_case
from tools.serving import access
from tools.serving import limits
from tools.transcription import transcript_formats

_PATH = '/v1/audio/transcriptions'


def _Samples(text, name):
  """The samples of a metric: labels -> value."""
  found = re.findall(rf'(?m)^{name}(?:\{{(.*)\}})? (\S+)$', text)
  return {labels: float(value) for labels, value in found}


class TranscriptionTest(serving_case.ServingCase):
  def test_every_format_says_what_the_model_says(self):
    client = self.Client()
    sound = serving_case.Spoken(9.5)
    expected = serving_case.Model(self.recognizer).transcribe(sound, 16000)
    self.assertGreater(expected.windows, 1)
    answers = {
      kind: self.Ask(client, serving_case.Wav(sound), response_format=kind)
      for kind in ('json', 'text', 'srt', 'vtt', 'verbose_json')
    }
    for answer in answers.values():
      self.assertEqual(answer.status_code, 200, answer.text)
    self.assertEqual(answers['json'].json(), {'text': expected.text, 'usage': {'type': 'duration', 'seconds': 10}})
    self.assertEqual(self.Ask(client, serving_case.Wav(sound)).text, answers['json'].text)
    self.assertEqual(answers['text'].text, expected.text + '\n')
    self.assertEqual(answers['srt'].text, transcript_formats.Format(expected, 'srt'))
    self.assertEqual(answers['vtt'].text, transcript_formats.Format(expected, 'vtt'))
    self.assertStartsWith(answers['vtt'].headers['content-type'], 'text/vtt')
    self.assertEqual(answers['vtt'].text.count(' --> '), answers['srt'].text.count(' --> '))
    verbose = answers['verbose_json'].json()
    self.assertEqual((verbose['text'], verbose['duration'], verbose['language']), (expected.text, 9.5, 'und'))
    self.assertEqual(
      [(s['start'], s['end'], s['text']) for s in verbose['segments']],
      [(s.start, s.end, s.text) for s in expected.segments],
    )
    self.assertNotIn('words', verbose)

  def test_timestamps_are_of_words_segments_or_both_as_asked(self):
    client = self.Client()
    sound = serving_case.Wav(serving_case.Spoken(1))
    for asked in (['word'], ['segment'], ['word', 'segment']):
      row = self.Ask(
        client, sound, response_format='verbose_json', language='en', **{'timestamp_granularities[]': asked}
      ).json()
      self.assertEqual(('words' in row, 'segments' in row), ('word' in asked, 'segment' in asked))
      self.assertEqual(row['language'], 'en')
    self.assertEqual([w['start'] for w in row['words']], [0.0, 0.25, 0.5, 0.75])
    self.assertCountEqual(
      row['segments'][0],
      'id seek start end text tokens temperature avg_logprob compression_ratio no_speech_prob'.split(),
    )

  def test_the_extension_tells_headerless_formats_and_content_all_others(self):
    client = self.Client()
    raw = bytes(range(256)) * 250
    self.assertEqual(self.Ask(client, raw, 'call.g722').status_code, 200)
    self.assertProblem(self.Ask(client, b'plain text ' * 50, 'call.wav'), 400, 'not_audio', '^file: not_audio: ')
    self.assertEqual(self.Ask(client, serving_case.Wav(serving_case.Spoken(1)), 'a.mp3/../b').status_code, 200)

  def test_a_recording_that_cannot_be_read_is_the_clients_error_in_a_line(self):
    client = self.Client(max_audio_seconds=5)
    wav = serving_case.Wav(serving_case.Spoken(6))
    for sound, status, code in (
      (b'', 400, 'empty'),
      (b'nothing of the kind' * 100, 400, 'not_audio'),
      (wav, 413, 'too_long'),
    ):
      error = self.assertProblem(self.Ask(client, sound), status, code, f'^file: {code}: ')
      self.assertEqual((error['type'], error['param']), ('invalid_request_error', 'file'))
    for form in ('json', 'verbose_json'):
      row = self.Ask(client, wav[: len(wav) // 2], response_format=form).json()
      self.assertStartsWith(row['damage'], 'the file is cut off')

  def test_fields_that_cannot_be_used_are_refused_and_none_is_ignored(self):
    client = self.Client(language='en')
    sound = serving_case.Wav(serving_case.Spoken(1))
    for fields, param, message in (
      (dict(response_format='jsno'), 'response_format', "'jsno'; expected one of json, .*did you mean json"),
      (dict(temperature='0.5'), 'temperature', "'0.5': nothing is sampled; expected 0"),
      (dict(temperature='warm'), 'temperature', 'expected 0'),
      (dict(prompt='Names: Ada'), 'prompt', 'not supported'),
      (dict(stream='true'), 'stream', 'use the WebSocket'),
      (dict(language='de'), 'language', "'de': the model transcribes 'en'"),
      (dict(respnse_format='text'), 'respnse_format', 'no such field; did you mean response_format'),
      (dict(language='english'), 'language', "'english'; expected a code such as"),
      (dict(language=['en', 'en']), 'language', 'given twice'),
      ({'timestamp_granularities[]': 'char'}, 'timestamp_granularities[]', "'char'; expected word or segment"),
      ({'timestamp_granularities[]': 'word'}, 'timestamp_granularities[]', 'only with response_format=verbose_json'),
    ):
      error = self.assertProblem(self.Ask(client, sound, **fields), 400, 'invalid_value', message)
      self.assertEqual(error['param'], param)
    for fields in (dict(temperature='0'), dict(prompt=''), dict(stream='false'), dict(language='en-US')):
      self.assertEqual(self.Ask(client, sound, **fields).status_code, 200, fields)

  def test_a_form_that_is_none_or_without_its_file_is_refused(self):
    client = self.Client()
    wav = serving_case.Wav(serving_case.Spoken(1))
    self.assertProblem(client.post(_PATH, json={'model': 'run'}), 415, 'no_form', 'multipart/form-data')
    self.assertProblem(client.post(_PATH, files={'model': (None, 'run')}), 400, 'invalid_value', '^file: missing')
    self.assertProblem(client.post(_PATH, files={'audio': ('a', wav)}), 400, 'invalid_value', '^audio: a file in')
    unnamed = client.post(_PATH, files={'file': (None, wav)})
    self.assertProblem(unnamed, 400, 'invalid_value', '^file: a part without filename="...";')
    two = [('file', ('a', wav)), ('file', ('b', wav))]
    self.assertProblem(client.post(_PATH, files=two), 400, 'invalid_value', 'a second file')
    kind = {'content-type': 'multipart/form-data; boundary=b'}
    for body in (b'--b\r\nnonsense', b'no boundary', b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue'):
      self.assertProblem(client.post(_PATH, content=body, headers=kind), 400, 'malformed_form', '^malformed form')
    many = [('x' * 9, (None, '1')) for _ in range(65)]
    self.assertProblem(client.post(_PATH, files=many), 400, 'malformed_form', 'more than 64 fields')
    self.assertProblem(client.post(_PATH, files={'a': (None, 'x' * 70000)}), 400, 'invalid_value', '^a: more than')

  def test_a_fault_of_the_server_is_not_told_but_for_that(self):
    client = self.Client()
    self.recognizer.error = RuntimeError('a secret')
    self.assertProblem(self.Ask(client, serving_case.Wav(serving_case.Spoken(1))), 500, 'failed', '^the server failed')
    self.recognizer.error = None
    self.assertEqual(self.Ask(client, serving_case.Wav(serving_case.Spoken(1))).status_code, 200)

  def test_files_are_deleted_whatever_happens(self):
    with tempfile.TemporaryDirectory() as folder:
      self.addCleanup(setattr, tempfile, 'tempdir', tempfile.tempdir)
      tempfile.tempdir = folder
      client = self.Client(max_upload_mb=0.2)
      wav = serving_case.Wav(serving_case.Spoken(1))
      for sound, fields in ((wav, {}), (b'x', {}), (wav, dict(prompt='p')), (bytes(300000), {})):
        self.Ask(client, sound, **fields)
      self.assertEmpty(os.listdir(folder))


class ModelsTest(serving_case.ServingCase):
  def test_models_are_listed_and_named(self):
    models = {name: serving_case.Model(serving_case.Recognizer(), name) for name in ('first', 'second')}
    client = self.Client(models=models)
    rows = client.get('/v1/models').json()
    self.assertEqual((rows['object'], [row['id'] for row in rows['data']]), ('list', ['first', 'second']))
    self.assertEqual(client.get('/v1/models/second').json(), rows['data'][1])
    self.assertProblem(client.get('/v1/models/frist'), 404, 'model_not_found', 'did you mean first')
    sound = serving_case.Wav(serving_case.Spoken(1))
    self.assertEqual(self.Ask(client, sound, model='second').status_code, 200)
    self.assertEqual([len(model.recognizer.batches) for model in models.values()], [0, 1])
    self.assertProblem(self.Ask(client, sound, model='whisper-1'), 404, 'model_not_found', "no model 'whisper-1'")
    error = self.assertProblem(client.post(_PATH, files={'file': sound}), 400, 'invalid_value', 'model: missing')
    self.assertEqual(error['param'], 'model')

  def test_a_model_is_as_old_as_its_weights(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    for checkpoint, name in (('ckpt-00000003', 'ckpt-00000003.index'), ('model.safetensors', 'model.safetensors')):
      path = os.path.join(folder, name)
      with open(path, 'wb'):
        os.utime(path, (0, 1_600_000_000))
      model = serving_case.Model(serving_case.Recognizer())
      model._run.checkpoint = os.path.join(folder, checkpoint)
      self.assertEqual(self.Client(models={'run': model}).get('/v1/models/run').json()['created'], 1_600_000_000)

  def test_the_only_model_need_not_be_named(self):
    client = self.Client()
    sound = serving_case.Wav(serving_case.Spoken(1))
    self.assertEqual(client.post(_PATH, files={'file': sound}).status_code, 200)

  def test_models_are_closed_at_the_end(self):
    recognizer = serving_case.Recognizer()
    self.Client(recognizer)
    self.doCleanups()
    self.assertTrue(recognizer.is_closed)


class LimitsTest(serving_case.ServingCase):
  def test_an_upload_that_is_too_large_is_refused_whether_it_says_so_or_not(self):
    client = self.Client(max_upload_mb=0.1)
    large = serving_case.Wav(serving_case.Spoken(4))
    self.assertProblem(self.Ask(client, large), 413, 'too_large', 'more than 0.1 MB')
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    pieces = iter([head, *[bytes(10000)] * 20])
    kind = {'content-type': 'multipart/form-data; boundary=b'}
    self.assertProblem(client.post(_PATH, content=pieces, headers=kind), 413, 'too_large', 'more than 0.1 MB')

  def test_requests_beyond_the_queue_are_told_to_come_again_and_the_others_are_answered(self):
    client = self.Client(max_queue=3)
    self.recognizer.go.clear()
    sound = serving_case.Wav(serving_case.Spoken(1))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
      jobs = [pool.submit(self.Ask, client, sound) for _ in range(8)]
      done = concurrent.futures.wait(jobs, 10, concurrent.futures.FIRST_COMPLETED).done
      while len(done) < 5:
        done = {job for job in jobs if job.done()}
        time.sleep(0.005)
      self.recognizer.go.set()
      answers = [job.result() for job in jobs]
    self.assertCountEqual([a.status_code for a in answers], [200] * 3 + [429] * 5)
    for answer in answers:
      if answer.status_code == 429:
        self.assertGreaterEqual(int(answer.headers['retry-after']), 1)
        self.assertEqual(self.assertProblem(answer, 429, 'queue_full', 'try again')['type'], 'rate_limit_error')

  def test_requests_at_the_same_time_share_batches(self):
    client = self.Client(max_wait_ms=200)
    sounds = [serving_case.Spoken(1 + i / 4, i) for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
      answers = list(pool.map(lambda s: self.Ask(client, serving_case.Wav(s)), sounds))
    self.assertLess(len(self.recognizer.batches), 6)
    model = serving_case.Model(serving_case.Recognizer())
    self.assertEqual([a.json()['text'] for a in answers], [model.transcribe(s, 16000).text for s in sounds])

  def test_a_request_that_takes_too_long_ends_with_504_and_leaves_its_place(self):
    client = self.Client(timeout_seconds=0.3, max_queue=1)
    self.recognizer.go.clear()
    sound = serving_case.Wav(serving_case.Spoken(1))
    self.assertProblem(self.Ask(client, sound), 504, 'timeout', 'not done within 0.3 s')
    self.assertProblem(self.Ask(client, sound), 504, 'timeout', 'not done within 0.3 s')
    self.assertEqual(self.recognizer.batches, [1])  # The second one waited behind it, and was taken out.
    self.recognizer.go.set()
    self.assertEqual(self.Ask(client, sound).status_code, 200)

  def test_bounds_out_of_range_are_refused(self):
    for name in ('max_upload_mb', 'max_queue', 'max_batch', 'timeout_seconds'):
      with self.assertRaisesRegex(errors.ConfigError, f'^--{name}=-1: expected >= '):
        limits.Limits(**{name: -1})
    with self.assertRaisesRegex(errors.ConfigError, 'grace_seconds=inf: expected .* finite'):
      limits.Limits(grace_seconds=float('inf'))


class AccessTest(serving_case.ServingCase):
  def test_only_a_token_lets_in_but_for_what_is_open_to_all(self):
    client = self.Client(rules=access.Access(('one', 'two'), hosts=None))
    sound = serving_case.Wav(serving_case.Spoken(1))
    for headers in ({}, {'Authorization': 'Bearer three'}, {'Authorization': 'one'}, {'Authorization': 'Bearer'}):
      for answer in (
        self.Ask(client, sound, headers=headers),
        client.get('/v1/models', headers=headers),
        client.get('/metrics', headers=headers),
        client.get('/no/such/path', headers=headers),
      ):
        self.assertProblem(answer, 401, 'invalid_api_key', 'Authorization: Bearer TOKEN')
        self.assertEqual(answer.headers['www-authenticate'], 'Bearer')
      for path in ('/', '/health', '/ready'):
        self.assertEqual(client.get(path, headers=headers).status_code, 200)
    for token in ('one', 'two'):
      self.assertEqual(self.Ask(client, sound, headers={'Authorization': f'Bearer {token}'}).status_code, 200)

  def test_without_a_token_pages_of_other_origins_and_other_host_names_are_refused(self):
    client = self.Client(rules=access.Access(origins=['https://good.example']))
    base = {'host': 'localhost:8000'}
    for headers, status in (
      (base, 200),
      ({'host': '127.0.0.1:8000'}, 200),
      ({'host': '[::1]:8000'}, 200),
      ({'host': 'evil.example'}, 403),
      ({'host': '127.0.0.1.evil.example'}, 403),
      ({**base, 'origin': 'http://localhost:8000'}, 200),
      ({**base, 'origin': 'https://good.example'}, 200),
      ({**base, 'origin': 'https://evil.example'}, 403),
      ({**base, 'origin': 'http://localhost:9000'}, 403),
      ({**base, 'origin': 'null'}, 403),
      ({**base, 'origin': 'http://['}, 403),
    ):
      answer = client.get('/v1/models', headers=headers)
      self.assertEqual(answer.status_code, status, headers)
      if status == 403:
        self.assertEqual(answer.json()['error']['type'], 'permission_error')

  def test_scripts_of_other_origins_may_read_answers_only_if_allowed(self):
    origin = {'origin': 'https://good.example'}
    token = {'Authorization': 'Bearer t', **origin}
    for origins, allowed in (((), None), (('https://good.example',), 'https://good.example')):
      client = self.Client(rules=access.Access(('t',), hosts=None), origins=origins)
      self.assertEqual(client.get('/v1/models', headers=token).headers.get('access-control-allow-origin'), allowed)
      refused = client.get('/v1/models', headers=origin)
      self.assertEqual((refused.status_code, refused.headers.get('access-control-allow-origin')), (401, allowed))
    asked = {**origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization'}
    self.assertEqual(client.options(_PATH, headers=asked).status_code, 200)
    asked['origin'] = 'https://evil.example'
    self.assertEqual(client.options(_PATH, headers=asked).status_code, 400)

  def test_tokens_are_read_from_a_file(self):
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as f:
      f.write('# of the first team\nabc\n\n  def  \n')
      f.flush()
      self.assertEqual(access.ReadTokens(f.name), ('abc', 'def'))
      f.write('two words\n')
      f.flush()
      with self.assertRaisesRegex(errors.ConfigError, 'without spaces$') as raised:
        access.ReadTokens(f.name)
      self.assertNotIn('two', str(raised.exception))
    with self.assertRaisesRegex(errors.ConfigError, r'--token_file=.*cannot be read \(No such file'):
      access.ReadTokens(f.name)


class OthersTest(serving_case.ServingCase):
  def test_unknown_paths_and_methods_are_errors_of_the_same_form(self):
    client = self.Client()
    self.assertProblem(client.post('/v1/audio/translations'), 404, 'not_found', 'POST /v1/audio/translations')
    self.assertProblem(client.get(_PATH), 405, 'not_found', 'Method Not Allowed')

  def test_the_page_runs_its_own_script_and_loads_nothing_from_elsewhere(self):
    answer = self.Client().get('/')
    self.assertIn("default-src 'none'; script-src 'sha256-", answer.headers['content-security-policy'])
    self.assertNotRegex(answer.text, r'(src|href)=|https?://|import\(')

  def test_health_and_readiness(self):
    client = self.Client()
    self.assertEqual(client.get('/ready').json(), {'status': 'ready', 'models': ['run']})
    client.portal.call(self.server.End, 1.0)
    self.assertEqual((client.get('/health').status_code, client.get('/ready').status_code), (200, 503))
    answer = self.Ask(client, serving_case.Wav(serving_case.Spoken(1)))
    self.assertProblem(answer, 503, 'ending', 'being stopped')

  def test_metrics_count_every_answer_once(self):
    client = self.Client(max_audio_seconds=5)
    sound = serving_case.Wav(serving_case.Spoken(2))
    for wav in (sound, sound, b'x', serving_case.Wav(serving_case.Spoken(6))):
      self.Ask(client, wav)
    client.get('/a')
    client.get('/b')
    text = client.get('/metrics').text
    self.assertEqual(
      _Samples(text, 'fm_serve_requests_total'),
      {
        f'path="{_PATH}",status="200"': 2,
        f'path="{_PATH}",status="400"': 1,
        f'path="{_PATH}",status="413"': 1,
        'path="other",status="404"': 2,
      },
    )
    self.assertEqual(_Samples(text, 'fm_serve_audio_seconds_total'), {'kind="file",model="run"': 4.0})
    self.assertEqual(_Samples(text, 'fm_serve_batch_windows_sum'), {'model="run"': 2})
    self.assertEqual(_Samples(text, 'fm_serve_requests_running'), {'': 0})
    self.assertGreater(_Samples(text, 'process_resident_memory_bytes')[''], 1e6)


if __name__ == '__main__':
  absltest.main()
