"""What the server counts, for Prometheus."""

from collections.abc import Callable

import prometheus_client
from starlette import types

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
# Paths that are counted by name; all others are 'other', so that clients cannot make up any number of series.
_OTHER = 'other'

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class Metrics:
  """The counters of one server."""

  def __init__(self) -> None:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)  # Memory, processor time, open files.
    self._registry = registry
    self.requests = prometheus_client.Counter(
      'fm_serve_requests',
      'HTTP requests by path and status; 499: the client had gone.',
      ['path', 'status'],
      registry=registry,
    )
    self.streams = prometheus_client.Counter(
      'fm_serve_streams', 'Streams by how they ended.', ['model', 'outcome'], registry=registry
    )
    self.audio_seconds = prometheus_client.Counter(
      'fm_serve_audio_seconds', 'Seconds of sound that were transcribed.', ['model', 'kind'], registry=registry
    )
    self.request_seconds = prometheus_client.Histogram(
      'fm_serve_request_seconds',
      'From the start of a transcription to its answer.',
      ['model'],
      buckets=_SECONDS,
      registry=registry,
    )
    self.batch_windows = prometheus_client.Histogram(
      'fm_serve_batch_windows', 'Windows in a batch.', ['model'], buckets=_BATCH_SIZES, registry=registry
    )
    self.batch_seconds = prometheus_client.Histogram(
      'fm_serve_batch_seconds', 'Time that a batch takes.', ['model'], buckets=_SECONDS, registry=registry
    )

  def Gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
    """Adds a figure that is read when it is asked for."""
    prometheus_client.Gauge(name, what, registry=self._registry).set_function(value)

  def Text(self) -> bytes:
    """Returns all, in the text format."""
    return prometheus_client.generate_latest(self._registry)


class CountRequests:
  """ASGI middleware that counts the answers to HTTP requests."""

  def __init__(self, app: types.ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
    self._app = app
    self._metrics = metrics
    self._paths = paths

  async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    status = 500  # Of an error that is not caught.

    async def _Send(message: types.Message) -> None:
      nonlocal status
      if message['type'] == 'http.response.start':
        status = message['status']
      await send(message)

    try:
      await self._app(scope, receive, _Send)
    finally:
      path = scope['path'] if scope['path'] in self._paths else _OTHER
      self._metrics.requests.labels(path, str(status)).inc()
