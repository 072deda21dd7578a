"""Serves an application from this process until a signal ends it, in order: what runs is finished first."""

import asyncio
import socket
import time
from typing import Any

import uvicorn

from fm_lingvo import errors

from . import app as app_lib
from . import limits as limits_lib
from . import streaming

_BACKLOG = 256
_POLL_SECONDS = 0.1


def Bind(host: str, port: int) -> socket.socket:
  """Returns a socket that is bound, but does not listen yet.

  Args:
    host: Address or name.
    port: 0: any that is free.

  Raises:
    errors.ConfigError: The port is out of range, or the address cannot be used.
  """
  if not 0 <= port < 2**16:
    raise errors.ConfigError(f'--port={port}: expected a port in [0, {2**16 - 1}]')
  try:
    family, kind, protocol, _, address = socket.getaddrinfo(
      host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(address)
    return bound
  except (OSError, UnicodeError) as e:  # UnicodeError: a name with an empty or too long part.
    reason = getattr(e, 'strerror', None) or e
    raise errors.ConfigError(f'--host={host} --port={port}: cannot be served ({reason})') from e


def Address(bound: socket.socket) -> str:
  """Returns the address of a bound socket for browsers."""
  host, port = bound.getsockname()[:2]
  return f'http://{f"[{host}]" if ":" in host else host}:{port}'


class _Process(uvicorn.Server):
  """A uvicorn.Server that ends streams in order, too; by itself it would cut them."""

  def __init__(self, config: uvicorn.Config, server: app_lib.Server, seconds: float) -> None:
    super().__init__(config)
    self._server = server
    self._seconds = seconds

  async def startup(self, sockets: list[socket.socket] | None = None) -> None:
    await super().startup(sockets=sockets)
    if sockets:
      print(f'serve: ready, {Address(sockets[0])}', flush=True)

  async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
    for server in self.servers:
      server.close()
    started = time.monotonic()
    ending = asyncio.ensure_future(self._server.End(self._seconds))
    while not ending.done() and not self.force_exit:  # A second Ctrl-C sets force_exit.
      await asyncio.wait({ending}, timeout=_POLL_SECONDS)
    left = self._seconds - (time.monotonic() - started)
    self.config.timeout_graceful_shutdown = max(0, round(left))
    await super().shutdown(sockets=sockets)


def Serve(server: app_lib.Server, bound: socket.socket, limits: limits_lib.Limits, access_log: bool) -> None:
  """Serves until SIGTERM or Ctrl-C, which is raised again once all is done.

  Args:
    server: The server.
    bound: A socket of Bind.
    limits: Its bounds.
    access_log: Whether each request is a line on standard error.
  """
  options: dict[str, Any] = {
    'http': 'h11',
    'ws': 'websockets-sansio',
    'ws_max_size': streaming.MAX_FRAME_BYTES,
    'ws_per_message_deflate': False,
    # The answer to a ping stands behind sound that is not read yet; --idle_seconds finds clients that are gone.
    'ws_ping_interval': None,
    'loop': 'asyncio',
    'log_level': 'info' if access_log else 'warning',
    'access_log': access_log,
    'log_config': _LogConfig(),
    'server_header': False,
    'lifespan': 'on',
    'backlog': _BACKLOG,
  }
  config = uvicorn.Config(server.app, **options)
  _Process(config, server, limits.grace_seconds).run(sockets=[bound])


def _LogConfig() -> dict[str, Any]:
  """Returns how messages are written: all to standard error, each begins with `serve: `."""
  handler = {'class': 'logging.StreamHandler', 'formatter': 'line', 'stream': 'ext://sys.stderr'}
  return {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'line': {'format': 'serve: %(message)s'}},
    'handlers': {'stderr': handler},
    'loggers': {
      'uvicorn': {'handlers': ['stderr'], 'propagate': False},
      'python_multipart': {'level': 'CRITICAL'},  # The client is told of a malformed form.
    },
  }
