"""tools.serve on a run, as a process with TensorFlow: what it answers, and what the page says of it.

Builds graphs and starts processes: that answers are the model's has no other proof.
"""

import concurrent.futures
import contextlib
import io
import json
import os
import re
import subprocess
import tempfile
from unittest import mock

import openai
import pytest
from absl.testing import absltest

import fm_lingvo
from fm_lingvo.inference import graph_mode
from tests import pages
from tests import process_case
from tests import run_case
from tests import serve_process
from tests import serving_case
from tests import tiny_data
from tools.bench import load_clients
from tools.bench import serve_load
from tools.transcription import transcript_formats


@pytest.mark.slow
class RunTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    stack = contextlib.ExitStack()
    cls.addClassCleanup(stack.close)
    cls.folder = stack.enter_context(tempfile.TemporaryDirectory())
    cls.run_folder = f'{cls.folder}/runs/adapted'
    with graph_mode.GraphMode():
      run_case.MakeRun(
        cls.run_folder,
        'asr.AdapterFinetune',
        'nowhere',
        'transducer.max_labels_per_frame = 2.0',
        'task.encoder.adapters = ["target"]',
        'AdapterFinetune.adapter_dim = 4',
        'AdapterFinetune.init_from = "gone"',
        'task.encoder.causal = True',
        'task.encoder.atten_left_context = 32',
        'task.encoder.atten_right_context = 0',
        'task.frontend.normalization = "global"',
      )
    cls.sounds = [tiny_data.Waveform(seconds, i) for i, seconds in enumerate((1.5, 2.5, 1.1, 9.0, 3.0, 1.5))]
    os.mkdir(f'{cls.folder}/my_audio')
    for i, sound in enumerate(cls.sounds):
      with open(f'{cls.folder}/my_audio/{i}.wav', 'wb') as f:
        f.write(serving_case.Wav(sound))
    with fm_lingvo.load(cls.run_folder, adapter='target') as model:
      cls.expected = [model.transcribe(sound, 16000) for sound in cls.sounds]
      with model.stream() as stream:
        events = [*stream.accept(cls.sounds[0], 16000), *stream.finish()]
      cls.finals = [event.text for event in events if event.to_dict()['type'] == 'final']
    # As `python -m tools.serve runs/adapted`, on a free port, and under a second name.
    command = ['tools.serve', cls.run_folder, f'other={cls.run_folder}', '--adapter=target', '--port=0']
    cls.server = stack.enter_context(serve_process.Server([*command, '--max_wait_ms=50']))

  def test_answers_are_those_of_the_model_for_requests_at_the_same_time(self):
    client = openai.OpenAI(base_url=f'{self.server.url}/v1', api_key='none')
    self.assertEqual([m.id for m in client.models.list().data], ['adapted', 'other'])

    def _Ask(job):
      model, sound = job
      wav = ('a.wav', serving_case.Wav(sound))
      return client.audio.transcriptions.create(file=wav, model=model, response_format='verbose_json')

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
      for name in ('adapted', 'other'):
        found = list(pool.map(_Ask, [(name, sound) for sound in self.sounds]))
        self.assertEqual([f.text for f in found], [e.text for e in self.expected])
        starts = [s.start for e in self.expected for s in e.segments]
        self.assertEqual([s.start for f in found for s in serving_case.Segments(f)], starts)
    windows = load_clients.Metric(self.server.url, 'fm_serve_batch_windows_sum')
    batches = load_clients.Metric(self.server.url, 'fm_serve_batch_windows_count')
    self.assertLess(sum(batches.values()), sum(windows.values()))

  def test_the_commands_and_examples_of_the_page_run(self):
    page = pages.Read('docs/serving.md').replace('http://127.0.0.1:8000', self.server.url)
    page = page.replace('ws://127.0.0.1:8000', self.server.url.replace('http', 'ws'))
    commands = re.findall(r'(?m)^curl .*$', page)
    outputs = []
    for command in commands:
      done = subprocess.run(['bash', '-c', command], cwd=self.folder, capture_output=True, text=True, check=False)
      self.assertEqual(done.returncode, 0, command)
      outputs.append(done.stdout)
    self.assertEqual(json.loads(outputs[0])['text'], self.expected[0].text)
    self.assertEqual(outputs[1], transcript_formats.Format(self.expected[0], 'srt'))
    self.assertEqual(json.loads(outputs[2])['data'][0]['id'], 'adapted')
    self.addCleanup(os.chdir, os.getcwd())
    os.chdir(self.folder)
    printed = []
    for block in re.findall(r'(?ms)^```python\n(.*?)^```$', page):
      out = io.StringIO()
      with contextlib.redirect_stdout(out):
        exec(compile(block, block.partition('\n')[0], 'exec'), {})
      printed.append(out.getvalue().splitlines())
    client, live = printed
    self.assertEqual(client[0], self.expected[0].text)
    self.assertStartsWith(client[1], '1.5 [')
    self.assertEqual([line.strip() for line in live[:1] + live[-1:]], ['ready', 'end'])
    self.assertEqual([line[len('final ') :] for line in live if line.startswith('final ')], self.finals)

  def test_the_load_s_figures_are_told_and_nothing_is_lost(self):
    out = io.StringIO()
    command = [self.run_folder, f'{self.folder}/my_audio', '--clients=1,8', '--requests=40', '--every=8']
    limits = ['--server_flags=--max_upload_mb=1 --max_queue=4', '--large_bytes=2000000']
    with contextlib.redirect_stdout(out), mock.patch.dict(os.environ, process_case.Environment()):
      self.assertEqual(serve_load.Main(['serve_load', *command, *limits]), 0, out.getvalue())
    self.assertRegex(out.getvalue(), r'1 clients: 40 sent = \d+ answered \+ 5 with 413 refused .* 0 failed \+ 0 lost')
    # A full queue refuses some of the large ones first.
    self.assertRegex(
      out.getvalue(), r'8 clients: 40 sent = \d+ answered \+ .* with 4(13|29).* refused .* 0 failed \+ 0 lost'
    )
    self.assertIn('6 recordings, 0 with more than one transcript', out.getvalue())

  def test_z_ends_in_order(self):
    self.assertEqual((self.server.End(), self.server.Stderr()), (143, ''))


if __name__ == '__main__':
  absltest.main()
