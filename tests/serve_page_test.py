"""The server's page in a browser: files that are chosen or dropped, the microphone, live and not, tokens, errors.

Starts Chromium and a server without TensorFlow: what a page does is seen in a browser only.
"""

import base64
import contextlib
import os
import shutil
import tempfile
import unittest

import pytest
from absl.testing import absltest

from tests import serve_process
from tests import serving_case

try:
  from playwright import sync_api
except ImportError:
  sync_api = None

_CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
_DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true}));
}"""

_SLOW_PERMISSION = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (what) => {
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return ask(what);
  };
}"""


@pytest.mark.slow
@unittest.skipIf(sync_api is None, 'no playwright here: pip install playwright')
@unittest.skipIf(_CHROMIUM is None, 'no Chromium on PATH (Debian: chromium)')
class PageTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    stack = contextlib.ExitStack()
    cls.addClassCleanup(stack.close)
    cls.sound = serving_case.Spoken(2)
    cls.text = serving_case.Model(serving_case.Recognizer()).transcribe(cls.sound, 16000).text
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    cls.wav = os.path.join(folder, 'said.wav')
    with open(cls.wav, 'wb') as f:
      f.write(serving_case.Wav(cls.sound))
    cls.server = stack.enter_context(serve_process.Server(['tests.fake_server']))
    cls.locked = stack.enter_context(serve_process.Server(['tests.fake_server'], {'TOKEN': 'secret'}))
    microphone = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream']
    microphone.append(f'--use-file-for-fake-audio-capture={cls.wav}')
    browser = stack.enter_context(sync_api.sync_playwright()).chromium.launch(
      executable_path=_CHROMIUM, args=['--no-sandbox', *microphone]
    )
    stack.callback(browser.close)
    cls.browser = browser

  def _Open(self, server):
    """The page of a server; nothing may go wrong in it."""
    page = self.browser.new_page()
    self.addCleanup(page.close)
    faults = []
    page.on('console', lambda message: faults.append(message.text) if message.type == 'error' else None)
    page.on('pageerror', lambda error: faults.append(str(error)))
    self.addCleanup(lambda: self.assertEqual([f for f in faults if 'Failed to load resource' not in f], []))
    page.goto(server.url)
    return page

  def _Shows(self, page, where, text):
    sync_api.expect(page.locator(where)).to_contain_text(text, timeout=20000)

  def test_a_file_is_transcribed_when_it_is_chosen_or_dropped(self):
    page = self._Open(self.server)
    self.assertEqual(page.locator('#model option').all_inner_texts(), ['live', 'files'])
    page.set_input_files('#file', self.wav)
    self._Shows(page, '#final', self.text)
    self._Shows(page, '#status', 'done in')
    page.evaluate(_DROP, ['no.wav', 'bm8gc291bmQ='])
    self._Shows(page, '#status', 'file: not_audio')
    self.assertEqual(page.locator('#final').inner_text(), '')
    with open(self.wav, 'rb') as f:
      page.evaluate(_DROP, ['said.wav', base64.b64encode(f.read()).decode()])
    self._Shows(page, '#final', self.text)

  def test_a_recording_is_transcribed_at_its_end_or_while_it_is_made(self):
    for model, said in (('files', 'recording; press Stop'), ('live', 'listening')):
      page = self._Open(self.server)
      page.select_option('#model', model)
      page.click('#record')
      self._Shows(page, '#status', said)
      if model == 'live':
        self._Shows(page, '#text', 'word')
      page.wait_for_timeout(1500)
      page.click('#record')
      self._Shows(page, '#status', 'done')
      self._Shows(page, '#final', 'word')
      self._Shows(page, '#record', 'Record')

  def test_the_server_does_not_wait_for_the_permission_to_use_the_microphone(self):
    with serve_process.Server(['tests.fake_server'], {'LIMITS': '{"idle_seconds": 1}'}) as server:
      page = self._Open(server)
      page.evaluate(_SLOW_PERMISSION)
      page.click('#record')
      self._Shows(page, '#text', 'word')

  def test_a_page_that_may_not_have_the_microphone_says_why(self):
    page = self._Open(self.server)
    page.evaluate("() => Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.click('#record')
    self._Shows(page, '#status', 'to localhost and to pages over HTTPS only')
    self._Shows(page, '#record', 'Record')

  def test_a_server_that_is_gone_is_told_and_ends_the_recording(self):
    with serve_process.Server(['tests.fake_server']) as server:
      page = self._Open(server)
      page.click('#record')
      self._Shows(page, '#record', 'Stop')
      self._Shows(page, '#text', 'word')
    self._Shows(page, '#status', 'connection to the server')
    self._Shows(page, '#record', 'Record')

  def test_a_token_is_asked_for_where_one_is_needed(self):
    self.assertFalse(self._Open(self.server).locator('#token').is_visible())
    page = self._Open(self.locked)
    page.locator('#token').wait_for(state='visible')
    page.fill('#token', 'wrong')
    page.press('#token', 'Enter')
    self._Shows(page, '#status', 'no token, or a wrong one')
    page.fill('#token', 'secret')
    page.press('#token', 'Enter')
    sync_api.expect(page.locator('#record')).to_be_enabled()
    page.set_input_files('#file', self.wav)
    self._Shows(page, '#final', self.text)
    page.select_option('#model', 'live')
    page.click('#record')
    self._Shows(page, '#text', 'word')
    page.click('#record')
    self._Shows(page, '#status', 'done')


if __name__ == '__main__':
  absltest.main()
