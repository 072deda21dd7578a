"""Headless Chromium, driven through the DevTools protocol over two pipes.

Only the standard library is needed: `--remote-debugging-pipe` makes Chromium read
commands from file descriptor 3 and answer on 4, JSON messages that end in a zero byte.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

from fm_lingvo import errors

_NAMES = ('chromium', 'chromium-browser', 'google-chrome')
_FLAGS = (
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
  '--hide-scrollbars',
  '--remote-debugging-pipe',
)


def Find():
  """The path of Chromium, or None."""
  return next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
  """One page in a headless Chromium; a context manager."""

  def __init__(self, path=None):
    """Starts Chromium with an empty profile.

    Args:
      path: Of Chromium; default: on PATH.

    Raises:
      errors.ConfigError: Chromium is missing or does not start.
    """
    path = path or Find()
    if path is None:
      raise errors.ConfigError('no Chromium on PATH: apt-get install chromium')
    self._profile = tempfile.TemporaryDirectory(prefix='chromium-', ignore_cleanup_errors=True)
    child_in, self._to = os.pipe()
    self._from, child_out = os.pipe()
    # Copies that dup2 to 3 and 4 cannot overwrite.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (child_in, child_out)]

    def _Connect():
      os.dup2(high[0], 3)
      os.dup2(high[1], 4)

    self._log = tempfile.TemporaryFile()
    self._process = subprocess.Popen(
      [path, *_FLAGS, f'--user-data-dir={self._profile.name}', 'about:blank'],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL,
      stderr=self._log,
      preexec_fn=_Connect,
      close_fds=False,
      start_new_session=True,
    )
    for fd in [child_in, child_out, *high]:
      os.close(fd)
    self._id, self._session, self._buffer = 0, None, b''
    try:
      target = self._Call('Target.createTarget', url='about:blank')['targetId']
      self._session = self._Call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
      self._Call('Page.enable')
    except BaseException:
      self.Close()
      raise

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self.Close()

  def Close(self):
    """Ends Chromium and its children."""
    os.close(self._to)
    os.close(self._from)
    for signum, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
      try:
        os.killpg(self._process.pid, signum)
      except ProcessLookupError:
        break
      try:
        self._process.wait(seconds)
      except subprocess.TimeoutExpired:
        continue
    self._process.wait()
    self._log.close()
    self._profile.cleanup()

  def _Call(self, method, timeout=120, **params):
    """Sends a command and returns its result."""
    self._id += 1
    message = {'id': self._id, 'method': method, 'params': params}
    if self._session and not method.startswith('Target.'):
      message['sessionId'] = self._session
    try:
      data = json.dumps(message).encode() + b'\0'
      while data:
        data = data[os.write(self._to, data) :]
    except BrokenPipeError as e:
      raise errors.ConfigError(f'Chromium ended: {self._LastLogLine()}') from e
    reply = self._Reply(self._id, method, time.time() + timeout)
    if 'error' in reply:
      raise errors.ConfigError(f'Chromium: {method}: {reply["error"]["message"]}')
    return reply['result']

  def _Reply(self, number, method, deadline):
    while True:
      message, found, rest = self._buffer.partition(b'\0')
      if found:
        self._buffer = rest
        message = json.loads(message)
        if message.get('id') == number:
          return message
        continue  # An event, which nothing here waits for.
      if not select.select([self._from], [], [], max(0, deadline - time.time()))[0]:
        raise errors.ConfigError(f'Chromium: no answer to {method}')
      data = os.read(self._from, 1 << 16)
      if not data:
        raise errors.ConfigError(f'Chromium ended: {self._LastLogLine()}')
      self._buffer += data

  def _LastLogLine(self):
    self._log.seek(0)
    lines = self._log.read().decode(errors='replace').strip().splitlines()
    return lines[-1] if lines else f'exit code {self._process.poll()}'

  def Version(self):
    """Name and version of the browser."""
    return self._Call('Browser.getVersion')['product']

  def Resize(self, width, height):
    """Sets the size of the window in pixels."""
    self._Call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)

  def Open(self, url):
    """Loads a page, afresh even if only the fragment of the address differs."""
    self._Call('Page.navigate', url='about:blank')
    self._Call('Page.navigate', url=url)

  def Evaluate(self, script):
    """The value, as JSON has it, of a JavaScript expression.

    Raises:
      errors.ConfigError: The script threw.
    """
    result = self._Call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
    if 'exceptionDetails' in result:
      details = result['exceptionDetails']
      text = details.get('exception', {}).get('description', details['text'])
      raise errors.ConfigError(f'Chromium: {" ".join(text.split())}')
    return result['result'].get('value')

  def WaitFor(self, script, what, timeout=120):
    """Evaluates a JavaScript expression until it is truthy; returns its value.

    Raises:
      errors.ConfigError: `what` did not come in time.
    """
    deadline = time.time() + timeout
    while True:
      value = self.Evaluate(script)
      if value:
        return value
      if time.time() > deadline:
        raise errors.ConfigError(f'{what}: not there after {timeout} s')
      time.sleep(0.5)

  def Screenshot(self):
    """PNG of the window, as bytes."""
    return base64.b64decode(self._Call('Page.captureScreenshot', format='png')['data'])
