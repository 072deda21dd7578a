"""Who may use the server: those with a token; without tokens, those that the browser or the machine lets through.

Without a token the server listens on loopback, but every page that a browser on this machine shows could reach it
there. So requests from pages of other origins are refused, and requests for other host names, by which a page could
pretend to be of the same origin (DNS rebinding).
"""

import hashlib
import hmac
import urllib.parse
from collections.abc import Collection

from starlette import types
from starlette.datastructures import Headers

from fm_lingvo import errors

from . import problems
from . import uploads

_OPEN = ('/', '/health', '/ready')  # Nothing in them is secret, and those that watch a server send no token.
LOOPBACK = ('localhost', '127.0.0.1', '::1')


def ReadTokens(path: str) -> tuple[str, ...]:
  """Reads tokens from a file, one a line; empty lines and those that begin with # are left out.

  Raises:
    errors.ConfigError: The file cannot be read, or has none or a bad one.
  """
  try:
    with open(path, encoding='utf-8') as f:
      lines = [line.strip() for line in f]
  except (OSError, UnicodeDecodeError) as e:
    raise errors.ConfigError(f'--token_file={path}: cannot be read ({getattr(e, "strerror", None) or e})') from e
  tokens = tuple(line for line in lines if line and not line.startswith('#'))
  CheckTokens(tokens, f'--token_file={path}')
  return tokens


def CheckTokens(tokens: Collection[str], where: str) -> None:
  """Raises ConfigError if there is no token, or one that is empty or that no header can hold; does not tell it."""
  if not tokens or not all(token and token.isascii() and token.isprintable() and ' ' not in token for token in tokens):
    raise errors.ConfigError(f'{where}: expected at least one token, of printable ASCII characters without spaces')


class Access:
  """Decides on requests."""

  def __init__(
    self, tokens: Collection[str] = (), hosts: Collection[str] | None = LOOPBACK, origins: Collection[str] = ()
  ) -> None:
    """Makes the rules.

    Args:
      tokens: Any of them lets a request through; none: no token is needed.
      hosts: Names under which the server may be asked without a token; None: any.
      origins: Origins of pages that may ask without a token, such as https://example.com, beside the server's own.
    """
    self._digests = [_Digest(token) for token in tokens]
    self._hosts = hosts
    self._origins = frozenset(origins)

  @property
  def needs_token(self) -> bool:
    return bool(self._digests)

  def IsToken(self, token: str) -> bool:
    """Whether a token is one of ours; takes as long whichever it is."""
    digest = _Digest(token)
    return sum(hmac.compare_digest(digest, ours) for ours in self._digests) > 0

  def Check(self, headers: Headers) -> None:
    """Checks a request.

    Raises:
      problems.Problem: 401 without a token, 403 for another origin or host name.
    """
    if self.needs_token:
      scheme, _, token = headers.get('authorization', '').partition(' ')
      if scheme.lower() != 'bearer' or not self.IsToken(token.strip()):
        raise problems.Problem(
          401,
          'no token, or a wrong one; expected the header Authorization: Bearer TOKEN',
          code='invalid_api_key',
          headers={'WWW-Authenticate': 'Bearer'},
        )
      return
    self.CheckPage(headers)

  def CheckPage(self, headers: Headers) -> None:
    """Checks where a request without a token comes from.

    Raises:
      problems.Problem: 403.
    """
    host = headers.get('host', '')
    if self._hosts is not None and _HostName(host) not in self._hosts:
      raise problems.Problem(
        403, f'host name {host!r} without a token; expected {" or ".join(self._hosts)}', code='wrong_host'
      )
    origin = headers.get('origin')
    if origin is not None and origin not in self._origins and _Split(origin).netloc != host:
      raise problems.Problem(403, f'origin {origin!r} without a token; see --allow_origin', code='wrong_origin')


class Guard:
  """ASGI middleware that refuses HTTP requests; a stream checks its own, as its token may be in a message."""

  def __init__(self, app: types.ASGIApp, access: Access) -> None:
    self._app = app
    self._access = access

  async def __call__(self, scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
    if scope['type'] == 'http' and scope['path'] not in _OPEN:
      headers = Headers(scope=scope)
      try:
        self._access.Check(headers)
      except problems.Problem as e:
        await uploads.Body(receive, headers, 0).Discard()
        await e.Response()(scope, receive, send)
        return
    await self._app(scope, receive, send)


def _Digest(token: str) -> bytes:
  """Returns a digest: all are of the same length, so comparing them tells nothing of that of a token."""
  return hashlib.sha256(token.encode('utf-8', 'surrogatepass')).digest()  # JSON may have lone surrogates.


def _HostName(host: str) -> str:
  """Returns the name of a Host header, without port and brackets, in small letters."""
  return _Split(f'//{host}').hostname or ''


def _Split(url: str) -> urllib.parse.SplitResult:
  """Returns the parts of a URL, all empty if it is malformed."""
  try:
    return urllib.parse.urlsplit(url)
  except ValueError:
    return urllib.parse.SplitResult('', '', '', '', '')
