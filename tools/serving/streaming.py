"""Live transcription over a WebSocket, /v1/audio/stream: sound in, texts out while it is heard.

  client: {"type": "start", "model": "NAME", "format": "pcm_s16le", "sample_rate": 16000}
  server: {"type": "ready", ...}
  client: frames of sound, binary                 server: {"type": "partial", "text": ...}, {"type": "final", ...}
  client: {"type": "end"}                         server: the last finals, {"type": "end", "duration": 2.5}, close 1000
  after a fault                                   server: {"type": "error", "error": {...}}, close code other than 1000

The model's stream works in a thread. A frame is read when the one before it is done, so a client that sends faster than
the model works is slowed down by the connection, and the server holds one frame of it.
"""

import asyncio
import concurrent.futures
import dataclasses
import json
from typing import Any

import numpy as np
from starlette import types
from starlette import websockets

from fm_lingvo import errors
from fm_lingvo.audio import stream as audio_stream
from fm_lingvo.utils import audio as audio_format
from fm_lingvo.utils import suggest

from . import access as access_lib
from . import fields
from . import jobs as jobs_lib
from . import limits as limits_lib
from . import metrics as metrics_lib
from . import problems

MAX_FRAME_BYTES = 1 << 20
_FIRST_SECONDS = 10.0  # In which the first message has to come.
_FORMATS: dict[str, np.dtype[Any]] = {'pcm_s16le': np.dtype('<i2'), 'pcm_f32le': np.dtype('<f4')}
_KEYS = ('type', 'model', 'format', 'sample_rate', 'language', 'token')
# Status of a problem -> code with which the connection is closed.
_CLOSE_CODES = {413: 1009, 429: 1013, 500: 1011, 503: 1012}
_POLICY = 1008


@dataclasses.dataclass(frozen=True)
class _Start:
  """The checked first message."""

  model: str
  dtype: np.dtype[Any]
  rate: int


class Streams:
  """The streams of one server."""

  def __init__(
    self,
    jobs: jobs_lib.Jobs,
    access: access_lib.Access,
    limits: limits_lib.Limits,
    metrics: metrics_lib.Metrics,
  ) -> None:
    self._jobs = jobs
    self._access = access
    self._limits = limits
    self._metrics = metrics
    self._threads = concurrent.futures.ThreadPoolExecutor(max(1, limits.max_streams), 'stream')
    self._ending = asyncio.Event()
    self._closed = asyncio.Event()
    self.open = 0  # Connections.
    self._heard = 0  # Those that have begun to send sound.
    metrics.Gauge('fm_serve_streams_open', 'Streams that are open.', lambda: self.open)

  async def End(self, seconds: float) -> None:
    """Ends all streams with what they have heard so far; waits for that for some seconds at most."""
    self._ending.set()
    self._closed.clear()
    if self.open:
      await asyncio.wait({asyncio.ensure_future(self._closed.wait())}, timeout=seconds)
    self._threads.shutdown(wait=False, cancel_futures=True)

  async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
    """Serves one connection, as an ASGI application."""
    socket = websockets.WebSocket(scope, receive, send)
    self.open += 1
    session = _Session(socket, self._ending, self._limits)
    outcome = 'error'
    try:
      if self._ending.is_set():
        raise problems.Ending()
      outcome = await self._Serve(session)
    except websockets.WebSocketDisconnect:
      outcome = 'gone'
    except problems.Problem as e:
      outcome = e.code or outcome
      await session.Fail(e)
    except errors.AudioError as e:
      outcome = e.reason
      await session.Fail(problems.Problem(400, e, code=e.reason))
    except asyncio.CancelledError:  # The server ends and waits no longer; uvicorn has closed the connection with 1012.
      outcome = 'ending'
    except Exception:
      await session.Fail(problems.Problem(500, 'the server failed; its log says why', code='failed'))
      raise
    finally:
      self.open -= 1
      self._metrics.streams.labels(session.model, outcome).inc()
      self._metrics.audio_seconds.labels(session.model, 'stream').inc(session.seconds)
      if not self.open:
        self._closed.set()

  async def _Serve(self, session: '_Session') -> str:
    """Serves a connection to its end; returns how it ended."""
    if not self._access.needs_token:
      self._access.CheckPage(session.socket.headers)
    await session.socket.accept()
    start = self._Checked(await session.Message(), session)
    session.model = start.model
    if self._heard >= self._limits.max_streams:
      raise problems.Problem(429, f'{self._heard} streams are open, the limit here', code='too_many_streams')
    self._heard += 1
    try:
      await self._Hear(session, start)
    finally:
      self._heard -= 1
    await session.Send({'type': 'end', 'duration': round(session.seconds, 3)})
    await session.socket.close(1012 if self._ending.is_set() else 1000)
    return 'stopped' if self._ending.is_set() else 'done'

  async def _Hear(self, session: '_Session', start: _Start) -> None:
    """Gives the sound of a connection to the model, and its texts to the client, up to the end of the sound.

    Raises:
      problems.Problem: The model cannot stream, or a message cannot be used.
    """
    loop = asyncio.get_running_loop()
    try:
      stream = await loop.run_in_executor(self._threads, self._jobs.models[start.model].model.stream)
    except errors.ConfigError as e:
      raise problems.Problem(400, e, param='model', code='cannot_stream') from e
    await session.Send({'type': 'ready', 'model': start.model, 'sample_rate': start.rate})
    while (frame := await session.Frame(start)) is not None:
      session.seconds += len(frame) / start.rate
      await session.SendAll(await loop.run_in_executor(self._threads, stream.accept, frame, start.rate))
      if session.seconds > self._limits.max_audio_seconds:
        raise problems.Problem(413, f'more than {self._limits.max_audio_seconds:g} s', code='too_long')
    await session.SendAll(await loop.run_in_executor(self._threads, stream.finish))

  def _Checked(self, message: dict[str, Any], session: '_Session') -> _Start:
    """Checks the first message.

    Raises:
      problems.Problem: It has no token, or asks for a model that is not served.
      problems.Wrong: It is none, or has a key or value that cannot be used.
    """
    if message.get('type') != 'start':
      raise problems.Wrong('type', f'{message.get("type")!r} in the first message; expected "start"')
    for key in message:
      if key not in _KEYS:
        raise problems.Wrong(key, f'no such key of "start"{suggest.Hint(key, _KEYS)}')
    if self._access.needs_token:
      self._CheckToken(message.get('token'), session)
    form = message.get('format', 'pcm_s16le')
    if not isinstance(form, str) or form not in _FORMATS:
      raise problems.Wrong('format', f'{form!r}; expected one of {", ".join(_FORMATS)}')
    rate = message.get('sample_rate', audio_format.SAMPLE_RATE)
    low, high = audio_stream.RATES
    if not isinstance(rate, int) or isinstance(rate, bool) or not low <= rate <= high:
      raise problems.Wrong('sample_rate', f'{rate!r}; expected Hz, a whole number from {low} to {high}')
    model = fields.Model(message.get('model'), self._jobs.models)
    fields.CheckLanguage(message.get('language', ''), self._jobs.languages[model])
    return _Start(model, _FORMATS[form], rate)

  def _CheckToken(self, token: Any, session: '_Session') -> None:
    if not isinstance(token, str) or not self._access.IsToken(token):
      self._access.Check(session.socket.headers)


