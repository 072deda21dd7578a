"""The server as an ASGI application: which path does what.

POST /v1/audio/transcriptions   OpenAI's interface; the form's fields are in fields.py
GET  /v1/models, /v1/models/ID  what is served
WS   /v1/audio/stream           live, streaming.py
GET  /                          a page to try it in a browser
GET  /health, /ready            200: it runs; 200: it takes requests, 503: it is being stopped
GET  /metrics                   for Prometheus
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator
from collections.abc import Collection
from collections.abc import Mapping

from starlette import applications
from starlette import exceptions
from starlette import middleware
from starlette import requests
from starlette import responses
from starlette import routing
from starlette import types
from starlette.middleware import cors

from fm_lingvo import errors
from fm_lingvo.inference import api

from . import access as access_lib
from . import answers
from . import fields
from . import jobs as jobs_lib
from . import limits as limits_lib
from . import metrics as metrics_lib
from . import problems
from . import streaming
from . import uploads

TRANSCRIPTIONS = '/v1/audio/transcriptions'
_PATHS = ('/', '/health', '/ready', '/metrics', '/v1/models', TRANSCRIPTIONS)
_PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'page.html')


class Server:
  """What one server holds."""

  def __init__(
    self,
    models: Mapping[str, api.Model],
    limits: limits_lib.Limits,
    access: access_lib.Access,
    origins: Collection[str] = (),
  ) -> None:
    """Starts the threads of the models.

    Args:
      models: Name -> model; Close closes them.
      limits: The bounds.
      access: Who may use it.
      origins: Origins of pages whose scripts may read the answers (CORS), beside the server's own.
    """
    self._limits = limits
    self._metrics = metrics_lib.Metrics()
    self._jobs = jobs_lib.Jobs(models, limits, self._metrics)
    self._streams = streaming.Streams(self._jobs, access, limits, self._metrics)
    self._page, policy = _Page()
    self._page_headers = {'Content-Security-Policy': policy, 'X-Content-Type-Options': 'nosniff'}
    layers = [middleware.Middleware(metrics_lib.CountRequests, metrics=self._metrics, paths=frozenset(_PATHS))]
    if origins:
      headers = {'allow_methods': ['GET', 'POST'], 'allow_headers': ['Authorization', 'Content-Type']}
      layers.append(middleware.Middleware(cors.CORSMiddleware, allow_origins=list(origins), **headers))
    layers += [middleware.Middleware(EndInOrder), middleware.Middleware(access_lib.Guard, access=access)]
    self.app = applications.Starlette(
      routes=[
        routing.Route('/', self._Home),
        routing.Route('/health', self._Health),
        routing.Route('/ready', self._Ready),
        routing.Route('/metrics', self._Metrics),
        routing.Route('/v1/models', self._Models),
        routing.Route('/v1/models/{name:path}', self._Model),
        routing.Route(TRANSCRIPTIONS, self._Transcribe, methods=['POST']),
        routing.WebSocketRoute('/v1/audio/stream', self._streams),
      ],
      middleware=layers,
      exception_handlers={
        problems.Problem: _Refused,
        exceptions.HTTPException: _NoSuchPath,
        Exception: _Failed,
      },
      lifespan=self._Lifespan,
    )

  async def End(self, seconds: float) -> None:
    """Takes no more requests, and ends the streams with what they have heard so far, within some seconds."""
    self._jobs.is_ending = True
    await self._streams.End(seconds)

  @contextlib.asynccontextmanager
  async def _Lifespan(self, _: applications.Starlette) -> AsyncIterator[None]:
    try:
      yield
    finally:
      self._jobs.Close()

  async def _Home(self, _: requests.Request) -> responses.Response:
    return responses.HTMLResponse(self._page, headers=self._page_headers)

  async def _Health(self, _: requests.Request) -> responses.Response:
    return responses.JSONResponse({'status': 'ok'})

  async def _Ready(self, _: requests.Request) -> responses.Response:
    if self._jobs.is_ending:
      return responses.JSONResponse({'status': 'ending'}, 503)
    return responses.JSONResponse({'status': 'ready', 'models': list(self._jobs.models)})

  async def _Metrics(self, _: requests.Request) -> responses.Response:
    return responses.Response(self._metrics.Text(), headers={'Content-Type': metrics_lib.CONTENT_TYPE})

  async def _Models(self, _: requests.Request) -> responses.Response:
    return responses.JSONResponse({'object': 'list', 'data': [_ModelRow(m) for m in self._jobs.models.values()]})

  async def _Model(self, request: requests.Request) -> responses.Response:
    name = fields.Model(request.path_params['name'], self._jobs.models)
    return responses.JSONResponse(_ModelRow(self._jobs.models[name]))

  async def _Transcribe(self, request: requests.Request) -> responses.Response:
    started = time.monotonic()
    body = uploads.Body(request.receive, request.headers, self._limits.max_upload_bytes)
    try:
      async with self._jobs.Admitted():
        form = await uploads.Read(body, request.headers, self._limits.timeout_seconds)
        try:
          options = self._Options(form)
        except problems.Problem:
          form.Close()
          raise
        transcript = await self._jobs.Transcribe(options.model, form, body, started)
      return answers.Response(transcript, options)
    except problems.Problem as e:
      await body.Discard()
      return e.Response()

  def _Options(self, form: uploads.Form) -> fields.Options:
    """Checks a form.

    Raises:
      problems.Problem: It names a model that is not served.
      problems.Wrong: It has no file, or a field that cannot be used.
    """
    options = fields.Parse(form.fields, self._jobs.languages)
    if form.file is None:
      raise problems.Wrong('file', 'missing; expected a recording')
    if form.file_field != 'file':
      raise problems.Wrong(form.file_field, 'a file in another field than "file"')
    return options


class EndInOrder:
  """ASGI middleware that answers a request that is cut as the server ends: by itself it would be a fault of ours."""

  def __init__(self, app: types.ASGIApp) -> None:
    self._app = app

  async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
    begun = False

    async def _Send(message: types.Message) -> None:
      nonlocal begun
      begun = True
      await send(message)

    try:
      await self._app(scope, receive, _Send)
    except asyncio.CancelledError:  # Of uvicorn, after --grace_seconds.
      if not begun and scope['type'] == 'http':
        await problems.Ending().Response()(scope, receive, send)


def _ModelRow(served: jobs_lib.Served) -> dict[str, object]:
  return {
    'id': served.name,
    'object': 'model',
    'created': served.created,
    'owned_by': 'fm_lingvo',
    'streaming': served.model.can_stream,  # Not OpenAI's.
  }


def _Page() -> tuple[str, str]:
  """Returns the page, and the policy that lets it run its own script and nothing else."""
  with open(_PAGE, encoding='utf-8') as f:
    page = f.read()
  hashes = {}
  for tag in ('script', 'style'):
    (text,) = re.findall(rf'(?s)<{tag}>(.*?)</{tag}>', page)
    hashes[tag] = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
  policy = (
    f"default-src 'none'; script-src 'sha256-{hashes['script']}' blob:; style-src 'sha256-{hashes['style']}'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
  )
  return page, policy


async def _Refused(_: requests.Request, error: Exception) -> responses.Response:
  assert isinstance(error, problems.Problem)
  return error.Response()


async def _NoSuchPath(request: requests.Request, error: Exception) -> responses.Response:
  """An unknown path, or a wrong method, in the form of the other errors."""
  assert isinstance(error, exceptions.HTTPException)
  what = f'{request.method} {errors.OneLine(request.url.path)}: {error.detail}'
  return problems.Problem(error.status_code, what, code='not_found', headers=error.headers).Response()


async def _Failed(_: requests.Request, error: Exception) -> responses.Response:
  """A fault of the server's own; uvicorn writes its traceback to the log."""
  return problems.Problem(500, 'the server failed; its log says why', code='failed').Response()