class _Session:
  """The messages of one connection."""

  def __init__(self, socket: websockets.WebSocket, ending: asyncio.Event, limits: limits_lib.Limits) -> None:
    self.socket = socket
    self.model = ''
    self.seconds = 0.0  # Of sound.
    self._rest = b''  # The begin of a sample whose end is in the next frame.
    self._ending = ending
    self._limits = limits

  async def Message(self) -> dict[str, Any]:
    """Returns the next message, which is JSON.

    Raises:
      problems.Problem: It is none, or does not come in time.
    """
    message = await self._Receive(min(_FIRST_SECONDS, self._limits.idle_seconds))
    if message is None:
      raise problems.Ending()
    if isinstance(message, bytes):
      raise problems.Problem(400, 'sound before the first message, {"type": "start", ...}', code='no_start')
    return _Json(message)

  async def Frame(self, start: _Start) -> np.ndarray | None:
    """Returns the next samples [n]; None: the client, or the server, ends the stream.

    Raises:
      problems.Problem: The message is of another kind, or does not come in time.
    """
    message = await self._Receive(self._limits.idle_seconds)
    if message is None:
      return None
    if isinstance(message, str):
      kind = _Json(message).get('type')
      if kind != 'end':
        raise problems.Wrong('type', f'{kind!r}; expected frames of sound, then "end"')
      if self._rest:
        raise problems.Problem(400, f'the sound ends within a sample of {start.dtype.itemsize} bytes', code='odd_end')
      return None
    sound = self._rest + message
    whole = len(sound) // start.dtype.itemsize * start.dtype.itemsize
    self._rest = sound[whole:]
    return np.frombuffer(sound[:whole], start.dtype)

  async def _Receive(self, seconds: float) -> str | bytes | None:
    """Returns the next message, which has some seconds to come; None once the server ends.

    Raises:
      problems.Problem: None comes in time.
      websockets.WebSocketDisconnect: The client is gone.
    """
    coming = asyncio.ensure_future(self.socket.receive())
    ending = asyncio.ensure_future(self._ending.wait())
    try:
      await asyncio.wait({coming, ending}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
      if coming.done():
        message = coming.result()
        if message['type'] == 'websocket.disconnect':
          raise websockets.WebSocketDisconnect(message.get('code', 1006))
        return message['bytes'] if message.get('bytes') is not None else message['text']
      if ending.done():
        return None
      raise problems.Problem(408, f'no message for {seconds:g} s', code='idle')
    finally:
      coming.cancel()
      ending.cancel()

  async def Send(self, message: dict[str, Any]) -> None:
    """Sends a message.

    Raises WebSocketDisconnect if the client is gone.
    """
    try:
      await self.socket.send_text(json.dumps(message))  # ASCII: what a client is told again may have lone surrogates.
    except (OSError, RuntimeError) as e:
      raise websockets.WebSocketDisconnect(1006) from e

  async def SendAll(self, events: list[Any]) -> None:
    """Sends what the model's stream gave."""
    for event in events:
      await self.Send(event.to_dict())

  async def Fail(self, problem: problems.Problem) -> None:
    """Tells the client of a problem and closes the connection; before it is accepted, refuses it."""
    try:
      if self.socket.application_state == websockets.WebSocketState.CONNECTING:
        await self.socket.accept()
      await self.Send({'type': 'error', **problem.Json()})
      await self.socket.close(_CLOSE_CODES.get(problem.status, _POLICY))
    except (websockets.WebSocketDisconnect, OSError, RuntimeError):
      pass  # The client is gone, too.


def _Json(text: str) -> dict[str, Any]:
  try:
    found = json.loads(text)
  except (ValueError, RecursionError) as e:
    raise problems.Problem(400, f'a message that is not JSON: {e}', code='not_json') from e
  if not isinstance(found, dict):
    raise problems.Problem(400, 'a message that is no JSON object', code='not_json')
  return found
